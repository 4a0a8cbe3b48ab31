"""Moves files that the catalog no longer has into ``.mlhub/trash``, when asked to.

Only files that the ledger knows are touched, and those of the catalog that an older archive had;
all else in the directory stays. The old archive tells exactly what was unarchived, so it is held by
a second name until the new one is here; what only the old one has goes on a list.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from mlhub_core.exceptions import storage_errors
from mlhub_core.net.fetch import known_file
from mlhub_core.paths import DownloadPaths
from mlhub_core.sources.formats import open_archive
from mlhub_core.sources.roots import files_in
from mlhub_core.state import TRASH_NAME, open_state
from mlhub_core.stores.local import is_safe
from mlhub_core.sync.current import indexed_archive
from mlhub_core.transfer.catalog_files import names_in
from mlhub_core.transfer.ledger import entries, forget, merge_journals
from mlhub_core.transfer.names import NameSet, save_paths
from mlhub_core.work import Work

log = logging.getLogger(__name__)

_HELD_NAME = "before.tar.gz"
_CATALOG_LIST = "catalog-gone.txt"
_ASSET_LIST = "gone.txt"
_BATCH = 2_000


def hold_archive(paths: DownloadPaths, directory: Path) -> None:
    """Keep the archive that the index was made of, before a new one may replace it.

    One that is held already, by a sync that did not get done, is the one to compare with. Where the
    file system knows no second names, the files of the catalog that go stay where they are.

    Args:
        paths: The download, its lock held.
        directory: Where a sync keeps what it has not finished.
    """
    held = directory / _HELD_NAME
    known = known_file(paths.archive, paths.state_dir)
    if held.exists() or known is None or known.sha256 != indexed_archive(paths):
        return
    try:
        directory.mkdir(parents=True, exist_ok=True)
        os.link(paths.archive, held)
    except OSError as error:
        log.debug("the old archive is not held: %s", error)


def note_gone(
    paths: DownloadPaths,
    directory: Path,
    work: Work,
) -> None:
    """Put the files that only the held archive has on the list, and let go of it.

    Args:
        paths: The download, its lock held.
        directory: Where a sync keeps what it has not finished.
        work: Caps, and what ends it early.

    Raises:
        CatalogError: if an archive cannot be read.
        StorageError: if the disk refuses.
        Interrupted: if ``stop`` is set.
    """
    held = directory / _HELD_NAME
    with storage_errors(f"write {_CATALOG_LIST} in {paths.state_dir}"):
        if not held.exists():
            return
        if not held.samefile(paths.archive):
            now = names_in(paths.archive, paths.dataset_id, work)
            with (
                open_state(paths.state_dir / _CATALOG_LIST, "a") as file,
                open_archive(held, work.limits, stop=work.stop) as stream,
            ):
                names = (one.path for one in files_in(stream, paths.dataset_id))
                gone = _missing(names, now)
                file.writelines(f"{path}\n" for path in gone if "\n" not in path)
        held.unlink()


def prune(paths: DownloadPaths, work: Work) -> int:
    """Move the files of assets that are no longer in the index into the trash.

    Those of the catalog that are no longer in its archive go with them. What a filter leaves out of
    a run is not gone: the index has all of the dataset.

    Args:
        paths: The download, its lock held.
        work: Caps on what is read of the archive, and what ends it early.

    Returns:
        How many files of assets were moved.

    Raises:
        CatalogError: if the archive cannot be read.
        StorageError: if the disk refuses.
        Interrupted: if ``stop`` is set; the next time goes on.
    """
    merge_journals(paths.ledger_dir)
    assets = paths.state_dir / _ASSET_LIST
    trash = paths.state_dir / TRASH_NAME / time.strftime("%Y-%m-%dT%H%M%SZ", time.gmtime())
    moved = 0
    with storage_errors(f"move files into {trash}"):
        wanted = save_paths(paths.index, work.stop)
        with open_state(assets, "w") as file:
            recorded = (entry.path for entry in entries(paths.ledger_dir))
            file.writelines(f"{path}\n" for path in _missing(recorded, wanted, work.stop.check))
        for batch in _listed(assets):
            work.stop.check()
            moved += sum(_move(paths.asset_dir, path, trash) for path in batch)
            # Only now: after a crash in between, the next time finds an entry without a file.
            forget(paths.ledger_dir, batch)
        assets.unlink()
        _prune_catalog(paths, trash, wanted, work)
    if moved:
        log.info("%d files that the catalog no longer has moved to %s", moved, trash)
    return moved


def _prune_catalog(paths: DownloadPaths, trash: Path, wanted: NameSet, work: Work) -> None:
    """Move the files that the catalog had once and has no longer."""
    listed = paths.state_dir / _CATALOG_LIST
    if not listed.exists():
        return
    now = names_in(paths.archive, paths.dataset_id, work)
    for batch in _listed(listed):
        work.stop.check()
        for path in _missing(_missing(iter(batch), now), wanted):
            _move(paths.catalog_dir, path, trash)
    listed.unlink()


def _missing(
    paths: Iterator[str], names: NameSet, check: Callable[[], None] = lambda: None
) -> Iterator[str]:
    """Those of some paths that are not among the names, and stay in their directory."""
    while batch := list(islice(paths, _BATCH)):
        check()
        for path, there in zip(batch, names.holds(batch), strict=True):
            if not there and is_safe(path):
                yield path


def _listed(file: Path) -> Iterator[list[str]]:
    with open_state(file) as lines:
        while batch := [line.rstrip("\n") for line in islice(lines, _BATCH)]:
            yield batch


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
