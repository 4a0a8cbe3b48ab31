"""Moves files that the catalog no longer has into ``.mlhub/trash``, when asked to.

Only files that the ledger knows are touched, so whatever else lies in the directory stays. The file
is moved before its entry is removed: after a crash in between, the next time finds the entry
without a file and removes that.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mlhub_core.exceptions import StorageError
from mlhub_core.layout import DownloadPaths
from mlhub_core.stop import StopFlag
from mlhub_core.transfer.ledger import compact, entries, forget
from mlhub_core.transfer.names import NameSet
from mlhub_core.transfer.storage import is_safe

log = logging.getLogger(__name__)

TRASH_NAME = "trash"
_LIST_NAME = "gone.txt"
_BATCH = 2_000
_INDEX_ROWS = 65_536


def prune(paths: DownloadPaths, *, stop: StopFlag | None = None) -> int:
    """Move the files of assets that are no longer in the index into the trash.

    What a filter leaves out of a run is not gone: the index has all of the dataset.

    Args:
        paths: The download, its lock held.
        stop: Looked at now and then.

    Returns:
        How many files were moved.

    Raises:
        StorageError: if the disk refuses.
        Interrupted: if ``stop`` is set; the next time goes on.
    """
    stop = stop or StopFlag()
    compact(paths.ledger_dir)
    listed = paths.state_dir / _LIST_NAME
    trash = paths.state_dir / TRASH_NAME / time.strftime("%Y-%m-%dT%H%M%SZ", time.gmtime())
    moved = 0
    try:
        with listed.open("w", encoding="utf-8") as file:
            file.writelines(f"{path}\n" for path in _gone(paths, stop))
        with listed.open(encoding="utf-8") as file:
            while batch := [line.rstrip("\n") for line in islice(file, _BATCH)]:
                stop.check()
                moved += sum(_move(paths.asset_dir, path, trash) for path in batch)
                forget(paths.ledger_dir, batch)
        listed.unlink()
    except (OSError, pa.ArrowException) as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(f"Cannot move files into {trash}: {error}.") from error
    if moved:
        log.info("%d files that the catalog no longer has moved to %s", moved, trash)
    return moved


def _gone(paths: DownloadPaths, stop: StopFlag) -> Iterator[str]:
    """Places in the ledger that the index does not have."""
    kept = NameSet()
    with pq.ParquetFile(paths.index) as file:
        for columns in file.iter_batches(batch_size=_INDEX_ROWS, columns=["save_path"]):
            stop.check()
            kept.add(columns.column(0).to_pylist())
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
    os.replace(root / path, target)
    _remove_empty(root, (root / path).parent)
    return True


def _remove_empty(root: Path, directory: Path) -> None:
    while directory != root:
        try:
            directory.rmdir()
        except OSError:
            return  # something lies there still
        directory = directory.parent
