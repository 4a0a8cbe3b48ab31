"""From the archive to the catalog on disk.

What makes a catalog on disk believed is a marker, ``.mlhub/unarchived.json``: it names the archive
by its digest and is removed before the first file is written and written after the last. While it
fits, nothing is looked at again but the root's file; a file that somebody deleted or changed since
comes back with ``overwrite`` only, because finding it would cost a look at every file. Without it
every file is compared with the archive, and what differs is replaced: half a file left by a kill,
files of an older archive, files of the reference client. Files that are not in the archive, such as
downloaded assets, stay as they are.

A kill at any moment is repaired by the next run. After a power failure, files can be empty though
the marker stands: flushing each would cost more than extracting all of them again.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from mlhub_core.exceptions import FETCH_ANEW, ArchiveLimitExceeded, CatalogError, StorageError
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.paths import UNARCHIVED_NAME, DownloadPaths
from mlhub_core.progress import Progress, Stage
from mlhub_core.room import Room
from mlhub_core.settings import MIB
from mlhub_core.sources.base import Catalog, Unarchived
from mlhub_core.sources.documents import ROOT_FILES
from mlhub_core.sources.formats import open_archive
from mlhub_core.sources.members import Member, MemberKind, MemberStream, Placement, Remarks
from mlhub_core.sources.roots import root_of
from mlhub_core.sources.tree import Outcome, Tree
from mlhub_core.state import read_state, remove_state, under_new_names, write_state
from mlhub_core.work import UNWATCHED, Work

log = logging.getLogger(__name__)

MARKER_VERSION = 1
"""Raised when files would be placed elsewhere than before: older trees are then gone over again."""

_FACTS = ("files", "bytes", "remarks", "remark_count")
"""What a marker says besides."""

_REMARKS_KEPT = 100
_IN_MEMORY = 8 * MIB
"""Files up to this size are read whole and compared with what lies there; larger ones written."""


class ArchivedCatalog(Catalog, Protocol):
    """A catalog that is an archive."""

    @property
    def path(self) -> Path:
        """The archive."""


def unarchive(
    archive: ArchivedCatalog,
    paths: DownloadPaths,
    if_exists: DownloadIfExistsOpts = DownloadIfExistsOpts.resume,
    work: Work = UNWATCHED,
) -> Unarchived:
    """Extract the catalog archive into ``paths.catalog_dir``.

    Args:
        archive: The archive.
        paths: Where everything goes.
        if_exists: ``overwrite`` writes every file anew; the others keep what is the same.
        work: Caps, what ends it early, and who is told the bytes of the archive read and the
            members so far.

    Raises:
        ArchiveCorrupt: if the archive is broken off or damaged.
        ArchiveLimitExceeded: if it holds more than the caps allow.
        CatalogError: if there is no STAC in it.
        StorageError: if the disk refuses.
        Interrupted: if ``stop`` is set.
    """
    marker = paths.state_dir / UNARCHIVED_NAME
    overwrite = if_exists is DownloadIfExistsOpts.overwrite
    done = None if overwrite else _already_done(marker, archive, paths)
    if done is None:
        remove_state(marker)
        extraction = Extraction(archive, paths, work, keep_same=not overwrite)
        done = extraction.run()
        _check(done, archive, paths)
        facts = {name: getattr(done, name) for name in _FACTS}
        write_state(marker, _marker(archive, paths) | facts | {"root": _root_file(paths)})
    work.on_progress(
        Progress(
            Stage.UNARCHIVE,
            done=done.files,
            bytes_done=archive.size,
            bytes_total=archive.size,
            finished=True,
        )
    )
    return done


def _check(done: Unarchived, archive: ArchivedCatalog, paths: DownloadPaths) -> None:
    if done.remark_count:
        log.warning(
            "%s: %d members of the archive were left out or replaced, such as %s",
            archive.dataset_id,
            done.remark_count,
            done.remarks[0],
        )
    if _root_file(paths) is None and not root_of(archive.path, archive.dataset_id).is_stac:
        raise CatalogError(
            f"{archive.path} holds no STAC, neither a catalog.json nor a collection nor an item: "
            f"it is not the catalog of this dataset: {FETCH_ANEW}."
        )


def is_unarchived(paths: DownloadPaths) -> bool:
    """Whether a catalog was unarchived, and its root's file still lies there.

    Raises:
        StorageError: if our state cannot be read.
    """
    return _has_root(read_state(paths.state_dir / UNARCHIVED_NAME), paths)


def _has_root(state: dict[str, Any] | None, paths: DownloadPaths) -> bool:
    """Whether the root's file that a marker names lies there; there may be none."""
    name = None if state is None else state.get("root", "catalog.json")
    return state is not None and (name is None or (paths.catalog_dir / str(name)).is_file())


def _root_file(paths: DownloadPaths) -> str | None:
    """The file that everything else of the catalog hangs on; None where there are only items."""
    return next((name for name in ROOT_FILES if (paths.catalog_dir / name).is_file()), None)


class Extraction:
    """One pass over an archive that writes its files below the catalog's directory.

    Args:
        archive: The archive.
        paths: Where everything goes.
        work: Caps, what ends it early, and who is told the bytes of the archive read and the files
            so far.
        keep_same: Leave files alone that have their content already.
        is_wanted: Which files to extract, by their paths in the directory; None takes all.
    """

    def __init__(
        self,
        archive: ArchivedCatalog,
        paths: DownloadPaths,
        work: Work,
        *,
        keep_same: bool = True,
        is_wanted: Callable[[str], bool] | None = None,
    ) -> None:
        self._archive = archive
        self._directory = paths.catalog_dir
        self._work = work
        self._keep_same = keep_same
        self._is_wanted = is_wanted
        self._tree = Tree(paths.catalog_dir, paths.output_dir)
        self._room = Room(paths.catalog_dir, work.limits.keep_free)
        self._remarks = Remarks(_REMARKS_KEPT)
        self._written = self._kept = self._bytes = 0

    def run(self) -> Unarchived:
        """Extract.

        Raises:
            ArchiveCorrupt: if the archive is broken off or damaged.
            ArchiveLimitExceeded: if it holds more than the caps allow.
            StorageError: if the disk refuses.
            Interrupted: if ``stop`` is set.
        """

        def report(packed_read: int) -> None:
            self._work.on_progress(
                Progress(
                    Stage.UNARCHIVE,
                    done=self._written + self._kept,
                    bytes_done=packed_read,
                    bytes_total=self._archive.size,
                )
            )

        work = self._work
        work.stop.check()
        try:
            with open_archive(
                self._archive.path, work.limits, stop=work.stop, on_read=report
            ) as stream:
                self._extract(stream)
        except (ArchiveLimitExceeded, StorageError) as error:
            if isinstance(error, ArchiveLimitExceeded) or error.errno == errno.ENOSPC:
                self._tree.give_back()
            raise
        return Unarchived(
            directory=self._directory,
            files=self._written + self._kept,
            bytes=self._bytes,
            written=self._written,
            kept=self._kept,
            remarks=self._remarks.first,
            remark_count=self._remarks.count,
        )

    def _extract(self, stream: MemberStream) -> None:
        root = root_of(self._archive.path, self._archive.dataset_id, self._work.limits)
        placement = Placement(root.folder)
        for member in stream:
            if member.kind is not MemberKind.FILE:
                # Directories are made for the files in them; an empty one says nothing.
                if self._is_wanted is None and member.kind is not MemberKind.DIRECTORY:
                    self._remarks.add(member.name, f"a {member.kind}, not extracted")
                continue
            path, why = placement.place(member.name)
            if self._is_wanted is not None and not self._is_wanted(path):
                continue
            if not why and placement.beyond and self._tree.has_written(path):
                why = "a file below the catalog's root has its place"
            if why:
                self._remarks.add(member.name, f"not extracted: {why}")
            else:
                self._file(path, member, stream)

    def _file(self, path: str, member: Member, stream: MemberStream) -> None:
        self._room.take(member.size)
        if member.size <= _IN_MEMORY:
            data = stream.read()
            outcome = self._tree.put(path, (data,), data if self._keep_same else None)
        else:
            outcome = self._tree.put(path, stream.pieces())
        if outcome is Outcome.WRITTEN:
            self._written += 1
        elif outcome is Outcome.KEPT:
            self._kept += 1
        elif outcome is Outcome.REPLACED:
            self._remarks.add(member.name, outcome.value)
            return
        else:
            self._remarks.add(member.name, f"not extracted: {outcome.value}")
            return
        self._bytes += member.size


def _marker(archive: ArchivedCatalog, paths: DownloadPaths) -> dict[str, Any]:
    """What has to fit for a marker to be believed."""
    return {"version": MARKER_VERSION, "sha256": archive.sha256, "directory": _where(paths)}


def _where(paths: DownloadPaths) -> str:
    """The catalog as seen from the marker: a download can be moved, and two catalogs told apart."""
    try:
        return os.path.relpath(paths.catalog_dir, paths.state_dir)
    except ValueError:  # on another drive, on Windows
        return str(paths.catalog_dir)


def _already_done(
    marker: Path, archive: ArchivedCatalog, paths: DownloadPaths
) -> Unarchived | None:
    state = read_state(marker)
    if state is None or state != state | _marker(archive, paths):
        return None
    if not _has_root(state, paths):
        return None
    from pydantic import TypeAdapter, ValidationError  # here, because it takes long to import

    facts = {"directory": paths.catalog_dir, "written": 0, "kept": state.get("files")}
    try:
        return TypeAdapter(Unarchived).validate_python(under_new_names(state) | facts)
    except ValidationError:
        return None
