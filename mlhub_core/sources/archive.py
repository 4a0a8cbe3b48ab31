"""Catalog archives: what is in one that is here, and one on this machine as a source."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from mlhub_core.exceptions import (
    ArchiveCorrupt,
    ArchiveLimitExceeded,
    InvalidArgument,
    StorageError,
    storage_errors,
)
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.net.body import digest_file
from mlhub_core.paths import DownloadPaths, user_path
from mlhub_core.progress import Progress, Stage
from mlhub_core.room import Room
from mlhub_core.settings import MIB, ArchiveLimits
from mlhub_core.sources.base import DatasetInfo, ReadInPlace, SourceSpec, Unarchived, note_source
from mlhub_core.sources.documents import Document, Kind, is_json, parse_document
from mlhub_core.sources.formats import open_archive
from mlhub_core.sources.members import Member, MemberStream, shown
from mlhub_core.sources.roots import files_in, root_of
from mlhub_core.sources.unarchive import unarchive
from mlhub_core.state import open_state
from mlhub_core.threads import StopFlag
from mlhub_core.work import UNWATCHED, Work


@dataclass(frozen=True, slots=True)
class CatalogArchive(ReadInPlace):
    """A complete, verified catalog archive on disk.

    Attributes:
        path: The file.
        dataset_id: The dataset it describes.
        size: Bytes.
        sha256: Hexadecimal digest of the file: what tells one state of a catalog from the next.
        etag: As the server gave it, None when unknown.
        fetched: Bytes that this run moved for it; 0 where it was already there.
    """

    path: Path
    dataset_id: str
    size: int
    sha256: str
    etag: str | None = None
    fetched: int = 0

    def read(
        self,
        work: Work = UNWATCHED,
        on_read: Callable[[int], None] = lambda _: None,
    ) -> Iterator[Document]:
        """Give its documents one at a time.

        Args:
            work: Caps, and what ends it early.
            on_read: Called with the bytes of the archive read so far.

        Raises:
            ArchiveCorrupt: if the archive is broken off or damaged.
            ArchiveLimitExceeded: if it holds more than the caps allow.
            StorageError: if it cannot be read.
            Interrupted: if ``stop`` is set.
        """
        limits = work.limits
        with open_archive(self.path, limits, stop=work.stop, on_read=on_read) as stream:
            for path, member, beyond in files_in(stream, self.dataset_id):
                yield _document(path, member, stream, limits)._replace(beyond=beyond)

    def unpack(
        self,
        paths: DownloadPaths,
        if_exists: DownloadIfExistsOpts = DownloadIfExistsOpts.resume,
        work: Work = UNWATCHED,
    ) -> Unarchived:
        """Unarchive it, see :func:`~mlhub_core.sources.unarchive.unarchive`."""
        return unarchive(self, paths, if_exists, work)


@dataclass(frozen=True, slots=True)
class LocalArchive:
    """A catalog archive on this machine, as a source.

    Attributes:
        path: The file.
        dataset_id: Its dataset, see :mod:`~mlhub_core.sources.roots`.
    """

    path: Path
    dataset_id: str

    @classmethod
    def open(cls, spec: SourceSpec, api_key: str | None, profile: str | None) -> LocalArchive:
        """The archive that is meant; arguments and errors are those of :meth:`of`."""
        return cls.of(spec.text, spec.dataset_id)

    @classmethod
    def of(cls, text: str | Path, dataset_id: str | None = None) -> LocalArchive:
        """The archive that a path means.

        Args:
            text: The path.
            dataset_id: Its dataset; None for what :mod:`~mlhub_core.sources.roots` finds.

        Raises:
            InvalidArgument: if there is no such file, or no STAC in it.
            CatalogError: if it is no archive, or cannot be read.
            StorageError: if it cannot be read.
        """
        path = user_path(str(text).strip() if isinstance(text, str) else text)
        if not path.is_file():
            raise InvalidArgument(f"{path} is no file: name a catalog archive, a tar.gz or a zip.")
        root = root_of(path, dataset_id)
        if not root.is_stac:
            raise InvalidArgument(
                f"{path} holds no STAC, neither a catalog nor a collection nor an item: name a "
                "catalog archive."
            )
        return cls(path, root.dataset_id)

    def describe(self) -> DatasetInfo:
        """Say what the dataset is: what its root says, and the size of the archive."""
        title = root_of(self.path, self.dataset_id).title
        return DatasetInfo(self.dataset_id, title, stac_catalog_size=self.path.stat().st_size)

    def identity(self, paths: DownloadPaths) -> str | None:
        """The digest of the file, which nobody has to be asked for."""
        return self.here().sha256

    def here(self, stop: StopFlag | None = None) -> CatalogArchive:
        """The catalog, where it lies.

        Args:
            stop: Ends the work early.

        Raises:
            StorageError: if it cannot be read.
            Interrupted: if ``stop`` is set.
        """
        check = (stop or StopFlag()).check
        digest = digest_file(str(self.path), ["sha256"], check)["sha256"]
        with storage_errors(f"read {self.path}"):
            size = self.path.stat().st_size
        return CatalogArchive(self.path, self.dataset_id, size, digest)

    def acquire(
        self,
        paths: DownloadPaths,
        if_exists: DownloadIfExistsOpts = DownloadIfExistsOpts.resume,
        work: Work = UNWATCHED,
    ) -> CatalogArchive:
        """Have a copy among the files of the download: who verifies it later finds it there.

        One that ``paths.archive`` names already is taken as it is, as is one that lies there with
        ``skip``.

        Raises:
            ArchiveCorrupt: if it is none, or damaged.
            StorageError: if it cannot be read, or the disk refuses.
            Interrupted: if ``stop`` is set.
        """
        there = paths.archive
        found = self.here(work.stop)
        keeps = if_exists is DownloadIfExistsOpts.skip and there.is_file()
        if keeps or (there.exists() and there.samefile(self.path)):
            found = replace(self, path=there).here(work.stop)
        else:
            self._copy(found, paths, work.limits)
        note_source(paths, SourceSpec(str(self.path), "archive", self.dataset_id))
        done = Progress(Stage.CATALOG, 1, 1, found.size, found.size)
        work.on_progress(replace(done, finished=True, bytes_moved=0))
        return replace(found, path=there)

    def _copy(self, found: CatalogArchive, paths: DownloadPaths, limits: ArchiveLimits) -> None:
        there = paths.archive
        if there.is_file() and replace(self, path=there).here().sha256 == found.sha256:
            return
        if there.exists() and not is_archive(self.path, True):
            raise ArchiveCorrupt(f"{self.path} is damaged: name another archive.")
        part = there.with_name(f".{there.name}.part")
        try:
            with storage_errors(f"write {there}"):
                there.parent.mkdir(parents=True, exist_ok=True)
                part.unlink(missing_ok=True)  # of a killed run; or a link, never followed
                Room(there.parent, limits.keep_free).take(found.size)
                with self.path.open("rb") as source, open_state(part, "xb") as file:
                    shutil.copyfileobj(source, file, MIB)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(part, there)
        except StorageError:
            part.unlink(missing_ok=True)
            raise


def _document(path: str, member: Member, stream: MemberStream, limits: ArchiveLimits) -> Document:
    if not is_json(path):
        return Document(path, Kind.FILE)
    if member.size <= limits.max_json_bytes:
        return parse_document(stream.read(), path)
    if path[-8:].lower() == ".geojson":
        problem = f"not read: {member.size:,} bytes are too many for an item"
        return Document(path, Kind.FILE, problem=problem)
    raise ArchiveLimitExceeded(
        f"{shown(path)} of the archive has {member.size:,} bytes of JSON: if you trust it, "
        "raise ArchiveLimits.max_json_bytes (--max-json-bytes)."
    )


def is_archive(path: Path, through: bool) -> bool:
    """Whether a file is an archive with anything in it.

    A file that others left may begin with one state of the catalog and end with another: read
    through, the checksums of the packing have to fit all that is before them.
    """
    members = 0
    try:
        with open_archive(path, ArchiveLimits()) as stream:
            for _ in stream:
                members += 1
                if not through:
                    break
                for _ in stream.pieces():
                    pass
    except ArchiveLimitExceeded:
        return True  # whoever reads it says so
    except ArchiveCorrupt:
        return False
    return members > 0 or not through
