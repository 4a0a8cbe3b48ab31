"""Cuts a selection, a Parquet file of assets, into partition files of similar weight."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mlhub_core.selection.partition import Partition, partition_schema
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
    """Write the partition files of a selection.

    Args:
        selection: Parquet file with the columns of a partition.
        directory: Where the partition files go; it exists.
        keep: For each row of the selection whether it is wanted: False for the second and
            further rows of one file.
        workers: Partitions at a time.

    Returns:
        The partitions, in order; together they hold every row that is kept, once.
    """
    with pq.ParquetFile(selection) as file:
        sizes = _weights(file, keep)
        count = partition_count(int(keep.sum()), workers)
        total = float(sizes.sum()) or 1.0
        # A row belongs to the partition in which the middle of its weight falls.
        middle = np.cumsum(sizes) - sizes / 2
        owner = np.minimum((middle * count / total).astype(np.int64), count - 1)
        present = sorted(set(np.unique(owner[keep]).tolist()))
        writer = _Writer(directory, {number: index for index, number in enumerate(present)})
        offset = 0
        for batch in file.iter_batches():
            rows = slice(offset, offset + batch.num_rows)
            offset += batch.num_rows
            kept = keep[rows]
            writer.add(batch.filter(pa.array(kept)), owner[rows][kept])
        return writer.close()


def _weights(file: pq.ParquetFile, keep: NDArray[np.bool_]) -> NDArray[np.float64]:
    sizes = file.read(columns=["file_size"]).column("file_size").to_pandas()
    weights = sizes.fillna(_UNKNOWN_BYTES).to_numpy(dtype=np.float64) + _PER_FILE_BYTES
    return np.where(keep, weights, 0.0)


class _Writer:
    """Writes rows to the file of their partition; owners never decrease, so one is open."""

    def __init__(self, directory: Path, numbers: dict[int, int]) -> None:
        self._directory = directory
        self._numbers = numbers
        self._done: list[Partition] = []
        self._writer: pq.ParquetWriter | None = None
        self._current = -1
        self._files = self._known = self._unknown = 0

    def add(self, batch: pa.RecordBatch, owners: NDArray[np.int64]) -> None:
        for number in np.unique(owners):
            first, last = np.searchsorted(owners, [number, number + 1])
            if number != self._current:
                self._finish()
                self._open(int(number))
            part = batch.slice(first, last - first)
            assert self._writer is not None
            self._writer.write_batch(part)
            sizes = part.column("file_size")
            self._files += part.num_rows
            self._unknown += sizes.null_count
            self._known += sum(size for size in sizes.to_pylist() if size is not None)

    def close(self) -> tuple[Partition, ...]:
        self._finish()
        return tuple(self._done)

    def _path(self) -> Path:
        return self._directory / f"partition-{self._numbers[self._current] + 1:03d}.parquet"

    def _open(self, number: int) -> None:
        self._current = number
        self._writer = pq.ParquetWriter(self._path(), partition_schema(), compression="zstd")

    def _finish(self) -> None:
        if self._writer is None:
            return
        self._writer.close()
        self._done.append(
            Partition(
                self._numbers[self._current] + 1,
                len(self._numbers),
                self._path(),
                self._files,
                self._known,
                self._unknown,
            )
        )
        self._writer = None
        self._files = self._known = self._unknown = 0
