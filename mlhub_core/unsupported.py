"""Whether this platform is one that we run on; nothing of ours is imported here."""

from __future__ import annotations

import sys

_NEEDED = ("fcntl", "resource")
"""Modules of Python that Windows does not have."""


def why_not() -> str | None:
    """Why this platform is none that we run on, in one line; None where it is one."""
    for name in _NEEDED:
        try:
            __import__(name)
        except ImportError:
            return (
                f"mlhub-flows runs on Linux and macOS, and not on {sys.platform}, whose Python "
                f"lacks the module {name}. On Windows use WSL: https://aka.ms/wsl."
            )
    return None
