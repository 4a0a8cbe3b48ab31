"""Files of the catalog that a new archive no longer has, such as the description of an item.

The old archive tells exactly what was unarchived, so it is held by a second name until the new one
is here; what only the old one has goes on a list. Whatever else lies in the directory is not ours
to judge.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

from mlhub_core.exceptions import StorageError
from mlhub_core.layout import DownloadPaths
from mlhub_core.net.fetch import known_file
from mlhub_core.settings import ArchiveLimits
from mlhub_core.settled import indexed_archive
from mlhub_core.sources.archive import CatalogArchive
from mlhub_core.sources.members import Placement
from mlhub_core.sources.tarheader import Kind
from mlhub_core.sources.tarstream import TarStream
from mlhub_core.state import open_state
from mlhub_core.stop import StopFlag
from mlhub_core.transfer.names import NameSet

log = logging.getLogger(__name__)

HELD_NAME = "before.tar.gz"
LIST_NAME = "catalog-gone.txt"
_AT_A_TIME = 2_000


def hold_archive(paths: DownloadPaths, directory: Path) -> None:
    """Keep the archive that the index was made of, before a new one may replace it.

    One that is held already, by a sync that did not get done, is the one to compare with. Where the
    file system knows no second names, the files of the catalog that go stay where they are.

    Args:
        paths: The download, its lock held.
        directory: Where a sync keeps what it has not finished.
    """
    held = directory / HELD_NAME
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
    archive: CatalogArchive,
    limits: ArchiveLimits,
    stop: StopFlag | None = None,
) -> None:
    """Put the files that only the held archive has on the list, and let go of it.

    Args:
        paths: The download, its lock held.
        directory: Where a sync keeps what it has not finished.
        archive: The archive that is there now.
        limits: Caps.
        stop: Looked at now and then.

    Raises:
        CatalogError: if an archive cannot be read.
        StorageError: if the disk refuses.
        Interrupted: if ``stop`` is set.
    """
    held = directory / HELD_NAME
    try:
        if not held.exists() or held.samefile(archive.path):
            held.unlink(missing_ok=True)
            return
        now = names_of(archive.path, archive.dataset_id, limits, stop)
        with open_state(paths.state_dir / LIST_NAME, "a") as file:
            for batch in _names(held, archive.dataset_id, limits, stop):
                kept = now.holds(batch)
                gone = [name for name, there in zip(batch, kept, strict=True) if not there]
                file.writelines(f"{name}\n" for name in gone if "\n" not in name)
        held.unlink()
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(f"Cannot write {LIST_NAME} in {paths.state_dir}: {error}.") from error


def listed_as_gone(paths: DownloadPaths) -> Iterator[str]:
    """What is on the list; paths relative to the catalog's directory."""
    try:
        with open_state(paths.state_dir / LIST_NAME) as file:
            for line in file:
                yield line.rstrip("\n")
    except FileNotFoundError:
        return


def names_of(
    archive: Path, dataset_id: str, limits: ArchiveLimits, stop: StopFlag | None = None
) -> NameSet:
    """The files of an archive, by their place in the catalog's directory.

    Raises:
        CatalogError: if it cannot be read.
        StorageError: if the disk refuses.
        Interrupted: if ``stop`` is set.
    """
    names = NameSet()
    for batch in _names(archive, dataset_id, limits, stop):
        names.add(batch)
    return names


def _names(
    archive: Path, dataset_id: str, limits: ArchiveLimits, stop: StopFlag | None
) -> Iterator[list[str]]:
    placement = Placement(dataset_id)
    batch: list[str] = []
    with TarStream(archive, limits, stop=stop) as stream:
        for member in stream:
            if member.kind is not Kind.FILE:
                continue
            path, _ = placement.place(member.name)
            if path:
                batch.append(path)
            if len(batch) >= _AT_A_TIME:
                yield batch
                batch = []
    if batch:
        yield batch
