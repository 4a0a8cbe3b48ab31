"""Lines for people, on standard error."""

from __future__ import annotations

import sys

from mlhub_core.streams import silence


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
        silence(stream)
