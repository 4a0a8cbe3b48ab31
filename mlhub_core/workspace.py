"""The directories of a run: checked before any work, held while it lasts, left tidy."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlhub_core.exceptions import (
    InvalidArgument,
    NotADirectory,
    NothingMatches,
    StorageError,
    system_errors,
)
from mlhub_core.layout import DownloadPaths
from mlhub_core.state import directory_lock
from mlhub_core.transfer.failures import recover_failures
from mlhub_core.transfer.ledger import check, merge_journals
from mlhub_core.transfer.partials import sweep_partials

log = logging.getLogger(__name__)


def check_directories(*directories: Path) -> None:
    """Check that directories can be used, without making them.

    Raises:
        NotADirectory: if one is a file.
        StorageError: if one cannot be written, or made.
    """
    for directory in directories:
        nearest = directory
        while not nearest.exists() and nearest != nearest.parent:
            if nearest.is_symlink():
                raise StorageError(f"{nearest} is a link to nothing: name another directory.")
            nearest = nearest.parent
        if not nearest.is_dir():
            raise NotADirectory(f"{nearest} is a file, not a directory: name another directory.")
        if not os.access(nearest, os.W_OK | os.X_OK):
            raise StorageError(
                f"{nearest} cannot be written: name another directory, or change its permissions."
            )


@contextmanager
def workspace(paths: DownloadPaths) -> Iterator[None]:
    """Hold the directories of a download for the length of the block.

    Whether the asset keys of a filter exist is known only once the catalog is here. If one does
    not, the run ends as on any bad argument: what it made is removed again, unless there was a
    download before it.

    Raises:
        DirectoryBusy: if another run holds them.
        StorageError: if they cannot be made or tidied.
    """
    new = [
        path for path in (paths.archive, paths.catalog_dir, paths.asset_dir) if not path.exists()
    ]
    made = missing_directories(paths.output_dir) + missing_directories(paths.asset_output_dir)
    try:
        with system_errors(f"work in {paths.asset_dir}"), directory_lock(paths):
            tidy_state(paths)
            yield
            _merge_if_possible(paths)
    except NothingMatches:
        raise  # the catalog is fine, and the next filter may need it
    except InvalidArgument:
        if paths.asset_dir in new:
            remove_made(new, made)
        raise


def tidy_state(paths: DownloadPaths) -> None:
    """Merge what earlier runs left, finished or killed; remove what nothing can continue.

    Call it under the directory's lock while no partition runs.

    Raises:
        StorageError: if the disk refuses.
    """
    check(paths.ledger_dir)
    merged = merge_journals(paths.ledger_dir)
    recover_failures(paths.failures_dir, paths.err_report)
    removed = sweep_partials(paths.partial_dir)
    if merged or removed:
        log.debug("%d ledger entries merged, %d partial files removed", merged, removed)


def _merge_if_possible(paths: DownloadPaths) -> None:
    """Merge what a run has just written, which spares the next run the time.

    A disk that refuses is no error of a run that has all its files: the journals are still there,
    and the next run says so.
    """
    try:
        merge_journals(paths.ledger_dir)
    except StorageError as error:
        log.debug("the ledger is left to the next run: %s", error)


def missing_directories(directory: Path) -> list[Path]:
    """The directories that will have to be made, innermost first."""
    missing = []
    while not directory.exists() and directory != directory.parent:
        missing.append(directory)
        directory = directory.parent
    return missing


def remove_made(new: list[Path], made: list[Path]) -> None:
    """Remove what a run made that comes to nothing.

    Args:
        new: Files and directories that were not there before it.
        made: Directories around them that were not there either, innermost first.
    """
    for path in new:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    for directory in made:
        if directory.is_dir() and not any(directory.iterdir()):
            directory.rmdir()
