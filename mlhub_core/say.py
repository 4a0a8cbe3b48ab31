"""Lines for people: results on standard output, all else on standard error."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

from mlhub_core.exceptions import StorageError
from mlhub_core.redact import without_secrets
from mlhub_core.streams import silence

_COMMANDS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Characters that command a terminal, or turn the order of those beside them round."""


def printable(text: str) -> str:
    """A text without our secrets, in which each control character is written as an escape.

    Titles, ids and error texts come from catalogs and servers. On a terminal they could move the
    cursor, hide what was said before, or type.
    """
    plain = without_secrets(text)
    return _COMMANDS.sub(lambda found: found[0].encode("unicode_escape").decode(), plain)


def show(*lines: str) -> None:
    """Write lines to standard output, a command's result.

    Whoever has read enough of it, as ``head`` does, ends the output and not the command.

    Args:
        *lines: Without the ends of the lines.

    Raises:
        StorageError: if they cannot be written: the disk that they go to is full.
    """
    try:
        sys.stdout.write("".join(f"{printable(line)}\n" for line in lines))
        sys.stdout.flush()
    except BrokenPipeError:
        silence(sys.stdout)
    except OSError as error:
        silence(sys.stdout)
        raise unwritten(error) from error


def unwritten(error: OSError) -> StorageError:
    """What it comes to that standard output cannot be written."""
    return StorageError(f"Standard output cannot be written: {error.strerror}.")


def show_json(value: Any) -> None:
    """Write a value to standard output as JSON, which stays JSON in every encoding.

    Raises:
        StorageError: as :func:`show`.
    """
    plain = sys.stdout.encoding.lower() not in ("utf-8", "utf8")
    text = json.dumps(value, indent=2, ensure_ascii=plain)
    # JSON knows no \x9b: what it has not escaped by itself is written as \u009b.
    show(
        *(_COMMANDS.sub(lambda found: f"\\u{ord(found[0]):04x}", line) for line in text.split("\n"))
    )


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
        stream.write(f"{printable(line)}\n")
        stream.flush()
    except OSError:
        silence(stream)
