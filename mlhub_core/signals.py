"""Ctrl-C and SIGTERM for a command: once to stop in good order, later on to end at once.

Whatever a command does when one comes, its last line says that it was stopped, and there is no
traceback. Nothing heavy is imported here: it has to be there before all else.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

INTERRUPTED = 130
"""The exit status of a command that was stopped."""

_NUMBERS = (signal.SIGINT, signal.SIGTERM)
_SAME_REQUEST_SECONDS = 1.0
"""A terminal, a wrapper and ``make`` may each pass on one and the same Ctrl-C."""
_AGAIN_SECONDS = 0.05

_Handler = Callable[[int, FrameType | None], Any]


def end_on_signals() -> None:
    """End the process by either signal, while it gets ready and nothing is lost by that."""
    _handle_by(lambda *_: _end("Stopped."))


@contextmanager
def stopping_on_signals(last_line: str) -> Iterator[Callable[[], bool]]:
    """Raise ``KeyboardInterrupt`` on the first of both signals, end the process on a later one.

    That is safe: what is finished is in the ledger, and the Prefect server of our own ends with
    us. Inside of a flow, Prefect handles SIGTERM itself and passes it on afterwards.

    Args:
        last_line: What is said where the process is ended.

    Yields:
        A function that tells whether one has come.
    """
    asked: list[float] = []

    def handle(*_: object) -> None:
        asked.append(time.monotonic())
        if len(asked) == 1:
            raise KeyboardInterrupt
        if asked[-1] - asked[0] > _SAME_REQUEST_SECONDS:
            _end(last_line)

    def unheard(lost: Any) -> None:
        """An interrupt that came where Python can raise nothing, as in ``__del__``, comes again."""
        ours = threading.current_thread() is threading.main_thread()
        if not ours or not isinstance(lost.exc_value, KeyboardInterrupt):
            hook(lost)
            return
        asked.clear()
        again = (threading.get_ident(), signal.SIGINT)
        threading.Timer(_AGAIN_SECONDS, signal.pthread_kill, again).start()

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False  # only the main thread may handle signals
        return
    before, hook = _handle_by(handle), sys.unraisablehook
    sys.unraisablehook = unheard
    try:
        yield lambda: bool(asked)
    finally:
        asked.append(time.monotonic())  # nothing is raised any more
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


def _handle_by(handler: _Handler) -> dict[signal.Signals, Any]:
    """Set a handler, but for what whoever started us wants to be ignored; returns the old ones."""
    heard = [number for number in _NUMBERS if signal.getsignal(number) is not signal.SIG_IGN]
    return {number: signal.signal(number, handler) for number in heard}


def _end(line: str) -> NoReturn:
    with suppress(OSError):  # by a system call: the stream may be in the middle of another line
        os.write(2, f"{line}\n".encode(errors="replace"))
    os._exit(INTERRUPTED)


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
    for number in _NUMBERS:
        signal.signal(number, signal.SIG_IGN)
