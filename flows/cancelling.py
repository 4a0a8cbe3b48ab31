"""Ends an ad hoc run when somebody presses Cancel in the UI.

For a run of a deployment its worker does that. An ad hoc run has none: nobody would tell it, and it
would stay Cancelling for ever.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from uuid import UUID

from prefect.context import FlowRunContext

from flows.api_client import API_ERRORS, API_SECONDS, brief_client
from mlhub_core.threads import StopFlag

_EVERY_SECONDS = 5.0


@contextmanager
def stopping_when_cancelled(stop: StopFlag) -> Iterator[threading.Event]:
    """Set the stop flag when the run that is on is to be cancelled, for the length of the block.

    Args:
        stop: The run's.

    Yields:
        What is set by then: the run is to end as Cancelled, not as Failed.
    """
    cancelled, ended = threading.Event(), threading.Event()
    context = FlowRunContext.get()
    flow_run = context.flow_run if context else None
    if flow_run is None or flow_run.deployment_id is not None:
        yield cancelled
        return
    watcher = threading.Thread(
        # In the context of the run: by that Prefect finds its API.
        target=copy_context().run,
        args=(_watch, flow_run.id, stop, cancelled, ended),
        name="mlhub-cancel",
        daemon=True,
    )
    watcher.start()
    try:
        yield cancelled
    finally:
        ended.set()
        watcher.join(API_SECONDS)


def _watch(
    flow_run_id: UUID, stop: StopFlag, cancelled: threading.Event, ended: threading.Event
) -> None:
    while not ended.wait(_EVERY_SECONDS):
        try:
            with brief_client() as client:
                state = client.read_flow_run(flow_run_id).state
        except API_ERRORS:
            continue  # asked again in a moment
        if state is not None and (state.is_cancelling() or state.is_cancelled()):
            cancelled.set()
            stop.set()
            return
