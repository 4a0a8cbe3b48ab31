"""Ctrl-C and SIGTERM for a command: once to stop in good order, twice to end at once."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

from mlhub_core.exit_status import ExitStatus

_SAME_REQUEST_SECONDS = 1.0
"""A terminal, a wrapper and ``make`` may each pass on one and the same Ctrl-C."""


@contextmanager
def stopping_on_signals() -> Iterator[None]:
    """Raise ``KeyboardInterrupt`` on the first of both signals, end the process on a later one.

    That is safe: what is finished is in the ledger, and the Prefect server of our own ends with
    us. Inside of a flow, Prefect handles SIGTERM itself and passes it on afterwards.
    """
    asked: list[float] = []

    def handle(*_: object) -> None:
        asked.append(time.monotonic())
        if len(asked) == 1:
            raise KeyboardInterrupt
        if asked[-1] - asked[0] > _SAME_REQUEST_SECONDS:
            os._exit(ExitStatus.INTERRUPTED)

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


def leave(status: int) -> NoReturn:
    """End the process at once.

    Everything is sent, written and closed by now. Taking Prefect apart would take the interpreter
    half a second, and an interrupt meanwhile would print a traceback.
    """
    ignore_signals()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # whoever read them has gone
            stream.flush()
    os._exit(status)


def ignore_signals() -> None:
    """Let nothing disturb the interpreter's end, where an interrupt would print a traceback."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
