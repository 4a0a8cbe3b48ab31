"""The standard streams of a command, where nobody is, or is any more, at their other end."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from io import TextIOWrapper
from typing import TextIO

_STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


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
