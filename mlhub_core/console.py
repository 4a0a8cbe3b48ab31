"""What people read of a command: results on standard output, all else on standard error."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from contextlib import suppress
from io import TextIOWrapper
from typing import Any, TextIO

from mlhub_core.exceptions import StorageError
from mlhub_core.redact import without_secrets

_LOGGER = "mlhub_core"
_STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))

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


def echo(line: str) -> None:
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


def have_standard_streams() -> None:
    """Make the standard streams fit to be written to.

    What an encoding does not have (a Latin-1 locale, ``PYTHONIOENCODING``) is written as an escape.
    Those that are closed are opened on the null device.

    Python has None in their place. And the next file that is opened would get the number: what a
    library says to standard error would go into an asset.
    """
    for name, mode in _STREAMS:
        found = getattr(sys, name)
        if found is None:
            # The lowest free number, which is the one that is missing.
            stream = open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115 - for good
            os.set_inheritable(stream.fileno(), True)  # or processes of ours would miss them
            setattr(sys, name, stream)
        elif mode == "w" and isinstance(found, TextIOWrapper):
            found.reconfigure(errors="backslashreplace")


def silence(stream: TextIO) -> None:
    """Let all that is, or will be, written to a stream go nowhere.

    What is still in its buffer, Python would try to write again at its end, and complain.
    """
    with suppress(OSError, ValueError):  # it may be none that has a file
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


class DefaultHandler(logging.Handler):
    """Writes to standard error as long as the root logger has no handler of its own.

    Args:
        always: Whether to write even then: somebody asked for the lines on the command line.
    """

    def __init__(self, *, always: bool = False) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(message)s"))
        self._always = always

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; looked up each time, because bars and tests replace ``sys.stderr``."""
        if logging.getLogger().handlers and not self._always:
            return  # somebody has configured logging by now: the line is shown there
        try:
            for line in self.format(record).split("\n"):
                echo(line)
        except ValueError:  # the stream that somebody put there is closed
            self.handleError(record)


def ensure_handler() -> None:
    """Make INFO and above visible, if nobody has configured logging.

    Never ``basicConfig``: that is for applications.
    """
    logger = logging.getLogger(_LOGGER)
    if logging.getLogger().handlers or logger.handlers:
        return
    logger.addHandler(DefaultHandler())
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)


def set_verbosity(*, quiet: bool, verbose: bool) -> None:
    """Set the level of our own lines; those of other libraries stay as they are.

    Args:
        quiet: Warnings and errors only.
        verbose: Every request and file, on standard error whoever configures logging.
    """
    logger = logging.getLogger(_LOGGER)
    logger.setLevel(logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO)
    if verbose:
        # Prefect configures logging for itself; who asks for every request wants to see it here.
        logger.addHandler(DefaultHandler(always=True))
