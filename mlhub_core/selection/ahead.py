"""Reads what partitions list of the chosen rows, while the next row groups are looked at.

A question that leaves little of a large index spends most of its time on reading, and Arrow reads
without the interpreter's lock: the other core does it meanwhile. Only chosen rows are held, and so
many of them at most; where there are more, they are read later, a row group at a time.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa

from mlhub_core.buffers import mask_array
from mlhub_core.selection.partition import Asset, partition_schema
from mlhub_core.selection.rowgroup import IndexReader, RowGroup

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]

HELD_ROWS = 50_000
"""So many chosen rows are held at most."""
_READERS = 2
"""Row groups read at a time."""
_FEW = 16
"""Rows are few where they are less than one of so many."""
_BATCH_ROWS = 8_192


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
        self._pool = ThreadPoolExecutor(_READERS, thread_name_prefix="mlhub-ahead")
        self._reading: dict[int, tuple[int, Future[pa.Table]]] = {}
        self._rows = 0

    def begin(self, group: RowGroup, mask: Mask) -> bool:
        """Begin to read some rows of a row group; False if they are too many in all."""
        rows = int(np.count_nonzero(mask))
        if self._rows + rows > HELD_ROWS:
            return False
        self._rows += rows
        reading = self._pool.submit(self._read, group.number, mask)
        self._reading[group.number] = rows, reading
        return True

    def _read(self, number: int, mask: Mask) -> pa.Table:
        reader = self._free.get()
        try:
            return chosen_rows(reader, number, mask)
        finally:
            self._free.put(reader)

    def look(self, number: int) -> pa.Table:
        """The rows of a row group that were begun, once they are read; they stay here."""
        return self._reading[number][1].result()

    def take(self, number: int, mask: Mask) -> pa.Table | None:
        """The rows, once they are read; None if they were not begun, or are others by now."""
        rows, reading = self._reading.pop(number, (-1, None))
        if reading is None or rows != int(np.count_nonzero(mask)):
            return None
        return reading.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for _, reading in self._reading.values():
            reading.cancel()
        self._pool.shutdown()
        for reader in self._readers:
            reader.__exit__(kind, error, trace)


def chosen_rows(index: IndexReader, number: int, mask: Mask) -> Any:
    """What a partition lists of some rows of a row group.

    Where they are few, they are picked out of small batches, and what lies behind the last of them
    stays unread: memory that is touched for the first time costs as much as what is put there.
    Ids are read as codes, and texts again in the end, so that what is held of a few rows is not the
    list of all ids.
    """
    columns = list(Asset._fields)
    if mask.all():
        return index.read(number, columns)
    if _FEW * np.count_nonzero(mask) > len(mask):
        return index.read(number, columns).filter(mask_array(mask)).cast(partition_schema())
    last = len(mask) - int(np.argmax(mask[::-1]))
    picked, first = [], 0
    for batch in index.batches(number, columns, _BATCH_ROWS):
        wanted = mask[first : first + batch.num_rows]
        if wanted.any():
            picked.append(batch.filter(mask_array(wanted)))
        first += batch.num_rows
        if first >= last:
            break
    return pa.Table.from_batches(picked).cast(partition_schema())
