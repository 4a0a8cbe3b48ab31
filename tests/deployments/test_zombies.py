"""The automation of deployments/zombies.yaml, in a real server: who is marked as Crashed."""

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


def make(site: Site, tags: list[str], name: str, kind: str) -> str:
    """A flow run in a state, which was seen running before."""
    flow = site.ask("flows/", name="some-flow")["id"]
    state = {"type": kind, "name": name}
    run_id = str(site.ask("flow_runs/", flow_id=flow, tags=tags, state=state)["id"])
    tell(site, run_id, tags, "Running")
    return run_id


_LAST: dict[str, str] = {}


def tell(site: Site, run_id: str, tags: list[str], sign: str) -> None:
    """One event, and which it follows: the server looks at two at once, in whatever order."""
    sent = event(sign, run_id, tags)
    if run_id in _LAST:
        sent["follows"] = _LAST[run_id]
    _LAST[run_id] = sent["id"]
    site.send("POST", "events", [sent])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_only_those_that_were_running_are_marked(site: Site, tmp_path: Path) -> None:
    quick = tmp_path / "quick.yaml"
    # Long enough for a busy server to hear of all that happens below.
    quick.write_text(FILE.read_text("utf-8").replace("within: 600", "within: 60"), "utf-8")
    done = site.run(["prefect", "automation", "create", "--from-file", str(quick)])
    assert done.returncode == 0, done.stdout + done.stderr
    states = {
        "Suspended": "PAUSED",
        "Paused": "PAUSED",
        "AwaitingRetry": "SCHEDULED",
        "Resuming": "SCHEDULED",
    }
    others = make(site, OTHERS, "Running", "RUNNING")
    told = {name: make(site, OURS, name, kind) for name, kind in states.items()}
    retried = make(site, OURS, "Retrying", "RUNNING")
    dead = [retried, make(site, OURS, "Running", "RUNNING"), make(site, OURS, "Running", "RUNNING")]
    tell(site, others, OTHERS, "heartbeat")
    for name, run_id in told.items():
        tell(site, run_id, OURS, name)
    for sign, run_id in zip(["AwaitingRetry", "heartbeat"], dead, strict=False):
        tell(site, run_id, OURS, sign)
    tell(site, retried, OURS, "Retrying")
    for run_id in dead:
        while (found := site.flow_run(run_id))["state_type"] != "CRASHED":
            time.sleep(0.2)  # pytest's own time limit ends the wait
        assert "No sign of life" in found["state"]["message"]
    for name, run_id in told.items():
        assert site.flow_run(run_id)["state_type"] == states[name]
    assert site.flow_run(others)["state_type"] == "RUNNING"
