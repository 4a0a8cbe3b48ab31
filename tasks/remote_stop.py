"""Stops partitions that run in another process than the flow, where its stop flag is not seen.

Each process knows which of its partitions run, by the directory that they write to; a scheduler of
a cluster can call the functions here in all of them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from mlhub_core.threads import StopFlag

_lock = threading.Lock()
_running: list[tuple[str, StopFlag]] = []


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
