"""Makes an automation in Prefect that tells somebody when a run of ours fails or crashes.

::

    python -m deployments.notify_on_failure

asks for the URL of a webhook without showing it, or reads it from standard input: it gets a POST
with ``{"text": …}``, which Slack, Mattermost and many others understand. The URL is a secret and is
kept in a block, encrypted in Prefect's database. Run again, it replaces both.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from mlhub_core.cli.arguments import OneLineParser
from mlhub_core.cli.hub import read_secret
from mlhub_core.cli.process import reporting_errors
from mlhub_core.console import echo, show
from mlhub_core.exceptions import InvalidArgument

BLOCK = "mlhub-failures"
AUTOMATION = "mlhub: tell of failures"
TAG = "mlhub"
"""Of the deployments in prefect.yaml, which their runs have too."""

_SUBJECT = "{{ flow_run.name }}: {{ flow_run.state.name }}"
_BODY = "{{ flow_run.state.message }}\n%s/runs/flow-run/{{ flow_run.id }}"
"""With the address of the UI: a server that is not told its own makes None of `ui_url`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: Without the program's name; None takes those of the process.

    Returns:
        The exit status; see :class:`~mlhub_core.cli.process.ExitStatus`.
    """
    with reporting_errors("notify_on_failure") as status:
        _parser().parse_args(arguments)
        _make(_read_url())
    return status()


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="python -m deployments.notify_on_failure",
        description="Post a message to a webhook when a run fails or crashes.",
    )
    parser.take_no_secret()
    return parser


def _read_url() -> str:
    url = read_secret("URL of the webhook")
    if not url.startswith(("http://", "https://")):
        raise InvalidArgument("The URL of the webhook must start with http:// or https://.")
    return url


def _make(url: str) -> None:
    from flows.prefect_api import prefect_api

    with prefect_api(echo):
        from prefect.client.orchestration import get_client
        from prefect.settings import PREFECT_UI_URL

        block_id = _store(url)
        with get_client(sync_client=True) as client:
            for entry in client.request("POST", "/automations/filter", json={}).json():
                if entry["name"] == AUTOMATION:
                    client.request("DELETE", "/automations/{id}", path_params={"id": entry["id"]})
            api = str(client.api_url).rstrip("/").removesuffix("/api")
            ui = str(PREFECT_UI_URL.value() or api).rstrip("/")
            client.request("POST", "/automations/", json=automation(block_id, ui))
    show(f"Made the automation {AUTOMATION!r}; it posts to the webhook in the block {BLOCK}.")


def automation(block_id: str, ui: str) -> dict[str, Any]:
    """The automation, as Prefect's API takes it.

    Args:
        block_id: Of the block with the webhook.
        ui: The address of the UI, as people open it.
    """
    return {
        "name": AUTOMATION,
        "description": "Posts to a webhook when a run that is tagged mlhub fails or crashes.",
        "trigger": {
            "type": "event",
            "posture": "Reactive",
            "expect": ["prefect.flow-run.Failed", "prefect.flow-run.Crashed"],
            "match": {"prefect.resource.id": "prefect.flow-run.*"},
            "match_related": {
                "prefect.resource.id": f"prefect.tag.{TAG}",
                "prefect.resource.role": "tag",
            },
            "for_each": ["prefect.resource.id"],
            "threshold": 1,
        },
        "actions": [
            {
                "type": "send-notification",
                "block_document_id": block_id,
                "subject": _SUBJECT,
                "body": _BODY % ui,
            }
        ],
    }


def _store(url: str) -> str:
    """Keep the webhook in a block; gives its id."""
    from prefect.blocks.notifications import CustomWebhookNotificationBlock

    block: Any = CustomWebhookNotificationBlock(
        name=BLOCK,
        url="{{webhook}}",
        json_data={"text": "{{subject}}\n{{body}}"},
        headers=None,
        cookies=None,
        secrets={"webhook": url},  # type: ignore[arg-type]
    )
    return str(block.save(BLOCK, overwrite=True, _sync=True))


if __name__ == "__main__":
    sys.exit(main())
