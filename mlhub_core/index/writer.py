"""The index file while it is written, and what waits on disk to be written to it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from math import ceil
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mlhub_core.index.findings import Extent
from mlhub_core.index.ordering import ItemFile, Spool
from mlhub_core.index.rows import Finisher, Order, expand, row_counts
from mlhub_core.index.schema import FACTS_KEY, IDENTITY_KEY, geo_metadata, index_schema

_GROUP_ROWS = 100_000
"""Of a row group: large enough to pack well, small enough to leave out."""
_GROUP_BYTES = 80 * 1024 * 1024
"""Of a row group multiplied out: long properties make smaller ones, not more memory."""
_ROW_BYTES = 400
"""About what a row takes besides its item's properties and geometry."""
_WITHOUT_STATISTICS = frozenset(
    {"item_path", "source_paths", "href", "save_path", "properties", "checksum", "geometry"}
)
"""Columns that nobody filters by: their statistics would fill the footer."""


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

    def write(self, finisher: Finisher) -> Iterator[pa.RecordBatch]:
        """Write all rows: the finished ones along the curve, then the others as they came.

        Yields:
            Each row group that has been written.
        """
        for items, order in self._finished.in_order():
            for group in _groups(items, order):
                yield self._write_group(expand(items, group))
        for items in self._waiting.read():
            for group in _groups(items, np.arange(items.num_rows)):
                yield self._write_group(expand(items, group, finisher))

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
