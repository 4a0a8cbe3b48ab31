"""The automation of deployments/zombies.yaml, by Prefect's own rules: who is marked as Crashed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import yaml

from tests.prefect_site import ROOT

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
    # Prefect's server takes a second to import, which all processes would pay.
    from prefect.server.events.schemas.automations import EventTrigger
    from prefect.server.events.schemas.events import ReceivedEvent

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
