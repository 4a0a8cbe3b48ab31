"""Tags a flow run and its task runs with their dataset, by which the dashboard finds them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prefect import tags
from prefect.context import FlowRunContext

from flows.api_client import API_ERRORS, brief_client, warn


@contextmanager
def tagged(dataset: str) -> Iterator[None]:
    """Tag the flow run that is on, and the task runs that are made within the block.

    Args:
        dataset: Id or DOI.
    """
    tag = f"dataset:{dataset}"
    _tag_flow_run(tag)
    with tags(tag):
        yield


def _tag_flow_run(tag: str) -> None:
    context = FlowRunContext.get()
    flow_run = context.flow_run if context else None
    if flow_run is None or tag in flow_run.tags:
        return
    try:
        with brief_client() as client:
            client.update_flow_run(flow_run.id, tags=[*flow_run.tags, tag])
    except API_ERRORS as error:
        warn(f"The flow run has no tag {tag}", error)
    else:
        flow_run.tags.append(tag)
