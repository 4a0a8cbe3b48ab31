"""From the archive to the catalog on disk.

What makes a catalog on disk believed is a marker, ``.mlhub/unarchived.json``: it names the archive
by its digest and is removed before the first file is written and written after the last. While it
fits, nothing is looked at again but ``catalog.json``; a file that somebody deleted or changed since
comes back with ``overwrite`` only, because finding it would cost a look at every file. Without it
every file is compared with the archive, and what differs is replaced: half a file left by a kill,
files of an older archive, files of the reference client. Files that are not in the archive, such as
downloaded assets, stay as they are.

A kill at any moment is repaired by the next run. After a power failure, files can be empty though
the marker stands: flushing each would cost more than extracting all of them again.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from mlhub_core.exceptions import FETCH_ANEW, CatalogError
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.layout import DownloadPaths
from mlhub_core.progress import Progress, ProgressSink, Stage, ignore
from mlhub_core.settings import ArchiveLimits
from mlhub_core.sources.archive import CatalogArchive
from mlhub_core.sources.extraction import Job, Unarchived, extract_here
from mlhub_core.state import read_state, remove_state, write_state
from mlhub_core.stop import StopFlag

__all__ = ["MARKER_NAME", "Unarchived", "unarchive"]

log = logging.getLogger(__name__)

MARKER_NAME = "unarchived.json"
MARKER_VERSION = 1
"""Raised when files would be placed elsewhere than before: older trees are then gone over again."""


def unarchive(
    archive: CatalogArchive,
    paths: DownloadPaths,
    *,
    if_exists: DownloadIfExistsOpts = DownloadIfExistsOpts.resume,
    limits: ArchiveLimits | None = None,
    stop: StopFlag | None = None,
    on_progress: ProgressSink = ignore,
) -> Unarchived:
    """Extract the catalog archive into ``paths.catalog_dir``.

    Args:
        archive: The archive.
        paths: Where everything goes.
        if_exists: ``overwrite`` writes every file anew; the others keep what is the same.
        limits: Caps; the defaults of :class:`ArchiveLimits` unless given.
        stop: Ends the work early.
        on_progress: Told the bytes of the archive read and the members so far.

    Raises:
        ArchiveCorrupt: if the archive is broken off or damaged.
        ArchiveLimitExceeded: if it holds more than the caps allow.
        CatalogError: if there is no ``catalog.json`` in it.
        StorageError: if the disk refuses.
        Interrupted: if ``stop`` is set.
    """
    marker = paths.state_dir / MARKER_NAME
    if if_exists is not DownloadIfExistsOpts.overwrite:
        done = _already_done(marker, archive, paths)
        if done is not None:
            on_progress(_progress(archive, archive.size, done.files, finished=True))
            return done
    remove_state(marker)
    job = Job(
        archive=archive.path,
        dataset_id=archive.dataset_id,
        directory=paths.catalog_dir,
        within=paths.output_dir,
        keep_same=if_exists is not DownloadIfExistsOpts.overwrite,
        limits=limits or ArchiveLimits(),
    )

    def report(packed_read: int, members: int) -> None:
        on_progress(_progress(archive, packed_read, members))

    done = extract_here(job, stop, report)
    on_progress(_progress(archive, archive.size, done.files, finished=True))
    if done.oddity_count:
        log.warning(
            "%s: %d members of the archive were left out or replaced, such as %s",
            archive.dataset_id,
            done.oddity_count,
            done.oddities[0],
        )
    if not (paths.catalog_dir / "catalog.json").is_file():
        raise CatalogError(
            f"{archive.path} holds no {archive.dataset_id}/catalog.json: it is not the catalog of "
            f"this dataset: {FETCH_ANEW}."
        )
    write_state(marker, _marker(archive, paths, done))
    return done


def _progress(
    archive: CatalogArchive, packed_read: int, members: int, *, finished: bool = False
) -> Progress:
    return Progress(
        Stage.UNARCHIVE,
        done=members,
        bytes_done=packed_read,
        bytes_total=archive.size,
        finished=finished,
    )


def _marker(archive: CatalogArchive, paths: DownloadPaths, done: Unarchived) -> dict[str, Any]:
    return {
        "version": MARKER_VERSION,
        "sha256": archive.sha256,
        "directory": _where(paths),
        "files": done.files,
        "bytes": done.bytes,
        "oddities": list(done.oddities),
        "oddity_count": done.oddity_count,
    }


def _where(paths: DownloadPaths) -> str:
    """The catalog as seen from the marker: a download can be moved, and two catalogs told apart."""
    try:
        return os.path.relpath(paths.catalog_dir, paths.state_dir)
    except ValueError:  # on another drive, on Windows
        return str(paths.catalog_dir)


def _already_done(marker: Path, archive: CatalogArchive, paths: DownloadPaths) -> Unarchived | None:
    state = read_state(marker)
    if (
        state is None
        or state.get("version") != MARKER_VERSION
        or state.get("sha256") != archive.sha256
        or state.get("directory") != _where(paths)
        or not (paths.catalog_dir / "catalog.json").is_file()
    ):
        return None
    try:
        return Unarchived(
            directory=paths.catalog_dir,
            files=int(state["files"]),
            bytes=int(state["bytes"]),
            written=0,
            kept=int(state["files"]),
            oddities=tuple(map(str, state["oddities"])),
            oddity_count=int(state["oddity_count"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
