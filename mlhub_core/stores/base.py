"""What a store of final files is, and which save paths may go into one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from mlhub_core.paths import STATE_DIRECTORY

_USUAL = re.compile(r"(?:[^./\\\0][^/\\\0]*/)*[^./\\\0][^/\\\0]*")
"""Save paths of which no part is empty or begins with a dot, as are nearly all."""


class FileStat(NamedTuple):
    """What lies at a final place.

    Attributes:
        size: Bytes.
        mtime: When it was last written, seconds since 1970.
    """

    size: int
    mtime: float


class Store(Protocol):
    """Where final files go, each under its save path. Everything raises ``StorageError``."""

    def stat(self, save_path: str) -> FileStat | None:
        """What lies at a final place, None where nothing does."""

    def put(self, source: str, save_path: str) -> None:
        """Let a finished file of our own be the final one, in place of what lies there.

        Args:
            source: The file, which is gone then.
            save_path: The final place.
        """

    def list(self) -> Iterator[str]:
        """The save paths of all that lies there, in any order."""


def is_safe(save_path: str) -> bool:
    """Whether a save path stays below the directory it is relative to, and out of our state."""
    if _USUAL.fullmatch(save_path):
        return True
    parts = save_path.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\x00" in save_path:
        return False
    return parts[0].casefold() != STATE_DIRECTORY and "\\" not in save_path
