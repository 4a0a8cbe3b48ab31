"""Lines for people, on standard error."""

from __future__ import annotations

import sys


def say(line: str) -> None:
    """Write a line to standard error, whole or not at all.

    ``print`` writes a line and its end one after the other. Where Python does not buffer
    (``PYTHONUNBUFFERED``, as containers set it) those are two system calls: another thread's line,
    or what is said about a Ctrl-C that comes between them, would stand on the same line.

    Args:
        line: Without the end of the line.

    Raises:
        OSError: if it cannot be written.
    """
    stream = sys.stderr
    if stream is None:  # the process was started with it closed: nobody wants to hear anything
        return
    stream.write(f"{line}\n")
    stream.flush()
