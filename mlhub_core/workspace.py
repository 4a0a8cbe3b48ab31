"""The directories of a run: found or checked before any work, held while it lasts, left tidy.

Also whether there is room for what a plan will fetch.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlhub_core.exceptions import (
    InvalidArgument,
    NotADirectory,
    NothingMatches,
    StorageError,
    system_errors,
)
from mlhub_core.paths import (
    INDEX_STATE_NAME,
    STATE_DIRECTORY,
    UNARCHIVED_NAME,
    DownloadPaths,
    safe_name,
    user_path,
)
from mlhub_core.room import not_enough, space_of
from mlhub_core.selection.partition import Asset, read_assets
from mlhub_core.selection.plan import Plan, format_bytes
from mlhub_core.sources import spec_of, with_source
from mlhub_core.sources.base import SourceSpec
from mlhub_core.state import check_state_files, directory_lock, read_state
from mlhub_core.threads import StopFlag
from mlhub_core.transfer.failures import recover_failures
from mlhub_core.transfer.ledger import check, merge_journals
from mlhub_core.transfer.partials import sweep_partials

log = logging.getLogger(__name__)

_SIGNS = ("ledger", INDEX_STATE_NAME, UNARCHIVED_NAME)
"""What only a download of a dataset leaves in ``.mlhub``; the client's archives make one too."""
_CHECK_EVERY = 1_000
"""Files looked at between two looks at the stop flag."""


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


def existing_download(directory: str | Path) -> DownloadPaths:
    """All paths of the download that lies in a directory.

    Where the catalog is comes from what the download wrote down, relative to its own place: both
    can have been moved together since.

    Args:
        directory: The directory of a dataset, in which ``.mlhub`` lies.

    Raises:
        InvalidArgument: if it is none, or was renamed.
        StorageError: if its state cannot be read, or is not plain files.
    """
    if not str(directory):
        raise InvalidArgument("directory is empty: name the directory of a dataset.")
    root = Path(os.path.abspath(user_path(directory)))
    state = root / STATE_DIRECTORY
    check_state_files(root)
    if not _is_download(root):
        raise InvalidArgument(
            f"{root} is not the directory of a downloaded dataset (it has no {STATE_DIRECTORY} "
            f"with a ledger): name that directory{_suggestions(root)}."
        )
    dataset_id = _dataset_id(state) or root.name
    if safe_name(dataset_id) != root.name:
        raise InvalidArgument(
            f"{root} holds the dataset {dataset_id} but is not named {safe_name(dataset_id)}: "
            "give it that name again, below any directory you like."
        )
    spec = spec_of(state) or SourceSpec(dataset_id, "mlhub")
    paths = DownloadPaths(_output_dir(root, state), root.parent, dataset_id)
    return with_source(paths, spec)


def _is_download(root: Path) -> bool:
    return any((root / STATE_DIRECTORY / sign).exists() for sign in _SIGNS)


def _suggestions(root: Path) -> str:
    try:
        found = sorted(path.name for path in root.iterdir() if _is_download(path))
    except OSError:  # the error names the directory, which says enough
        return ""
    return f", such as {root / found[0]}" if found else ", which `mlhub download` made"


def _dataset_id(state: Path) -> str | None:
    archive: Any = (read_state(state / INDEX_STATE_NAME) or {}).get("archive")
    found = archive.get("dataset_id") if isinstance(archive, dict) else None
    return found if isinstance(found, str) and found else None


def _output_dir(root: Path, state: Path) -> Path:
    written = (read_state(state / UNARCHIVED_NAME) or {}).get("directory")
    if isinstance(written, str):
        catalog = Path(os.path.normpath(state / written))
        if catalog.name == root.name:
            return catalog.parent
    # A catalog that stays in its archive is in no directory; where the archive is, the index knows.
    written = (read_state(state / INDEX_STATE_NAME) or {}).get("output_dir")
    return Path(os.path.normpath(state / written)) if isinstance(written, str) else root.parent


def check_space(plan: Plan, paths: DownloadPaths, *, stop: StopFlag | None = None) -> None:
    """Compare the free space with what the plan's files will take beyond what is here already.

    Only sizes that the catalog gives count, so passing proves nothing, and failing much. The files
    are looked at one by one only where the whole plan would not fit.

    Args:
        plan: What will be fetched.
        paths: Where to; the asset directory exists.
        stop: Looked at now and then.

    Raises:
        StorageError: if there is not enough; says how much is needed and how much is free.
        Interrupted: if stopped.
    """
    space = space_of(paths.asset_dir)
    if space is None or plan.known_bytes <= space[0]:
        return
    free, _ = space
    needed = _missing_bytes(plan, paths, stop or StopFlag())
    if needed <= free:
        return
    unknown = f" and {plan.unknown_sizes:,} files of unknown size" if plan.unknown_sizes else ""
    raise not_enough(
        f"Not enough room in {paths.asset_dir}: {format_bytes(needed)}{unknown} are to come, "
        f"{format_bytes(free)} are free. Make room, narrow the filters, name another directory "
        "with --asset-output-dir, or go on regardless with --ignore-space."
    )


def _missing_bytes(plan: Plan, paths: DownloadPaths, stop: StopFlag) -> int:
    """What the plan's files will take beyond what lies in their places and among the partials."""
    root = str(paths.asset_dir)
    missing = 0
    for partition in plan.partitions:
        for number, asset in enumerate(read_assets(partition.path)):
            if number % _CHECK_EVERY == 0:
                stop.check()
            missing += _still_to_come(root, asset)
    return max(0, missing - _in_partials(paths))


def _still_to_come(root: str, asset: Asset) -> int:
    if not asset.file_size:
        return 0
    try:
        here = os.stat(f"{root}/{asset.save_path}").st_size
    except (OSError, ValueError):
        here = 0
    return max(0, asset.file_size - here)


def _in_partials(paths: DownloadPaths) -> int:
    try:
        with os.scandir(paths.partial_dir) as listed:
            return sum(entry.stat().st_size for entry in listed)
    except OSError:  # there are none, or one has just gone
        return 0
