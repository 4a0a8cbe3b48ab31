"""The index file while it is written, and what waits on disk to be written to it in order.

Near items lie together, in place and in time. Place and time are cut into as many steps of equally
many items each, and the steps interleaved (a Z-curve), so that a row group spans a part of all
three whatever they are like: a predicate on any of them leaves most row groups out.

Items are written to disk as they come, then dealt out to buckets of neighbours, each of which fits
in memory and is put in order there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from math import ceil
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mlhub_core.index.findings import Extent
from mlhub_core.index.rows import Finisher, Order, expand, items_schema, row_counts
from mlhub_core.index.schema import FACTS_KEY, IDENTITY_KEY, geo_metadata, index_schema

_STEPS = 1024
_BITS = 10
_WIDE = 180.0
"""Degrees of longitude from which on a box is put with those that have none, at the end: in a row
group of neighbours it would hide that they are neighbours."""
_BUCKET = 56 * 1024 * 1024
"""Bytes of a bucket, about; ordered and multiplied out it takes four times that."""
_MAX_BUCKETS = 200
"""Files open at a time."""

Positions = np.ndarray[tuple[int, int], np.dtype[np.float64]]
Keys = np.ndarray[tuple[int], np.dtype[np.uint64]]

_GROUP_ROWS = 32_768
"""Of a row group: large enough to pack well, small enough to leave out or to read for a few."""
_GROUP_BYTES = 80 * 1024 * 1024
"""Of a row group multiplied out: long properties make smaller ones, not more memory."""
_ROW_BYTES = 400
"""About what a row takes besides its item's properties and geometry."""
_WITHOUT_STATISTICS = frozenset(
    {
        *("item_path", "item_url", "source_paths", "href", "save_path", "properties", "checksum"),
        *("geometry", "title", "description", "bands", "details"),
    }
)
"""Columns that nobody filters by: their statistics would fill the footer."""


def positions(items: pa.RecordBatch) -> Positions:
    """Longitude, latitude and time of items; NaN where there is none."""
    box = items.column("bbox")
    west, south, east, north = (_floats(part) for part in box.flatten())
    east[east - west >= _WIDE] = np.nan
    moment, start, end = (
        _floats(items.column(name).cast(pa.int64()))
        for name in ("datetime", "start_datetime", "end_datetime")
    )
    start = np.where(np.isnan(start), end, start)
    end = np.where(np.isnan(end), start, end)
    time = np.where(np.isnan(moment), (start + end) / 2, moment)
    return np.stack([(west + east) / 2, (south + north) / 2, time])


def keys(where: Positions) -> Keys:
    """What items are ordered by.

    Args:
        where: Longitude, latitude and time of all of them, a row each.
    """
    found = np.zeros(where.shape[1], dtype=np.uint64)
    for number, axis in enumerate(where):
        found |= _spread(_steps(axis)) << np.uint64(len(where) - 1 - number)
    placeless = np.isnan(where[0]).astype(np.uint64)
    found |= placeless << np.uint64(len(where) * _BITS)
    return found


def _steps(values: Any) -> Keys:
    """Which of the steps each value is on; equal values share theirs."""
    ordered = np.sort(values[~np.isnan(values)])
    if not len(ordered):
        return np.zeros(len(values), dtype=np.uint64)
    at = np.linspace(0, len(ordered) - 1, min(_STEPS, len(ordered)) + 1)[1:-1]
    edges = ordered[at.astype(np.int64)]
    found: Keys = np.searchsorted(edges, values, side="left").astype(np.uint64)
    found %= np.uint64(_STEPS)
    return found


def _spread(steps: Keys) -> Keys:
    """Two free bits behind each bit."""
    table = np.array(
        [sum((step >> bit & 1) << 3 * bit for bit in range(_BITS)) for step in range(_STEPS)],
        dtype=np.uint64,
    )
    spread: Keys = table[steps.astype(np.int64)]
    return spread


def _floats(column: pa.Array) -> Any:
    return column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False, writable=True)


class ItemFile:
    """Batches of items in a file: written as they come, then read once.

    Args:
        path: The file; made when there is something to write.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sink: Any = None
        self._writer: Any = None

    def write(self, items: pa.RecordBatch) -> None:
        """Add a batch."""
        if self._writer is None:
            self._sink = pa.OSFile(str(self._path), "wb")
            # A system may let no thread start, and Arrow needs none.
            options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
            self._writer = pa.ipc.new_stream(self._sink, items_schema(), options=options)
        self._writer.write_batch(items)

    def read(self) -> Iterator[pa.RecordBatch]:
        """All batches, in the order they were written in."""
        self._close()
        if self._writer is not None:
            options = pa.ipc.IpcReadOptions(use_threads=False)
            with (
                pa.OSFile(str(self._path)) as file,
                pa.ipc.open_stream(file, options=options) as reader,
            ):
                yield from reader

    def remove(self) -> None:
        """Remove the file."""
        self._close()
        self._path.unlink(missing_ok=True)

    def _close(self) -> None:
        if self._sink is not None and not self._sink.closed:
            self._writer.close()
            self._sink.close()


class Spool:
    """Takes batches of items and gives them back in order.

    Args:
        path: Where files go that begin with this name.
        bucket: Bytes of a bucket, about.
    """

    def __init__(self, path: Path, bucket: int = _BUCKET) -> None:
        self._path = path
        self._bucket = bucket
        self._bytes = 0
        self._positions: list[Positions] = []
        self._file = ItemFile(path)
        self._buckets = [self._file]

    def add(self, items: pa.RecordBatch) -> None:
        """Take a batch."""
        self._positions.append(positions(items))
        self._bytes += items.nbytes
        self._file.write(items)

    def in_order(self) -> Iterator[tuple[pa.RecordBatch, Order]]:
        """All items, in batches of some size, each with the order of what is in it; once."""
        if not self._positions:
            return
        # Equal ones in the order they came in.
        order = np.argsort(keys(np.concatenate(self._positions, axis=1)), kind="stable")
        self._positions.clear()
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        del order
        count = min(_MAX_BUCKETS, -(-self._bytes // self._bucket))
        bucket_of = (rank * count // len(rank)).astype(np.int16)
        if count > 1:
            self._deal(bucket_of, count)
        for number, bucket in enumerate(self._buckets):
            items = pa.concat_batches(list(bucket.read()))
            bucket.remove()
            yield items, np.argsort(rank[bucket_of == number])

    def close(self) -> None:
        """Remove all files."""
        for file in (self._file, *self._buckets):
            file.remove()

    def _deal(self, bucket_of: Any, count: int) -> None:
        """Write each item to its bucket."""
        name = self._path.name
        self._buckets = [ItemFile(self._path.with_name(f"{name}.{n}")) for n in range(count)]
        start = 0
        for batch in self._file.read():
            mine = bucket_of[start : start + batch.num_rows]
            start += batch.num_rows
            order = np.argsort(mine, kind="stable")
            sorted_batch = batch.take(order)
            ends = np.searchsorted(mine[order], np.arange(count + 1))
            for number, bucket in enumerate(self._buckets):
                first, last = int(ends[number]), int(ends[number + 1])
                if first < last:
                    bucket.write(sorted_batch.slice(first, last - first))
        self._file.remove()


class IndexWriter:
    """The Parquet file under a temporary name, beside it the items that are to go into it.

    Leaving it without :meth:`publish` removes all of them. Everything here raises ``OSError`` as it
    comes; whoever builds the index maps it once.

    Args:
        part: The temporary name, on the file system of the final one.
    """

    def __init__(self, part: Path) -> None:
        self._part = part
        part.parent.mkdir(parents=True, exist_ok=True)
        statistics = [name for name in _leaves() if name.split(".")[0] not in _WITHOUT_STATISTICS]
        self._writer: Any = pq.ParquetWriter(
            part, index_schema(), compression="zstd", write_statistics=statistics
        )
        self._finished = Spool(part.with_name(f"{part.name}.items"))
        self._waiting = ItemFile(part.with_name(f"{part.name}.waiting"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.close()
        self._finished.close()
        self._waiting.remove()
        self._part.unlink(missing_ok=True)

    def add(self, items: pa.RecordBatch, *, is_waiting: bool = False) -> None:
        """Take items whose rows are finished, or wait until all has been read."""
        if is_waiting:
            self._waiting.write(items)
        else:
            self._finished.add(items)

    def write(self, finisher: Finisher, licenses: Mapping[str, str]) -> Iterator[pa.RecordBatch]:
        """Write all rows: the finished ones along the curve, then the others as they came.

        Yields:
            Each row group that has been written.
        """
        for items, order in self._finished.in_order():
            for group in _groups(items, order):
                yield self._write_group(expand(items, group, licenses))
        for items in self._waiting.read():
            for group in _groups(items, np.arange(items.num_rows)):
                yield self._write_group(expand(items, group, licenses, finisher))

    def _write_group(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        self._writer.write_batch(rows, row_group_size=max(1, rows.num_rows))
        return rows

    def finish(self, extent: Extent, made_from: dict[str, Any], *, paths_differ: bool) -> None:
        """Write the metadata and the footer.

        Args:
            extent: What the rows span.
            made_from: What tells this index from others.
            paths_differ: Whether no two rows share a save path, but for those of common assets.
        """
        facts = {"paths_differ": paths_differ, "boxes_agree": extent.boxes_agree}
        self._writer.add_key_value_metadata(
            {
                "geo": geo_metadata(extent.kinds, extent.bounds),
                IDENTITY_KEY: json.dumps(made_from),
                FACTS_KEY: json.dumps(facts),
            }
        )
        self._writer.close()

    def publish(self, final: Path) -> None:
        """Put the finished file in its place."""
        with self._part.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(self._part, final)


def _groups(items: pa.RecordBatch, order: Order) -> Iterator[Order]:
    """Cut ordered items into what makes a row group each, all of about the same size."""
    counts = row_counts(items)[order]
    lengths = (pc.binary_length(items.column(name)) for name in ("properties", "geometry"))
    shared = sum(length.fill_null(0).to_numpy() for length in lengths)[order]
    weights = np.maximum(counts / _GROUP_ROWS, counts * (shared + _ROW_BYTES) / _GROUP_BYTES)
    parts = max(1, ceil(weights.sum()))
    ends = np.searchsorted(np.cumsum(weights), np.arange(1, parts) * weights.sum() / parts) + 1
    start = 0
    for end in np.unique(np.append(ends, items.num_rows)).tolist():
        yield order[start:end]
        start = end


def _leaves() -> list[str]:
    """Parquet's names of the columns: those of boxes have one a field."""
    names = []
    for field in index_schema():
        if pa.types.is_struct(field.type):
            names += [f"{field.name}.{part.name}" for part in field.type]
        else:
            names.append(field.name)
    return names
