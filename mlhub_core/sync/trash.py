"""Moves files that the catalog no longer has into ``.mlhub/trash``, when asked to.

Only files that the ledger knows are touched, and those of the catalog that an older archive had;
all else in the directory stays. A file is moved before its entry is removed: after a crash in
between, the next time finds the entry without a file and removes that.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pyarrow as pa

from mlhub_core.chores import open_parquet
from mlhub_core.exceptions import StorageError
from mlhub_core.layout import DownloadPaths
from mlhub_core.settings import ArchiveLimits
from mlhub_core.state import TRASH_NAME, open_state
from mlhub_core.stop import StopFlag
from mlhub_core.sync.catalog_files import LIST_NAME as CATALOG_LIST
from mlhub_core.sync.catalog_files import listed_as_gone, names_of
from mlhub_core.transfer.ledger import entries, forget, merge_journals
from mlhub_core.transfer.names import NameSet
from mlhub_core.transfer.storage import is_safe

log = logging.getLogger(__name__)

_LIST_NAME = "gone.txt"
_BATCH = 2_000
_INDEX_ROWS = 65_536


def prune(
    paths: DownloadPaths,
    *,
    limits: ArchiveLimits | None = None,
    stop: StopFlag | None = None,
) -> int:
    """Move the files of assets that are no longer in the index into the trash.

    Those of the catalog that are no longer in its archive go with them.

    What a filter leaves out of a run is not gone: the index has all of the dataset.

    Args:
        paths: The download, its lock held.
        limits: Caps on what is read of the archive.
        stop: Looked at now and then.

    Returns:
        How many files of assets were moved.

    Raises:
        CatalogError: if the archive cannot be read.
        StorageError: if the disk refuses.
        Interrupted: if ``stop`` is set; the next time goes on.
    """
    stop = stop or StopFlag()
    merge_journals(paths.ledger_dir)
    listed = paths.state_dir / _LIST_NAME
    trash = paths.state_dir / TRASH_NAME / time.strftime("%Y-%m-%dT%H%M%SZ", time.gmtime())
    moved = 0
    try:
        kept = _save_paths(paths, stop)
        with open_state(listed, "w") as file:
            file.writelines(f"{path}\n" for path in _gone(paths, kept, stop))
        with open_state(listed) as file:
            while batch := [line.rstrip("\n") for line in islice(file, _BATCH)]:
                stop.check()
                moved += sum(_move(paths.asset_dir, path, trash) for path in batch)
                forget(paths.ledger_dir, batch)
        listed.unlink()
        _prune_catalog(paths, trash, kept, limits or ArchiveLimits(), stop)
    except (OSError, pa.ArrowException) as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(f"Cannot move files into {trash}: {error}.") from error
    if moved:
        log.info("%d files that the catalog no longer has moved to %s", moved, trash)
    return moved


def _prune_catalog(
    paths: DownloadPaths, trash: Path, kept: NameSet, limits: ArchiveLimits, stop: StopFlag
) -> None:
    """Move the files that the catalog had once and has no longer."""
    gone = listed_as_gone(paths)
    now: NameSet | None = None
    while batch := list(islice(gone, _BATCH)):
        stop.check()
        if now is None:
            now = names_of(paths.archive, paths.dataset_id, limits, stop)
        for path, in_archive, in_index in zip(
            batch, now.holds(batch), kept.holds(batch), strict=True
        ):
            if not in_archive and not in_index and is_safe(path):
                _move(paths.catalog_dir, path, trash)
    (paths.state_dir / CATALOG_LIST).unlink(missing_ok=True)


def _save_paths(paths: DownloadPaths, stop: StopFlag) -> NameSet:
    kept = NameSet()
    with open_parquet(paths.index) as file:
        for columns in file.iter_batches(
            batch_size=_INDEX_ROWS, columns=["save_path"], use_threads=False
        ):
            stop.check()
            kept.add(columns.column(0).to_pylist())
    return kept


def _gone(paths: DownloadPaths, kept: NameSet, stop: StopFlag) -> Iterator[str]:
    """Places in the ledger that the index does not have."""
    recorded = (entry.path for entry in entries(paths.ledger_dir))
    while batch := list(islice(recorded, _BATCH)):
        stop.check()
        for path, there in zip(batch, kept.holds(batch), strict=True):
            if not there and is_safe(path):
                yield path


def _move(root: Path, path: str, trash: Path) -> bool:
    """Move one file; False where there is none."""
    if not os.path.lexists(root / path):
        return False
    target = trash / path
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(root / path, target)  # the catalog may lie on another file system
    _remove_empty(root, (root / path).parent)
    return True


def _remove_empty(root: Path, directory: Path) -> None:
    while directory != root:
        try:
            directory.rmdir()
        except OSError:
            return  # something lies there still
        directory = directory.parent
