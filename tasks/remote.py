"""Partitions that run in another process than the flow, on a worker of a Dask cluster.

How far one is travels as an event of the cluster, by the way of its scheduler, and for each
directory that is written to under a name of its own. The flow's stop flag is not seen there: each
process knows which of its partitions run, by the directory that they write to, and the scheduler
can have them stopped in all processes.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from mlhub_core.progress import Broadcast, Progress, Stage
from mlhub_core.threads import StopFlag

_EVERY_SECONDS = 1.0

_lock = threading.Lock()
_running: list[tuple[str, StopFlag]] = []


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


# Stopping them


@contextmanager
def stoppable(directory: str, stop: StopFlag) -> Iterator[None]:
    """Let a partition be stopped from afar, for the length of the block.

    Args:
        directory: Where it writes to.
        stop: What it looks at.
    """
    known = (directory, stop)
    with _lock:
        _running.append(known)
    try:
        yield
    finally:
        with _lock:
            _running.remove(known)


def stop_all_in(directory: str) -> None:
    """Ask the partitions of this process that write to a directory to stop."""
    with _lock:
        for where, stop in _running:
            if where == directory:
                stop.set()


def running_in(directory: str) -> int:
    """How many partitions of this process write to a directory."""
    with _lock:
        return sum(where == directory for where, _ in _running)
