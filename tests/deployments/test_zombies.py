"""The automation of deployments/zombies.yaml, in a real Prefect server: who counts as Crashed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from prefect.server.events.schemas.automations import EventTrigger
from prefect.server.events.schemas.events import ReceivedEvent

from tests.prefect_site import ROOT, Site, prefect_site

FILE = ROOT / "deployments" / "zombies.yaml"
OURS, OTHERS = ["mlhub"], ["backup"]


def event(name: str, run_id: str, tags: list[str]) -> dict[str, Any]:
    """An event of a flow run, as its process and the server send them."""
    related = [
        {"prefect.resource.id": f"prefect.tag.{tag}", "prefect.resource.role": "tag"}
        for tag in tags
    ]
    return {
        "id": str(uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": f"prefect.flow-run.{name}",
        "resource": {"prefect.resource.id": f"prefect.flow-run.{run_id}"},
        "related": related,
    }


def test_whom_it_watches_and_what_it_takes_for_a_sign() -> None:
    (automation,) = yaml.safe_load(FILE.read_text("utf-8"))["automations"]
    trigger = EventTrigger.model_validate(automation["trigger"])
    signs = [
        "heartbeat",
        "Running",
        "Retrying",
        "Suspended",
        "Paused",
        "AwaitingRetry",
        "Completed",
    ]
    signs += ["Resuming", "Scheduled", "Late", "Cancelling", "Cancelled", "Failed", "Crashed"]
    for number, name in enumerate(signs):
        seen = ReceivedEvent(**event(name, "x", OURS), received=datetime.now(UTC))
        assert trigger.covers(seen)
        assert trigger.expects(seen.event)
        assert trigger.starts_after(seen.event) == (number < 3)
        assert not trigger.covers(ReceivedEvent(**event(name, "x", OTHERS)))
        assert not trigger.covers(ReceivedEvent(**event(name, "x", [])))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with prefect_site(tmp_path) as made:
        yield made


def make(site: Site, tags: list[str], name: str, kind: str, *signs: str) -> str:
    """A flow run in a state, and what has been seen of it: all at once, however slow the server."""
    flow = site.ask("flows/", name="some-flow")["id"]
    state = {"type": kind, "name": name}
    run_id = str(site.ask("flow_runs/", flow_id=flow, tags=tags, state=state)["id"])
    site.send("POST", "events", [event(sign, run_id, tags) for sign in signs])
    return run_id


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_only_those_that_were_running_are_marked(site: Site, tmp_path: Path) -> None:
    quick = tmp_path / "quick.yaml"
    quick.write_text(FILE.read_text("utf-8").replace("within: 600", "within: 10"), "utf-8")
    done = site.run(["prefect", "automation", "create", "--from-file", str(quick)])
    assert done.returncode == 0, done.stdout + done.stderr
    alive = ("Running", "heartbeat", "heartbeat")
    well = {make(site, OTHERS, "Running", "RUNNING", *alive): "RUNNING"}
    for name, kind in {
        "Suspended": "PAUSED",
        "Paused": "PAUSED",
        "AwaitingRetry": "SCHEDULED",
        "Resuming": "SCHEDULED",
    }.items():
        well[make(site, OURS, name, kind, *alive, name)] = kind
    # The last one to fall silent is the last one to be marked.
    dead = [
        make(site, OURS, "Retrying", "RUNNING", *alive, "AwaitingRetry", "Retrying", "heartbeat"),
        make(site, OURS, "Running", "RUNNING", "Running"),
        make(site, OURS, "Running", "RUNNING", *alive),
    ]
    for run_id in dead:
        while (found := site.flow_run(run_id))["state_type"] != "CRASHED":
            time.sleep(0.2)  # pytest's own time limit ends the wait
        assert "No sign of life" in found["state"]["message"]
    assert {run_id: site.flow_run(run_id)["state_type"] for run_id in well} == well
