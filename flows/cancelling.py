"""Ends a run when somebody presses Cancel or Suspend in the UI.

A deployment's run is cancelled by its worker. An ad hoc run has none: nobody would tell it, and it
would stay Cancelling for ever. A suspended run is told by Prefect when its next task begins, which
for a download may be hours later.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext

from flows.api_client import API_ERRORS, API_SECONDS, brief_client
from mlhub_core.threads import StopFlag

_EVERY_SECONDS = 5.0


@dataclass(slots=True)
class Told:
    """What a run was told to do.

    Attributes:
        cancelled: Whether it is to end as Cancelled, not as Failed.
        suspended: The state in which it is to stay until it is resumed.
    """

    cancelled: bool = False
    suspended: State[Any] | None = None


@contextmanager
def stopping_when_told(stop: StopFlag) -> Iterator[Told]:
    """Set the stop flag when the run that is on is to end, for the length of the block.

    Args:
        stop: The run's.

    Yields:
        What it was told.
    """
    told, ended = Told(), threading.Event()
    context = FlowRunContext.get()
    flow_run = context.flow_run if context else None
    if flow_run is None:
        yield told
        return
    watcher = threading.Thread(
        # In the context of the run: by that Prefect finds its API.
        target=copy_context().run,
        args=(_watch, flow_run.id, flow_run.deployment_id is None, stop, told, ended),
        name="mlhub-cancel",
        daemon=True,
    )
    watcher.start()
    try:
        yield told
    finally:
        ended.set()
        watcher.join(API_SECONDS)


def _watch(
    flow_run_id: UUID, ad_hoc: bool, stop: StopFlag, told: Told, ended: threading.Event
) -> None:
    while not ended.wait(_EVERY_SECONDS):
        try:
            with brief_client() as client:
                state = client.read_flow_run(flow_run_id).state
        except API_ERRORS:
            continue  # asked again in a moment
        if state is None:
            continue
        if state.is_paused() and state.name == "Suspended":
            told.suspended = state
        elif ad_hoc and (state.is_cancelling() or state.is_cancelled()):
            told.cancelled = True
        else:
            continue
        stop.set()
        return
