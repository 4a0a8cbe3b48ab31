"""Items on their way into the index, put in order within a bound on memory.

As long as they are few they stay in memory. Beyond that they are written to disk as they come, then
dealt out to buckets of neighbours, each of which fits in memory and is put in order there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mlhub_core.buffers import number_array, values
from mlhub_core.index import ordering
from mlhub_core.index.rows import Order, items_schema

_IN_MEMORY = 128 * 1024 * 1024
"""Bytes of items in memory until they are too many for it."""
_BUCKET = 56 * 1024 * 1024
"""Bytes of a bucket, about; ordered and multiplied out it takes four times that."""
_MAX_BUCKETS = 200
"""Files open at a time."""


class Spool:
    """Takes batches of items and gives them back in order.

    Args:
        path: Where files go that begin with this name.
        in_memory: Bytes of items kept in memory.
        bucket: Bytes of a bucket, about.
    """

    def __init__(self, path: Path, in_memory: int = _IN_MEMORY, bucket: int = _BUCKET) -> None:
        self._path = path
        self._in_memory = in_memory
        self._bucket = bucket
        self._batches: list[pa.RecordBatch] = []
        self._held = 0
        self._bytes = 0
        self._positions: list[ordering.Positions] = []
        self._numbers: list[Any] = []
        self._file: _File | None = None
        self._buckets: list[_File] = []

    def add(self, batch: pa.RecordBatch) -> None:
        """Take a batch. Items of the same number come one after the other."""
        self._positions.append(ordering.positions(batch))
        self._numbers.append(values(batch.column("number")).copy())
        self._batches.append(batch)
        self._held += batch.nbytes
        self._bytes += batch.nbytes
        # Once they are too many, there is no use in keeping any.
        if self._file is not None or self._held > self._in_memory:
            self._file = self._file or _File(self._path)
            self._spill(self._file)

    def in_order(self) -> Iterator[tuple[pa.RecordBatch, Order]]:
        """All items, in batches of some size, each with the order of what is in it; once."""
        if not self._positions:
            return
        # Equal ones in order of the archive, in whatever order they came.
        keys = ordering.keys(np.concatenate(self._positions, axis=1))
        self._positions.clear()
        order = np.lexsort((np.concatenate(self._numbers), keys)).astype(np.int64)
        self._numbers.clear()
        del keys
        if self._file is None:
            items = pa.concat_batches(self._batches)
            self._batches.clear()
            yield items, order
            return
        self._spill(self._file)
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        del order
        count = min(_MAX_BUCKETS, -(-self._bytes // self._bucket))
        bucket_of = (rank * count // len(rank)).astype(np.int16)
        self._deal(self._file, bucket_of, count)
        for number, bucket in enumerate(self._buckets):
            items = pa.concat_batches(list(bucket.read()))
            bucket.remove()
            yield items, np.argsort(rank[bucket_of == number])

    def close(self) -> None:
        """Remove all files."""
        for file in (self._file, *self._buckets):
            if file is not None:
                file.remove()

    def _spill(self, file: _File) -> None:
        for batch in self._batches:
            file.write(batch)
        self._batches.clear()
        self._held = 0

    def _deal(self, file: _File, bucket_of: Any, count: int) -> None:
        self._buckets += [
            _File(self._path.with_name(f"{self._path.name}.{n}")) for n in range(count)
        ]
        start = 0
        for batch in file.read():
            mine = bucket_of[start : start + batch.num_rows]
            start += batch.num_rows
            order = np.argsort(mine, kind="stable")
            sorted_batch = batch.take(number_array(order))
            ends = np.searchsorted(mine[order], np.arange(count + 1))
            for number, bucket in enumerate(self._buckets):
                first, last = int(ends[number]), int(ends[number + 1])
                if first < last:
                    bucket.write(sorted_batch.slice(first, last - first))
        file.remove()


class _File:
    """Batches in a file: written, then read once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sink = pa.OSFile(str(path), "wb")
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        self._writer = pa.ipc.new_stream(self._sink, items_schema(), options=options)

    def write(self, batch: pa.RecordBatch) -> None:
        self._writer.write_batch(batch)

    def read(self) -> Iterator[pa.RecordBatch]:
        self._close()
        with pa.OSFile(str(self._path)) as file, pa.ipc.open_stream(file) as reader:
            yield from reader

    def remove(self) -> None:
        self._close()
        self._path.unlink(missing_ok=True)

    def _close(self) -> None:
        if not self._sink.closed:
            self._writer.close()
            self._sink.close()
