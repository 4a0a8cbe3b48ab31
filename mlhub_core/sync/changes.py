"""The new index beside the old one, compared with it, and then in its place.

In this order: the new index is built under ``.mlhub/sync``; files whose asset changed are marked as
outdated in the ledger, and all changes are listed in a table; the counts are noted; the new index
replaces the old one. A crash before that leaves the old index, and the next sync compares again. A
crash after it leaves a ledger that knows what to fetch, for any later run, a plain download
included.
"""

from __future__ import annotations

import csv
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mlhub_core.exceptions import storage_errors
from mlhub_core.index.build import AssetIndex, left_out_of, recall, remember
from mlhub_core.paths import DownloadPaths
from mlhub_core.redact import redact_url
from mlhub_core.sources.base import Catalog
from mlhub_core.state import open_state, read_state, write_state
from mlhub_core.stores.local import is_safe
from mlhub_core.sync.compare import ADDED, CHANGED, COLUMNS, Diff, compare
from mlhub_core.sync.current import read_complete
from mlhub_core.sync.prune import hold_archive, note_gone
from mlhub_core.threads import StopFlag
from mlhub_core.transfer.ledger import Entry, LedgerReader, LedgerWriter, State, merge_journals
from mlhub_core.transfer.names import index_batches
from mlhub_core.transfer.report import DownloadReport
from mlhub_core.work import Work

if TYPE_CHECKING:
    from numpy.typing import NDArray

TABLE_NAME = "sync-report.csv"
HEADER = ("change", "collection", "item", "asset key", "file", "URL")
"""Columns of the table of changes."""

_DIRECTORY = "sync"
_STATE_NAME = "changes.json"
_LISTED = ("collection_id", "item_id", "asset_key", "save_path", "href")
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


@dataclass(frozen=True)
class SyncReport:
    """What a sync did.

    Attributes:
        dataset_id: The dataset.
        directory: Where its assets lie.
        current: Whether there was nothing to do: one question, and no write.
        changes: What the new catalog changed; None where there was no other one to compare with.
        download: What was fetched; None where there was nothing to do.
        pruned: Files moved into the trash; None where that was not asked for.
    """

    dataset_id: str
    directory: Path
    current: bool = False
    changes: Changes | None = None
    download: DownloadReport | None = None
    pruned: int | None = None

    def summary(self) -> str:
        """A few lines for people."""
        if self.current:
            return f"{self.dataset_id}: the catalog has not changed, and everything is here."
        lines = []
        if self.changes is not None:
            lines.append(f"Assets in the catalog: {self.changes}.")
            if self.changes.added or self.changes.changed or self.changes.removed:
                lines.append(f"They are listed in {self.changes.table}")
        if self.download is not None:
            lines.append(self.download.summary())
        if self.pruned:
            lines.append(f"{self.pruned:,} files that are gone were moved into .mlhub/trash.")
        elif self.pruned is None and self.changes is not None and self.changes.removed:
            lines.append("What is gone was left where it is; --prune moves it away.")
        return "\n".join(lines)

    def shortcomings(self) -> list[str]:
        """What the catalog has and is not here, or could not be checked, without what failed."""
        return [] if self.download is None else self.download.shortcomings()

    def raise_for_failures(self, *, strict: bool = False) -> None:
        """Raise if any asset could not be had.

        Args:
            strict: Raise also if the catalog itself lacks something that it names.

        Raises:
            DownloadIncomplete: with the report of the download.
        """
        if self.download is not None:
            self.download.raise_for_failures(strict=strict)


def prepare(paths: DownloadPaths) -> bool:
    """Note what only the state before a sync tells, as its first step.

    Args:
        paths: The download, its lock held.

    Returns:
        Whether files may lie here that the catalog no longer has.

    Raises:
        StorageError: if our state cannot be read.
    """
    hold_archive(paths, paths.state_dir / _DIRECTORY)
    before = read_complete(paths)
    return paths.ledger_dir.exists() if before is None else before.gone


def index_place(paths: DownloadPaths, archive: Catalog) -> DownloadPaths:
    """Where to build the index of an archive.

    Args:
        paths: The download.
        archive: The archive that is there now.

    Returns:
        ``paths`` where there is no other index to compare with, else paths below ``.mlhub/sync``.

    Raises:
        StorageError: if the index's state cannot be read.
    """
    if recall(archive, paths) is not None or not _is_comparable(paths.index):
        return paths
    if left_out_of(paths) != archive.left_out:
        return paths  # what it lacks was asked for, and what it has more of was not
    beside = paths.state_dir / _DIRECTORY
    return DownloadPaths(beside, beside, paths.dataset_id)


def _is_comparable(index: Path) -> bool:
    try:
        return set(COLUMNS) <= set(pq.read_schema(index).names)
    except (OSError, pa.ArrowException):
        return False


def adopt_index(
    paths: DownloadPaths,
    archive: Catalog,
    index: AssetIndex,
    work: Work,
) -> tuple[AssetIndex, Changes | None]:
    """Put a new index into its place, once what it changes is on record.

    Args:
        paths: The download, its lock held.
        archive: What the index was made of.
        index: The index, built where :func:`index_place` said.
        work: Caps on what is read of archives, and what ends it early.

    Returns:
        The index in its place, and what is new in it. Where it was in place already, what an
        earlier sync found and did not get done with; None where there is nothing to compare with.

    Raises:
        CatalogError: if an archive cannot be read.
        StorageError: if the disk refuses.
        Interrupted: if stopped.
    """
    directory = paths.state_dir / _DIRECTORY
    note_gone(paths, directory, work)
    if index.path == paths.index:
        return index, _unfinished(directory)
    diff = compare(paths.index, index.path, stop=work.stop)
    changes = record(diff, paths.index, index.path, paths, work.stop)
    # The counts are for the report of a run that goes on after a crash.
    write_state(directory / _STATE_NAME, {**asdict(changes), "table": changes.table.name})
    placed = replace(index, path=paths.index)
    with storage_errors(f"replace {paths.index}"):
        os.replace(index.path, paths.index)
    remember(placed, archive, paths)
    return placed, changes


def _unfinished(directory: Path) -> Changes | None:
    state: dict[str, Any] | None = read_state(directory / _STATE_NAME)
    try:
        return Changes(**{**state, "table": directory.parent / TABLE_NAME}) if state else None
    except TypeError:
        return None


def forget_unfinished(paths: DownloadPaths) -> None:
    """Remove what a sync kept until it is done."""
    shutil.rmtree(paths.state_dir / _DIRECTORY, ignore_errors=True)


def record(
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
    _mark_outdated(paths, (place for *_, place, _ in _rows(new, diff.outdated, stop)))
    with storage_errors(f"write {table}"):
        with open_state(part, "w", errors="replace", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(HEADER)
            for change, index, rows in (
                ("added", new, diff.fresh == ADDED),
                ("changed", new, diff.fresh == CHANGED),
                ("removed", old, diff.removed),
            ):
                for collection, item, key, place, href in _rows(index, rows, stop):
                    writer.writerow((change, collection, item or "", key, place, redact_url(href)))
        os.replace(part, table)
    return Changes(diff.added, diff.changed, diff.gone, len(diff.fresh), table)


def _rows(index: Path, mask: NDArray[np.bool_], stop: StopFlag) -> Iterator[tuple[Any, ...]]:
    """Rows of an index, as tuples of :data:`_LISTED`."""
    if not mask.any():
        return
    offset = 0
    for columns in index_batches(index, _LISTED, stop):
        count = len(columns[0])
        for at in np.flatnonzero(mask[offset : offset + count]):
            yield tuple(column[at] for column in columns)
        offset += count


def _mark_outdated(paths: DownloadPaths, places: Iterator[str]) -> None:
    """Mark files as outdated in the ledger, a batch at a time."""
    with (
        closing(LedgerReader(paths.ledger_dir)) as ledger,
        closing(LedgerWriter(paths.ledger_dir, 0)) as journal,
    ):
        while batch := list(islice(places, _BATCH)):
            known = ledger.find(batch)
            for place in batch:
                entry = known.get(place) or _entry_of_unknown(paths, place)
                if entry is not None:
                    journal.add(entry._replace(state=State.OUTDATED, time=time.time()))
    merge_journals(paths.ledger_dir)


def _entry_of_unknown(paths: DownloadPaths, place: str) -> Entry | None:
    """An entry for a file that lies there without one, or it would be asked about only."""
    if not is_safe(place):
        return None
    try:
        size = (paths.asset_dir / place).stat().st_size
    except OSError:
        return None  # none there: it will be fetched
    return Entry(place, size, None, None, None, "", State.OUTDATED, 0.0)


def first_changes(table: Path, count: int) -> list[dict[str, str]]:
    """The first rows of a table of changes, for people to look at.

    Args:
        table: The CSV file.
        count: How many at most.

    Raises:
        StorageError: if it cannot be read.
    """
    with storage_errors(f"read {table}"), open_state(table, newline="") as file:
        return list(islice(csv.DictReader(file), count))
