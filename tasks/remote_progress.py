"""Tells the flow how far a partition is that runs on a worker of a Dask cluster.

What is told travels as an event of the cluster, by the way of its scheduler, and for each directory
that is written to under a name of its own.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from mlhub_core.progress import Broadcast, Progress, Stage

_EVERY_SECONDS = 1.0


def topic_of(directory: str) -> str:
    """The name of the events of those that write to a directory."""
    return f"mlhub-progress:{directory}"


@contextmanager
def telling(directory: str, progress: Broadcast) -> Iterator[None]:
    """Tell the flow of progress for the length of the block, if this is a worker of a cluster.

    Args:
        directory: Where the partition writes to.
        progress: Its progress.
    """
    worker = _worker()
    if worker is None:
        yield
        return
    with progress.listen(Teller(worker, topic_of(directory))):
        yield


def heard(event: tuple[float, dict[str, Any]]) -> Progress:
    """What an event says."""
    fields = event[1]["progress"]
    return Progress(**{**fields, "stage": Stage(fields["stage"])})


class Teller:
    """Tells of progress once a second at most, and of each end.

    Args:
        worker: The Dask worker.
        topic: Under which name.
    """

    def __init__(self, worker: Any, topic: str) -> None:
        self._worker = worker
        self._topic = topic
        self._told = 0.0

    def __call__(self, message: Progress) -> None:
        """Tell of a message, unless the last one was a moment ago."""
        now = time.monotonic()
        if message.finished or now - self._told >= _EVERY_SECONDS:
            self._told = now
            fields = {**asdict(message), "stage": message.stage.value}
            self._worker.log_event(self._topic, {"progress": fields})


def _worker() -> Any:
    """The Dask worker that this thread works for; None if it does not."""
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return None
    try:
        return distributed.get_worker()
    except ValueError:
        return None
