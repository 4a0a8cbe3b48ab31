"""The ledger: which files are already here, how long they are and what their digest is.

Every partition of a run appends to a segment of its own. :func:`compact` merges segments into one
SQLite table, from which a partition looks up its own paths, so memory follows the batch and not
the dataset.
"""

from __future__ import annotations

from pathlib import Path

from mlhub_core.exceptions import StorageError
from mlhub_core.transfer.entry import Entry, State
from mlhub_core.transfer.ledger_table import (
    TABLE_NAME,
    LedgerTable,
    Mark,
    check,
    entries,
    forget,
    mark_damaged,
    merge,
    totals,
)
from mlhub_core.transfer.segments import (
    LedgerWriter,
    SegmentIndex,
    read_segment,
    rows_of,
    segments_in,
)

__all__ = [
    "Entry",
    "State",
    "LedgerWriter",
    "LedgerReader",
    "read_segment",
    "check",
    "compact",
    "entries",
    "totals",
    "mark_damaged",
    "forget",
]


class LedgerReader:
    """Looks entries up.

    Args:
        directory: The ledger's directory, which need not exist.
        partition: Of what is not compacted yet, read only what this partition wrote when it was
            tried before: its siblings' segments, which they may just be writing, cannot hold its
            paths. Whatever earlier runs left is in the table, if the ledger was compacted before
            the first partition began. None reads all segments.

    Raises:
        StorageError: if the ledger cannot be read.
    """

    def __init__(self, directory: Path, *, partition: int | None = None) -> None:
        # Segments first: one that is compacted in between is then found in the table as well.
        segments = segments_in(directory, partition)
        self._recent = SegmentIndex(segments) if segments else None
        has_table = (directory / TABLE_NAME).exists()
        self._table = LedgerTable(directory) if has_table else None

    def find(self, paths: list[str]) -> dict[str, Entry]:
        """Entries of those of ``paths`` that the ledger knows.

        Paths that are neighbours, in whatever order, are found in half the time.

        Raises:
            StorageError: if the ledger cannot be read.
        """
        found = self._table.find(paths) if self._table is not None else {}
        if self._recent is not None:
            found.update(self._recent.find(paths))
        return found

    def marks(self, paths: list[str]) -> dict[str, Mark]:
        """By what files that are as they were are known, of those of ``paths`` that have an entry.

        Raises:
            StorageError: if the ledger cannot be read.
        """
        found = self._table.marks(paths) if self._table is not None else {}
        if self._recent is not None:
            recent = self._recent.find(paths)
            found.update((path, (e.size, e.source, e.state)) for path, e in recent.items())
        return found

    def close(self) -> None:
        """Let go of table and segments."""
        if self._table is not None:
            self._table.close()
            self._table = None
        if self._recent is not None:
            self._recent.close()
            self._recent = None


def compact(directory: Path) -> int:
    """Merge all segments into the table and remove them; without segments nothing is written.

    Call it under the directory's lock while no partition runs. A crash in between loses nothing:
    segments go only once the table is committed, the oldest first, and merging one again is
    harmless.

    Returns:
        Entries merged.

    Raises:
        StorageError: if the disk refuses.
    """
    segments = segments_in(directory)
    if not segments:
        return 0
    merged = merge(directory, rows_of(segments))
    try:
        for segment in segments:
            segment.unlink()
    except OSError as error:
        raise StorageError(f"Cannot tidy the ledger {directory}: {error.strerror}.") from error
    return merged
