"""The new index beside the old one, compared with it, and then in its place.

In this order: the new index is built under ``.mlhub/sync``; what differs is marked in the ledger;
the counts are noted; the new index replaces the old one. A crash before that leaves the old index,
and the next sync compares again. A crash after it leaves a ledger that knows what to fetch.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

from mlhub_core.exceptions import StorageError
from mlhub_core.index.asset_index import AssetIndex, recall, remember
from mlhub_core.layout import DownloadPaths
from mlhub_core.settings import ArchiveLimits
from mlhub_core.settled import read_settled
from mlhub_core.sources.archive import CatalogArchive
from mlhub_core.stop import StopFlag
from mlhub_core.sync.catalog_files import hold_archive, note_gone
from mlhub_core.sync.changes import Changes, apply, remember_changes, unfinished_changes
from mlhub_core.sync.compare import COLUMNS, compare

SYNC_DIRECTORY = "sync"


def sync_directory(paths: DownloadPaths) -> Path:
    """Where a sync keeps what it has not finished yet."""
    return paths.state_dir / SYNC_DIRECTORY


def prepare(paths: DownloadPaths) -> bool:
    """Note what only the state before a sync tells, as its first step.

    Args:
        paths: The download, its lock held.

    Returns:
        Whether files may lie here that the catalog no longer has.

    Raises:
        StorageError: if our state cannot be read.
    """
    hold_archive(paths, sync_directory(paths))
    before = read_settled(paths)
    return paths.ledger_dir.exists() if before is None else before.gone


def index_place(paths: DownloadPaths, archive: CatalogArchive) -> DownloadPaths:
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
    beside = sync_directory(paths)
    return DownloadPaths(beside, beside, paths.dataset_id)


def adopt_index(
    paths: DownloadPaths,
    archive: CatalogArchive,
    index: AssetIndex,
    *,
    limits: ArchiveLimits | None = None,
    stop: StopFlag | None = None,
) -> tuple[AssetIndex, Changes | None]:
    """Put a new index into its place, once what it changes is on record.

    Args:
        paths: The download, its lock held.
        archive: What the index was made of.
        index: The index, built where :func:`index_place` said.
        limits: Caps on what is read of archives.
        stop: Looked at now and then.

    Returns:
        The index in its place, and what is new in it. Where it was in place already, what an
        earlier sync found and did not get done with; None where there is nothing to compare with.

    Raises:
        CatalogError: if an archive cannot be read.
        StorageError: if the disk refuses.
        Interrupted: if stopped.
    """
    directory = sync_directory(paths)
    note_gone(paths, directory, archive, limits or ArchiveLimits(), stop)
    if index.path == paths.index:
        return index, unfinished_changes(directory)
    diff = compare(paths.index, index.path, stop=stop)
    changes = apply(diff, paths.index, index.path, paths, stop)
    remember_changes(changes, directory)
    placed = replace(index, path=paths.index)
    try:
        os.replace(index.path, paths.index)
    except OSError as error:
        raise StorageError(f"Cannot replace {paths.index}: {error.strerror or error}.") from error
    remember(placed, archive, paths)
    return placed, changes


def forget_unfinished(paths: DownloadPaths) -> None:
    """Remove what a sync kept until it is done."""
    shutil.rmtree(sync_directory(paths), ignore_errors=True)


def _is_comparable(index: Path) -> bool:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return set(COLUMNS) <= set(pq.read_schema(index).names)
    except (OSError, pa.ArrowException):
        return False
