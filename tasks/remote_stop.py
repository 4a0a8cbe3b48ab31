"""Stops partitions that run in another process than the flow, where its stop flag is not seen.

Each process knows which of its partitions run, by the directory that they write to; a scheduler of
a cluster can call the functions here in all of them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from mlhub_core.stop import StopFlag

_WAIT_SECONDS = 30.0

_idle = threading.Condition()
_running: list[tuple[str, StopFlag]] = []


@contextmanager
def stoppable(directory: str, stop: StopFlag) -> Iterator[None]:
    """Let a partition be stopped from afar, for the length of the block.

    Args:
        directory: Where it writes to.
        stop: What it looks at.
    """
    known = (directory, stop)
    with _idle:
        _running.append(known)
    try:
        yield
    finally:
        with _idle:
            _running.remove(known)
            _idle.notify_all()


def stop_all_in(directory: str) -> None:
    """Ask the partitions of this process that write to a directory to stop."""
    with _idle:
        for where, stop in _running:
            if where == directory:
                stop.set()


def wait_until_idle(directory: str) -> bool:
    """Wait until no partition of this process writes to a directory; whether that is so."""
    with _idle:
        return _idle.wait_for(
            lambda: all(where != directory for where, _ in _running), _WAIT_SECONDS
        )
