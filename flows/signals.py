"""Turns Ctrl-C and SIGTERM into the stop flag that the tasks watch."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from mlhub_core.stop import StopFlag


@contextmanager
def stopping_on_signals(stop: StopFlag) -> Iterator[None]:
    """Set a flag on SIGINT and SIGTERM, then do what would have been done without us.

    Prefect ends a flow run by a signal, and its task runner then waits for the tasks that run; it
    is the flag that ends these within half a second. Only the main thread may handle signals;
    elsewhere this does nothing.
    """
    stop.clear()
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def handle(number: int, frame: FrameType | None) -> None:
        stop.set()
        earlier = before[signal.Signals(number)]
        if callable(earlier):
            earlier(number, frame)
        elif earlier is signal.SIG_DFL:
            raise KeyboardInterrupt

    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier if earlier is not None else signal.SIG_DFL)
