"""The standard streams of a command, where whoever started it has closed them."""

from __future__ import annotations

import os
import sys

_STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def have_standard_streams() -> None:
    """Open those that are closed on the null device.

    Python has None in their place. And the next file that is opened would get the number: what a
    library says to standard error would go into an asset.
    """
    for name, mode in _STREAMS:
        if getattr(sys, name) is None:
            # The lowest free number, which is the one that is missing.
            stream = open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115 - for good
            os.set_inheritable(stream.fileno(), True)  # or processes of ours would miss them
            setattr(sys, name, stream)
