"""Rows that wait for the end of the archive, on disk: one file for each process that reads it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mlhub_core.buffers import number_array, values
from mlhub_core.index.schema import aside_schema

_ORDER = "_number"


class SetAside:
    """A file of batches, written as they come, then read once.

    Args:
        path: Where it goes; made when there is something to write.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: Any = None
        self._writer: Any = None

    def write(self, batch: pa.RecordBatch) -> None:
        """Add a batch."""
        if self._writer is None:
            self._file = pa.OSFile(str(self._path), "wb")
            options = pa.ipc.IpcWriteOptions(compression="zstd")
            self._writer = pa.ipc.new_stream(self._file, aside_schema(), options=options)
        self._writer.write_batch(batch)

    def read(self) -> Iterator[pa.RecordBatch]:
        """All batches, in the order they were written in."""
        if self._writer is None:
            return
        self._close()
        with pa.OSFile(str(self._path)) as file, pa.ipc.open_stream(file) as reader:
            yield from reader

    def remove(self) -> None:
        """Remove the file."""
        self._close()
        self._path.unlink(missing_ok=True)

    def _close(self) -> None:
        if self._writer is not None and not self._file.closed:
            self._writer.close()
            self._file.close()


def merged(
    one: Iterator[pa.RecordBatch], other: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """Two streams of rows in order of the archive as one; no more than two batches in memory."""
    left, right = next(one, None), next(other, None)
    while left is not None and right is not None:
        ends = values(left.column(_ORDER))[-1], values(right.column(_ORDER))[-1]
        # A file of the archive is read by one process: no number is in both.
        heads, rests = zip(*(_cut(batch, min(ends)) for batch in (left, right)), strict=True)
        both = pa.concat_batches([head for head in heads if head.num_rows])
        yield both.take(number_array(np.argsort(values(both.column(_ORDER)), kind="stable")))
        left, right = (
            rest if rest.num_rows else next(more, None)
            for rest, more in zip(rests, (one, other), strict=True)
        )
    for rest, more in ((left, one), (right, other)):
        if rest is not None:
            yield rest
        yield from more


def _cut(batch: pa.RecordBatch, end: int) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """The rows up to a member of the archive, and those after it."""
    at = int(np.searchsorted(values(batch.column(_ORDER)), end, side="right"))
    return batch.slice(0, at), batch.slice(at)
