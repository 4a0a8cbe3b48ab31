"""Lines for people, on standard error."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TextIO


def say(line: str) -> None:
    """Write a line to standard error, whole or not at all.

    ``print`` writes a line and its end one after the other. Where Python does not buffer
    (``PYTHONUNBUFFERED``, as containers set it) those are two system calls: another thread's line,
    or what is said about a Ctrl-C that comes between them, would stand on the same line.

    Where it cannot be written the work goes on, unheard: a terminal, or whoever read a pipe, has
    gone, or the disk that holds the log is full.

    Args:
        line: Without the end of the line.
    """
    stream = sys.stderr
    if stream is None:  # the process was started with it closed: nobody wants to hear anything
        return
    try:
        stream.write(f"{line}\n")
        stream.flush()
    except OSError:
        _say_no_more(stream)


def _say_no_more(stream: TextIO) -> None:
    """Let what is still in a stream's buffer go nowhere: Python would try it again at its end."""
    with suppress(OSError, ValueError):  # it may be none that has a file
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
