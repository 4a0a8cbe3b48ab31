"""Reads what partitions list of the chosen rows, while the next row groups are looked at.

A question that leaves little of a large index spends most of its time on reading, and Arrow reads
without the interpreter's lock: the other core does it meanwhile. Only chosen rows are held, and so
many of them at most; where there are more, they are read later, a row group at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
import pyarrow as pa

from mlhub_core.buffers import mask_array
from mlhub_core.chores import Pool
from mlhub_core.index.schema import conform
from mlhub_core.selection.index_reader import IndexReader
from mlhub_core.selection.partition import COLUMNS, partition_schema
from mlhub_core.selection.rowgroup import RowGroup

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]
    Reader = Callable[[IndexReader, int, Mask, list[str]], pa.Table]

HELD_ROWS = 50_000
"""So many chosen rows are held at most."""
_READERS = 2
"""Columns read at a time."""
_FEW = 16
"""Rows are few where they are less than one of so many."""
_BATCH_ROWS = 4_096

_PLACES = ["save_path", "href"]
"""What differs in every row."""
_OWNERS = [name for name in COLUMNS if name not in _PLACES]


class Reading(NamedTuple):
    """Rows of a row group that are being read.

    Attributes:
        rows: How many.
        owners: Their columns but for paths and URLs.
        places: Their paths and URLs.
    """

    rows: int
    owners: Future[pa.Table]
    places: Future[pa.Table]


class ReadAhead:
    """Rows of an index that are being read, or are there already.

    Args:
        index: The index. It is opened again, because threads cannot share one reader.
    """

    def __init__(self, index: IndexReader) -> None:
        self._readers = [IndexReader(index.path) for _ in range(_READERS)]
        self._free: SimpleQueue[IndexReader] = SimpleQueue()
        for reader in self._readers:
            self._free.put(reader)
        self._pool = Pool(_READERS, thread_name_prefix="mlhub-ahead")
        self._reading: dict[int, Reading] = {}
        self._rows = 0

    def begin(self, group: RowGroup, mask: Mask) -> bool:
        """Begin to read some rows of a row group; False if they are too many in all."""
        rows = int(np.count_nonzero(mask))
        if self._rows + rows > HELD_ROWS:
            return False
        self._rows += rows
        number, owners = group.number, [name for name in _OWNERS if not group.is_void(name)]
        self._reading[number] = Reading(
            rows,
            self._pool.submit(self._read, read_owners, number, mask, owners),
            self._pool.submit(self._read, read_places, number, mask, _PLACES),
        )
        return True

    def _read(self, read: Reader, number: int, mask: Mask, columns: list[str]) -> pa.Table:
        reader = self._free.get()
        try:
            return read(reader, number, mask, columns)
        finally:
            self._free.put(reader)

    def look(self, number: int) -> pa.Table:
        """The rows of a row group that were begun, but for their places; they stay here."""
        return self._reading[number].owners.result()

    def take(self, number: int, mask: Mask) -> pa.Table | None:
        """The rows, once they are read; None if they were not begun, or are others by now."""
        reading = self._reading.pop(number, None)
        if reading is None or reading.rows != int(np.count_nonzero(mask)):
            return None
        return _together(reading.owners.result(), reading.places.result())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for reading in self._reading.values():
            reading.owners.cancel()
            reading.places.cancel()
        self._pool.shutdown()
        for reader in self._readers:
            reader.__exit__(kind, error, trace)


def chosen_rows(index: IndexReader, number: int, mask: Mask) -> pa.Table:
    """What a partition lists of some rows of a row group."""
    if not _are_few(mask):
        return conform(_whole(index, number, mask, list(COLUMNS)), partition_schema())
    return _together(
        read_owners(index, number, mask, _OWNERS), read_places(index, number, mask, _PLACES)
    )


def read_owners(index: IndexReader, number: int, mask: Mask, columns: list[str]) -> pa.Table:
    """Columns of some rows that say whose they are and what to expect of them.

    Ids are read as codes, and as texts again in the end, so that what is held of a few rows is not
    the list of all ids. Not in batches: each would be given that list again.
    """
    return _as_listed(_whole(index, number, mask, columns))


def read_places(index: IndexReader, number: int, mask: Mask, columns: list[str]) -> pa.Table:
    """Columns of some rows that differ in every one of them.

    Where rows are few, they are picked out of small batches, and what lies behind the last of them
    stays unread: memory that is touched for the first time costs as much as what is put there.
    """
    if not _are_few(mask):
        return _as_listed(_whole(index, number, mask, columns))
    last = len(mask) - int(np.argmax(mask[::-1]))
    picked, first = [], 0
    for batch in index.batches(number, columns, _BATCH_ROWS):
        wanted = mask[first : first + batch.num_rows]
        if wanted.any():
            picked.append(batch.filter(mask_array(wanted)))
        first += batch.num_rows
        if first >= last:
            break
    return _as_listed(pa.Table.from_batches(picked))


def _are_few(mask: Mask) -> bool:
    return bool(_FEW * np.count_nonzero(mask) <= len(mask))


def _whole(index: IndexReader, number: int, mask: Mask, columns: list[str]) -> pa.Table:
    table = index.read(number, columns)
    return table if mask.all() else table.filter(mask_array(mask))


def _as_listed(table: pa.Table) -> pa.Table:
    """Columns with the types that they have in a partition."""
    fields = partition_schema()
    return table.cast(pa.schema([fields.field(name) for name in table.column_names]))


def _together(owners: pa.Table, places: pa.Table) -> pa.Table:
    """What a partition lists, of its columns; those that were not read have no value."""
    rows = {name: places.column(name) for name in places.column_names}
    rows |= {name: owners.column(name) for name in owners.column_names}
    return conform(pa.table(rows), partition_schema())
