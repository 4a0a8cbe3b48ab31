"""How the files of an archive are dealt out to the processes that read them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from mlhub_core.settings import MIB


def _whoever(_: int) -> bool | None:
    return None


@dataclass(frozen=True, slots=True)
class Dealing:
    """The defaults are measured; others make no other index.

    Attributes:
        from_bytes: Packed size of an archive from which on starting a second process costs less
            than it saves.
        chunk_bytes: Unpacked, dealt out together.
        chunk_files: Dealt out together.
        to_second: Whether a chunk, by its number, goes to the second process; None for whoever
            has nothing to do.
    """

    from_bytes: int = 4 * MIB
    chunk_bytes: int = 256 * 1024
    chunk_files: int = 256
    to_second: Callable[[int], bool | None] = _whoever

    def is_worth_it(self, size: int) -> bool:
        """Whether a second process is to read along, and there is a processor for it."""
        cores = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))(0)
        return size >= self.from_bytes and len(cores) > 1


ALONE = Dealing(from_bytes=1 << 62)
"""One process only."""
