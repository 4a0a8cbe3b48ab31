"""The files behind the index while it is built: the Parquet file, and the rows set aside."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import Future
from math import ceil
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mlhub_core.buffers import byte_counts, distinct
from mlhub_core.chores import Pool, open_parquet
from mlhub_core.index.rows import Extent, Order, expand, row_counts
from mlhub_core.index.schema import FACTS_KEY, IDENTITY_KEY, geo_metadata, index_schema
from mlhub_core.index.setaside import SetAside, merged
from mlhub_core.index.spool import Spool

_READ_ROWS = 65_536
_GROUP_ROWS = 100_000
"""Of a row group: large enough to pack well, small enough to leave out."""
_GROUP_BYTES = 80 * 1024 * 1024
"""Of a row group multiplied out: long properties make smaller ones, not more memory."""
_ROW_BYTES = 400
"""About what a row takes besides its item's properties and geometry."""


class IndexFile:
    """The Parquet file under a temporary name, and a spool for rows that wait.

    Leaving it without :meth:`publish` removes both. Everything here raises ``OSError`` as it
    comes; whoever builds the index maps it once.

    Args:
        part: The temporary name, on the file system of the final one.
    """

    def __init__(self, part: Path) -> None:
        self._part = part
        part.parent.mkdir(parents=True, exist_ok=True)
        # No statistics for texts that nobody filters by: they would fill the footer.
        plain = [
            "item_path",
            "source_paths",
            "href",
            "save_path",
            "properties",
            "checksum",
            "geometry",
        ]
        self._writer: Any = pq.ParquetWriter(
            part,
            index_schema(),
            compression="zstd",
            write_statistics=[name for name in _leaves() if name.split(".")[0] not in plain],
        )
        self._spool = Spool(part.with_name(part.name + ".items"))
        self._aside = [SetAside(part.with_name(f"{part.name}.aside{n}")) for n in range(2)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.close()
        self._spool.close()
        for file in self._aside:
            file.remove()
        self._part.unlink(missing_ok=True)

    def add_ready(self, items: pa.RecordBatch) -> None:
        """Take items whose rows are finished; those of each process in order of the archive."""
        self._spool.add(items)

    def add_aside(self, rows: pa.RecordBatch, process: int = 0) -> None:
        """Take rows that wait; those of each process in order of the archive."""
        self._aside[process].write(rows)

    def write_ready(self) -> None:
        """Write all rows that are finished, in order."""
        # Arrow does both without the interpreter's lock: one row group is packed while the next is
        # multiplied out. No more than these two are in memory.
        with Pool(1, thread_name_prefix="mlhub") as pool:
            writing: Future[None] | None = None
            for items, order in self._spool.in_order():
                for group in _groups(items, order):
                    rows = expand(items, group)
                    if writing is not None:
                        writing.result()
                    writing = pool.submit(self.write, rows)
            if writing is not None:
                writing.result()

    def write(self, batch: pa.RecordBatch) -> None:
        """Write a batch as a row group."""
        self._writer.write_batch(batch, row_group_size=max(1, batch.num_rows))

    def take_aside(self) -> Iterator[pa.RecordBatch]:
        """The rows that wait, in order of the archive."""
        return merged(*(file.read() for file in self._aside))

    def finish(
        self, extent: Extent, made_from: dict[str, Any], *, paths_differ: bool = False
    ) -> None:
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

    def read_columns(self, *names: str) -> Iterator[pa.RecordBatch]:
        """Read columns of the finished file, a batch at a time."""
        with open_parquet(self._part) as file:
            yield from file.iter_batches(
                batch_size=_READ_ROWS, columns=list(names), use_threads=False
            )

    def publish(self, final: Path) -> None:
        """Put the finished file in its place."""
        with self._part.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(self._part, final)


def _groups(items: pa.RecordBatch, order: Order) -> Iterator[Order]:
    """Cut ordered items into what makes a row group each, all of about the same size."""
    counts = row_counts(items).astype(np.int64)[order]
    shared = sum(byte_counts(items.column(name)) for name in ("properties", "geometry"))
    shared = np.asarray(shared)[order]
    weights = np.maximum(counts / _GROUP_ROWS, counts * (shared + _ROW_BYTES) / _GROUP_BYTES)
    parts = max(1, ceil(weights.sum()))
    ends = np.searchsorted(np.cumsum(weights), np.arange(1, parts) * weights.sum() / parts) + 1
    start = 0
    for end in distinct(np.append(ends, items.num_rows)).tolist():
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
