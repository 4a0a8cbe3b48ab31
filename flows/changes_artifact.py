"""Puts what a new catalog changed into an artifact: the counts, and the first of the assets."""

from __future__ import annotations

import orjson
from prefect.client.schemas.actions import ArtifactCreate
from prefect.context import FlowRunContext

from flows.api_client import API_ERRORS, brief_client, warn
from flows.artifacts import artifact_key
from mlhub_core.exceptions import MLHubException
from mlhub_core.sync.changes import Changes, first_changes

_ROWS = 100


def show_changes(dataset: str, changes: Changes) -> None:
    """Show what changed; whatever goes wrong here is a warning in the log.

    Args:
        dataset: Id of the dataset.
        changes: What changed.
    """
    text = f"**{changes}**, of {changes.assets:,} assets now in the catalog."
    if changes.added + changes.changed + changes.removed > _ROWS:
        text += f" These are the first {_ROWS}; all of them are listed in `{changes.table}`."
    context = FlowRunContext.get()
    flow_run = context.flow_run if context else None
    try:
        with brief_client() as client:
            client.create_artifact(
                ArtifactCreate(
                    type="table",
                    key=artifact_key(dataset, "changes"),
                    description=text,
                    flow_run_id=flow_run.id if flow_run else None,
                    data=orjson.dumps(first_changes(changes.table, _ROWS)).decode(),
                )
            )
    except (*API_ERRORS, MLHubException) as error:
        warn("The dashboard does not show what the catalog changed", error)
