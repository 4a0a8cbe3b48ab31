"""A catalog that lies on this machine as files, as a source: read where it is, never written to.

What of its assets lies in it is copied, as what an archive carries is. Its identity is a digest
over the paths, sizes and times of its JSON files, for which none has to be opened.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mlhub_core.exceptions import (
    ArchiveLimitExceeded,
    CatalogError,
    InvalidArgument,
    storage_error,
)
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.paths import (
    STATE_DIRECTORY,
    DownloadPaths,
    is_ours,
    user_path,
)
from mlhub_core.sources.base import DatasetInfo, ReadInPlace, SourceSpec, found_here
from mlhub_core.sources.documents import (
    ROOT_FILES,
    SAY_NOTHING,
    STAC_KINDS,
    Document,
    Kind,
    is_json,
    parse_document,
)
from mlhub_core.sources.members import relative_name, shown, too_many
from mlhub_core.sources.naming import is_url
from mlhub_core.state import product_names
from mlhub_core.threads import StopFlag
from mlhub_core.work import UNWATCHED, Work

_LIKE_PATH = re.compile(r"[/\\~]|\.{1,2}$")
"""What the id of a dataset has none of: its own download lies in a directory that is called so."""


def is_meant(text: str) -> bool:
    """Whether a text is the path of a directory, or of a JSON file; one of items is none."""
    if is_url(text):
        return False
    try:
        path = Path(text).expanduser()
        if path.suffix.lower() == ".json":
            return path.is_file()
        return _LIKE_PATH.search(text) is not None and path.is_dir()
    except (OSError, RuntimeError, ValueError):  # no name of a file, or no such home
        return False


def directory_of(text: str) -> Path:
    """The directory that a text names, or in which the file lies that it names."""
    path = user_path(text.strip())
    path = path.parent if path.is_file() else path
    return path.resolve() if ".." in path.parts else path


@dataclass(frozen=True, slots=True)
class CatalogDirectory(ReadInPlace):
    """A catalog that lies as files below a directory.

    Attributes:
        path: The directory.
        dataset_id: The dataset it describes.
        size: Bytes of its JSON files.
        sha256: Digest over the paths, sizes and times of these: what tells one state from the next.
    """

    path: Path
    dataset_id: str
    size: int
    sha256: str

    @property
    def outside(self) -> str:
        """The URL of the directory: what hrefs name that leave it lies around it."""
        return f"{self.path.as_uri()}/"

    def read(
        self,
        work: Work = UNWATCHED,
        on_read: Callable[[int], None] = lambda _: None,
    ) -> Iterator[Document]:
        """Give its documents one at a time, in order of their paths.

        Args:
            work: Caps, and what ends it early.
            on_read: Called with the bytes read so far.

        Raises:
            CatalogError: if there is no STAC in it.
            ArchiveLimitExceeded: if it holds more than the caps allow.
            StorageError: if it cannot be read.
            Interrupted: if ``stop`` is set.
        """
        read, is_stac, limits = 0, False, work.limits
        for path, status in _files(self.path, work):
            _, why = relative_name(path)
            if why or not is_json(path):
                problem = f"not read: {why}" if why and is_json(path) else ""
                yield Document(path.encode(errors="replace").decode(), Kind.FILE, problem=problem)
                continue
            if status.st_size > limits.max_json_bytes:
                raise ArchiveLimitExceeded(
                    f"{shown(path)} of {self.path} has {status.st_size:,} bytes of JSON: if you "
                    "trust it, raise ArchiveLimits.max_json_bytes (--max-json-bytes)."
                )
            document = _parsed(self.path, path, status)
            is_stac |= document.kind in STAC_KINDS
            yield document
            read += status.st_size
            on_read(read)
        if not is_stac:
            raise CatalogError(_no_stac(self.path))


@dataclass(frozen=True, slots=True)
class LocalDirectory:
    """A directory of this machine, as a source.

    Attributes:
        path: The directory.
        dataset_id: Its dataset: as the directory is called, or where that says nothing (``stac``)
            as the root calls itself.
    """

    path: Path
    dataset_id: str

    @classmethod
    def open(cls, spec: SourceSpec, api_key: str | None, profile: str | None) -> LocalDirectory:
        """The directory that is meant.

        Raises:
            InvalidArgument: if there is none, or no JSON file in it.
        """
        path = directory_of(spec.text)
        if not path.is_dir():
            raise InvalidArgument(f"{path} is no directory: name one with a catalog in it.")
        if next(_json_files(path), None) is None:
            raise InvalidArgument(_no_stac(path))
        return cls(path, spec.dataset_id or _name(path))

    def describe(self) -> DatasetInfo:
        """Say what the dataset is, as its root does."""
        title = _root(self.path).get("title")
        return DatasetInfo(self.dataset_id, title if isinstance(title, str) and title else None)

    def identity(self, paths: DownloadPaths) -> str | None:
        """The digest, as of now."""
        return self.here().sha256

    def here(self, stop: StopFlag | None = None) -> CatalogDirectory:
        """The catalog, where it lies; its files are looked at and not opened."""
        digest, size = hashlib.sha256(), 0
        for path, status in _json_files(self.path, Work(stop=stop or StopFlag())):
            size += status.st_size
            line = f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n"
            digest.update(line.encode("utf-8", "surrogateescape"))
        return CatalogDirectory(self.path, self.dataset_id, size, digest.hexdigest())

    def acquire(
        self,
        paths: DownloadPaths,
        if_exists: DownloadIfExistsOpts = DownloadIfExistsOpts.resume,
        work: Work = UNWATCHED,
    ) -> CatalogDirectory:
        """Note where it lies; nothing is copied.

        Raises:
            StorageError: if it cannot be read, or the disk refuses.
            Interrupted: if ``stop`` is set.
        """
        spec = SourceSpec(str(self.path), "directory", self.dataset_id)
        return found_here(self.here(work.stop), paths, spec, work)


def check_outside(directory: Path, place: Path) -> None:
    """Check that a place that is written to does not lie in the directory of a source.

    Raises:
        InvalidArgument: naming both.
    """
    if Path(os.path.realpath(place)).is_relative_to(os.path.realpath(directory)):
        raise InvalidArgument(
            f"{place} lies in {directory}, which is only read: name a place outside of it."
        )


def check_apart(directory: Path, *places: Path) -> None:
    """Check that nothing that is written would come into a directory, or it lie in what is written.

    Args:
        directory: The directory of a source.
        places: Directories that will be written to.

    Raises:
        InvalidArgument: naming both.
    """
    origin = Path(os.path.realpath(directory))
    for place in places:
        target = Path(os.path.realpath(place))
        if target.is_relative_to(origin) or origin.is_relative_to(target):
            raise InvalidArgument(
                f"{directory} is what is read, and {place} what would be written: they must lie "
                "apart. Name another directory with --output-dir, or another --dataset-id."
            )


def _files(root: Path, work: Work) -> Iterator[tuple[str, os.stat_result]]:
    """All files below a directory, but our own state; links to directories are not followed."""
    count = 0
    for directory, folders, names in os.walk(root, onerror=_refused):
        folders.sort()
        inside = os.path.relpath(directory, root).replace(os.sep, "/")
        work.stop.check()
        if inside == ".":
            made = product_names(root / STATE_DIRECTORY)
            folders[:] = [name for name in folders if not is_ours(name) and name not in made]
            names = [name for name in names if not is_ours(name)]
        for name in sorted(names):
            count += 1
            if count > work.limits.max_members:
                raise too_many(root, work.limits)
            status = _status(f"{directory}/{name}")
            if status is None:
                continue
            yield name if inside == "." else f"{inside}/{name}", status


def _status(full: str) -> os.stat_result | None:
    """What is known of a file, or of a link to nothing; None where it is gone by now."""
    for look in (os.stat, os.lstat):
        with suppress(OSError):
            return look(full)
    return None


def _json_files(root: Path, work: Work = UNWATCHED) -> Iterator[tuple[str, os.stat_result]]:
    return ((path, status) for path, status in _files(root, work) if is_json(path))


def _refused(error: OSError) -> None:
    raise storage_error(f"read {error.filename}", error) from error


def _parsed(root: Path, path: str, status: os.stat_result) -> Document:
    """A file of JSON; what cannot be read is named, as what is in an archive and damaged is."""
    full = root / path
    if full.is_symlink() and not full.resolve().is_relative_to(root.resolve()):
        return Document(path, Kind.FILE, problem="not read: a link that leads out")
    if not stat.S_ISREG(status.st_mode):
        return Document(path, Kind.FILE, problem="not read: it is no regular file")
    try:
        return parse_document(full.read_bytes(), path)
    except OSError as error:
        return Document(path, Kind.FILE, problem=f"not read: {error.strerror or error}")


def _root(path: Path) -> dict[str, object]:
    """The object that everything else hangs on; an empty one where there is none to be read."""
    for name in ROOT_FILES:
        if (path / name).is_file():
            document = _parsed(path, name, (path / name).stat())
            return document.objects[0] if document.objects else {}
    return {}


def _name(path: Path) -> str:
    found = _root(path).get("id")
    says_nothing = not path.name or path.name.lower() in SAY_NOTHING
    return found if says_nothing and isinstance(found, str) and found else path.name or "catalog"


def _no_stac(path: Path) -> str:
    return (
        f"{path} holds no STAC, neither a catalog nor a collection nor an item: name a directory "
        "with a catalog.json or collection.json, or with items."
    )
