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
        try:
            usage = shutil.disk_usage(self._directory)
        except OSError as error:
            log.debug("free space of %s is not known: %s", self._directory, error)
            return
        if not usage.total:  # some file systems in user space know no size at all
            return
        room = usage.free - min(self._keep_free, usage.total // _SHARE)
        if count > room:
            told = StorageError(
                f"Not enough room in {self._directory}: {count:,} more bytes are to be written, "
                f"{usage.free:,} are free, and {usage.free - room:,} of these are left for others. "
                "Make room, name another directory, or go on regardless with --ignore-space."
            )
            told.errno = errno.ENOSPC
            raise told
        self._left = min(_LONGEST_STRIDE, max(_SHORTEST_STRIDE, room // 4), room) - count
