"""Cuts a selection into partition files of similar weight."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mlhub_core.buffers import distinct, mask_array, valid, values
from mlhub_core.chores import open_parquet
from mlhub_core.selection.partition import ROW_GROUP_ROWS, Partition, partition_schema
from mlhub_core.selection.plan import partition_count

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PER_FILE_BYTES = 50_000
"""What a file weighs beside its bytes: a request takes about as long as so many bytes."""

_UNKNOWN_BYTES = 200_000
"""What a file of unknown size is taken for: the size of a usual image chip."""


def cut(
    selection: Path, directory: Path, keep: NDArray[np.bool_], workers: int
) -> tuple[Partition, ...]:
    """Write the partition files of a selection that lies in a file.

    Args:
        selection: Parquet file with the columns of a partition.
        directory: Where the partition files go; it exists.
        keep: For each row of the selection whether it is wanted: False for the second and
            further rows of one file.
        workers: Partitions at a time.

    Returns:
        The partitions, in order; together they hold every row that is kept, once.
    """
    with open_parquet(selection) as file:
        sizes = file.read(columns=["file_size"]).column("file_size").combine_chunks()
        weight = float(weights(sizes)[keep].sum())
        cutter = Cutter(directory, partition_count(int(keep.sum()), workers), weight)
        offset = 0
        for batch in file.iter_batches(use_threads=False):
            kept = keep[offset : offset + batch.num_rows]
            offset += batch.num_rows
            cutter.add(batch.filter(mask_array(kept)))
        return cutter.close()


def weights(sizes: Any) -> NDArray[np.float64]:
    """What files weigh, by the Arrow array of their sizes."""
    known = np.where(valid(sizes), values(sizes), _UNKNOWN_BYTES) if len(sizes) else np.zeros(0)
    return known.astype(np.float64) + _PER_FILE_BYTES


class Cutter:
    """Writes rows to partition files, one after the other.

    Args:
        directory: Where the files go; it exists.
        count: How many partitions there may be.
        weight: What all rows together weigh.
    """

    def __init__(self, directory: Path, count: int, weight: float) -> None:
        self._directory = directory
        self._count = count
        self._share = (weight or 1.0) / count
        self._passed = 0.0
        self._done: list[tuple[Path, int, int, int]] = []
        self._writer: pq.ParquetWriter | None = None
        self._current = -1
        self._files = self._known = self._unknown = 0

    def add(self, rows: pa.RecordBatch | pa.Table) -> None:
        """Write some rows, in the order of the partitions."""
        sizes = rows.column("file_size")
        sizes = sizes.combine_chunks() if isinstance(sizes, pa.ChunkedArray) else sizes
        own = weights(sizes)
        # A row belongs to the partition in which the middle of its weight falls.
        middle = self._passed + np.cumsum(own) - own / 2
        self._passed += float(own.sum())
        owners = np.minimum((middle / self._share).astype(np.int64), self._count - 1)
        for number in distinct(owners).tolist():
            if number != self._current:
                self._finish()
                self._open(number)
            first, last = np.searchsorted(owners, [number, number + 1]).tolist()
            self._write(rows.slice(first, last - first), sizes.slice(first, last - first))

    def close(self) -> tuple[Partition, ...]:
        """Finish the last file.

        Returns:
            The partitions, in order.
        """
        self._finish()
        return tuple(
            Partition(number, len(self._done), *fields)
            for number, fields in enumerate(self._done, start=1)
        )

    def abandon(self) -> None:
        """Close the open file; what is written is not looked at any more."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _write(self, part: pa.RecordBatch | pa.Table, sizes: Any) -> None:
        import pyarrow.compute as pc

        assert self._writer is not None
        table = part if isinstance(part, pa.Table) else pa.Table.from_batches([part])
        self._writer.write_table(table.cast(partition_schema()), row_group_size=ROW_GROUP_ROWS)
        self._files += len(sizes)
        self._unknown += sizes.null_count
        self._known += pc.sum(sizes).as_py() or 0

    def _open(self, number: int) -> None:
        self._current = number
        self._path = self._directory / f"partition-{len(self._done) + 1:03d}.parquet"
        # Nobody looks for anything in it, and paths and URLs differ in every row: neither
        # statistics nor a dictionary of them would be worth the time.
        self._writer = pq.ParquetWriter(
            self._path,
            partition_schema(),
            compression="zstd",
            write_statistics=False,
            use_dictionary=["collection_id", "item_id", "asset_key"],
        )

    def _finish(self) -> None:
        if self._writer is None:
            return
        self._writer.close()
        self._done.append((self._path, self._files, self._known, self._unknown))
        self._writer = None
        self._files = self._known = self._unknown = 0
