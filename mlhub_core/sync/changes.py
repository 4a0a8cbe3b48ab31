"""What a new catalog changes, carried out: in the ledger, in a table for people, in the counts.

A file whose asset changed is marked as outdated in the ledger before the new index takes the place
of the old one. From then on the ledger knows what is still to fetch, so a crash costs nothing: any
later run, a plain download included, fetches it.
"""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mlhub_core.chores import open_parquet
from mlhub_core.exceptions import StorageError
from mlhub_core.layout import DownloadPaths
from mlhub_core.redact import redact_url
from mlhub_core.state import open_state, read_state, write_state
from mlhub_core.stop import StopFlag
from mlhub_core.sync.compare import ADDED, BATCH_ROWS, CHANGED, Diff
from mlhub_core.transfer.ledger import Entry, LedgerReader, LedgerWriter, State, merge_journals
from mlhub_core.transfer.storage import is_safe

if TYPE_CHECKING:
    from numpy.typing import NDArray

TABLE_NAME = "sync-report.csv"
HEADER = ("change", "collection", "item", "asset key", "file", "URL")
"""Columns of the table of changes."""

_STATE_NAME = "changes.json"
_COLUMNS = ("collection_id", "item_id", "asset_key", "save_path", "href")
_BATCH = 2_000


@dataclass(frozen=True, slots=True)
class Changes:
    """What a new catalog changed, in all of the dataset.

    Attributes:
        added: Assets that were not there before.
        changed: Assets that are other ones now.
        removed: Assets that are no longer there.
        assets: Assets that there are now.
        table: The CSV file that lists them all.
    """

    added: int
    changed: int
    removed: int
    assets: int
    table: Path

    def __str__(self) -> str:
        """The counts in words."""
        return f"{self.added:,} added, {self.changed:,} changed, {self.removed:,} removed"


Row = tuple[str, str, str | None, str, str, str]
"""Change, collection, item, asset key, save path and href."""


def apply(
    diff: Diff, old: Path, new: Path, paths: DownloadPaths, stop: StopFlag | None = None
) -> Changes:
    """Mark what changed in the ledger, and list all changes in a table.

    Args:
        diff: What :func:`~mlhub_core.sync.compare.compare` found.
        old: The index before.
        new: The index now.
        paths: The download, its journals merged and its lock held.
        stop: Looked at now and then.

    Raises:
        StorageError: if the disk refuses.
        Interrupted: if ``stop`` is set; nothing is lost, the next sync compares again.
    """
    table = paths.state_dir / TABLE_NAME
    part = table.with_name(TABLE_NAME + ".part")
    stop = stop or StopFlag()
    try:
        shared = _shared(diff, old, new, stop)
        with open_state(part, "w", errors="replace", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(HEADER)
            marker = _Marker(paths, shared)
            try:
                for row in _rows(diff, old, new, stop):
                    change, collection, item, key, place, href = row
                    writer.writerow((change, collection, item or "", key, place, redact_url(href)))
                    marker.take(change, place)
            finally:
                marker.close()
        merge_journals(paths.ledger_dir)
        os.replace(part, table)
    except (OSError, pa.ArrowException) as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(f"Cannot write {table}: {error}. Make room and sync again.") from error
    return Changes(diff.added, diff.changed, diff.gone, len(diff.fresh), table)


def remember_changes(changes: Changes, directory: Path) -> None:
    """Keep the counts until all is fetched, for the report of a run that goes on after a crash.

    Raises:
        StorageError: if the disk refuses.
    """
    write_state(directory / _STATE_NAME, {**asdict(changes), "table": changes.table.name})


def unfinished_changes(directory: Path) -> Changes | None:
    """What an earlier sync found and did not get done with; None where there is none.

    Raises:
        StorageError: if it cannot be read.
    """
    state: dict[str, Any] | None = read_state(directory / _STATE_NAME)
    try:
        return Changes(**{**state, "table": directory.parent / TABLE_NAME}) if state else None
    except TypeError:
        return None


def first_changes(table: Path, count: int) -> list[dict[str, str]]:
    """The first rows of a table of changes, for people to look at.

    Args:
        table: The CSV file.
        count: How many at most.

    Raises:
        StorageError: if it cannot be read.
    """
    try:
        with open_state(table, newline="") as file:
            return list(islice(csv.DictReader(file), count))
    except OSError as error:
        raise StorageError(f"Cannot read {table}: {error.strerror or error}.") from error


def _rows(diff: Diff, old: Path, new: Path, stop: StopFlag) -> Iterator[Row]:
    for value, name in ((ADDED, "added"), (CHANGED, "changed")):
        for row in _selected(new, diff.fresh == value, stop):
            yield (name, *row)
    for row in _selected(old, diff.removed, stop):
        yield ("removed", *row)


def _selected(index: Path, mask: NDArray[np.bool_], stop: StopFlag) -> Iterator[tuple[Any, ...]]:
    """Rows of an index, as tuples of :data:`_COLUMNS`."""
    if not mask.any():
        return
    offset = 0
    with open_parquet(index) as file:
        for batch in file.iter_batches(
            batch_size=BATCH_ROWS, columns=list(_COLUMNS), use_threads=False
        ):
            stop.check()
            chosen = mask[offset : offset + batch.num_rows]
            offset += batch.num_rows
            if chosen.any():
                found = batch.filter(pa.array(chosen))
                columns = [found.column(name).to_pylist() for name in _COLUMNS]
                yield from zip(*columns, strict=True)


def _shared(diff: Diff, old: Path, new: Path, stop: StopFlag) -> set[str]:
    """Places of added assets that others had before: the file of all items, say.

    A further asset that points at it makes it no other file. What else may have happened there,
    such as another URL, the download finds out by itself.
    """
    added = {row[3] for row in _selected(new, diff.fresh == ADDED, stop)}
    if not added:
        return added
    shared: set[str] = set()
    wanted = pa.array(sorted(added), pa.string())
    with open_parquet(old) as file:
        for batch in file.iter_batches(
            batch_size=BATCH_ROWS, columns=["save_path"], use_threads=False
        ):
            stop.check()
            places = batch.column(0)
            shared.update(places.filter(pa.compute.is_in(places, value_set=wanted)).to_pylist())
    return shared


class _Marker:
    """Marks files as outdated, a batch at a time."""

    def __init__(self, paths: DownloadPaths, shared: set[str]) -> None:
        self._root = paths.asset_dir
        self._shared = shared
        self._reader = LedgerReader(paths.ledger_dir)
        self._writer = LedgerWriter(paths.ledger_dir, 0)
        self._pending: list[str] = []

    def take(self, change: str, place: str) -> None:
        if change == "removed" or (change == "added" and place in self._shared):
            return
        self._pending.append(place)
        if len(self._pending) >= _BATCH:
            self._mark()

    def close(self) -> None:
        try:
            self._mark()
        finally:
            self._writer.close()
            self._reader.close()

    def _mark(self) -> None:
        known = self._reader.find(self._pending)
        for place in self._pending:
            entry = known.get(place) or self._unknown(place)
            if entry is not None:
                self._writer.add(entry._replace(state=State.OUTDATED, time=time.time()))
        self._pending.clear()

    def _unknown(self, place: str) -> Entry | None:
        """An entry for a file that lies there without one, or it would be asked about only."""
        if not is_safe(place):
            return None
        try:
            size = (self._root / place).stat().st_size
        except OSError:
            return None  # none there: it will be fetched
        return Entry(place, size, None, None, None, "", State.OUTDATED, 0.0)
