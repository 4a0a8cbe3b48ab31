"""Rows on their way from the reader: collected, and handed on a batch at a time."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from mlhub_core.index.rows import ItemRows
from mlhub_core.index.waiting import WaitingRows

Take = Callable[[pa.RecordBatch], None]


class Rows:
    """Those that are finished and those that wait.

    Args:
        take_ready: Gets batches of items whose rows are finished.
        take_aside: Gets batches of rows that wait for the end of the archive.
    """

    def __init__(self, take_ready: Take, take_aside: Take) -> None:
        self._take_ready = take_ready
        self._take_aside = take_aside
        self.ready = ItemRows()
        self.aside = WaitingRows()

    def begin(self, number: int) -> None:
        """Whatever comes next is of this member of the archive."""
        self.ready.at = self.aside.at = number

    def flush_full(self) -> None:
        """Hand on the batches that are full."""
        if self.ready.is_full:
            self._flush_ready()
        if self.aside.is_full:
            self._flush_aside()

    def flush(self) -> None:
        """Hand on everything."""
        if len(self.ready):
            self._flush_ready()
        if len(self.aside):
            self._flush_aside()

    def _flush_ready(self) -> None:
        self._take_ready(self.ready.to_batch())
        self.ready.clear()

    def _flush_aside(self) -> None:
        self._take_aside(self.aside.to_batch())
        self.aside.clear()
