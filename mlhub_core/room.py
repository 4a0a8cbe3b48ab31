"""Room that is left on a disk: nothing that a server sends may fill it to the brim."""

from __future__ import annotations

import errno
import logging
import shutil
from pathlib import Path

from mlhub_core.exceptions import StorageError
from mlhub_core.settings import MIB

log = logging.getLogger(__name__)

_LONGEST_STRIDE = 16 * MIB
_SHORTEST_STRIDE = MIB
"""Bytes between two looks at the disk."""
_SHARE = 50
"""On a small disk a fiftieth of it is left."""


def space_of(directory: Path) -> tuple[int, int] | None:
    """The bytes of a file system that are free, and all of them; None where it does not say."""
    try:
        usage = shutil.disk_usage(directory)
    except OSError as error:
        log.debug("free space of %s is not known: %s", directory, error)
        return None
    # Some file systems in user space know no size at all.
    return (usage.free, usage.total) if usage.total else None


def not_enough(message: str) -> StorageError:
    """An error that says that a disk is too full."""
    told = StorageError(message)
    told.errno = errno.ENOSPC
    return told


class Room:
    """The free space of a file system, while something is written to it.

    Args:
        directory: Where to; it exists.
        keep_free: Bytes that are left for others, or a fiftieth of all if that is less; 0 for none,
            and then nobody looks.
    """

    def __init__(self, directory: Path, keep_free: int) -> None:
        self._directory = directory
        self._keep_free = keep_free
        self._left = 0

    def take(self, count: int) -> None:
        """See whether there is room for some more bytes.

        Args:
            count: How many are about to be written.

        Raises:
            StorageError: if there is not.
        """
        self._left -= count
        if self._left >= 0 or not self._keep_free:
            return
        space = space_of(self._directory)
        if space is None:
            return
        free, total = space
        room = free - min(self._keep_free, total // _SHARE)
        if count > room:
            raise not_enough(
                f"Not enough room in {self._directory}: {count:,} more bytes are to be written, "
                f"{free:,} are free, and {free - room:,} of these are left for others. Make room, "
                "name another directory, or go on regardless with --ignore-space."
            )
        self._left = min(_LONGEST_STRIDE, max(_SHORTEST_STRIDE, room // 4), room) - count
