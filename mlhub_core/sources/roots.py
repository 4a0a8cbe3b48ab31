"""Where in an archive its catalog is rooted, and what the dataset is called.

People pack a catalog as one folder, as what is in the folder, or with the directories above it. Its
root is the folder that all STAC objects of the archive lie in, unless

- the first file is a ``catalog.json`` or ``collection.json`` at the top, or in a folder that is
  called as the dataset: that is the root, and nothing else is looked at, as in archives of hubs;
- there are objects in several folders, one of which is called as the dataset: it is the root, and
  the others lie beside it.

A dataset whose id is not given is called as the root's folder; where the root has none, as the
archive, and where that is called ``catalog`` or the like, as the root calls itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from posixpath import commonpath
from typing import Any, NamedTuple

from mlhub_core.exceptions import ArchiveLimitExceeded, storage_errors
from mlhub_core.paths import safe_name
from mlhub_core.settings import ArchiveLimits
from mlhub_core.sources.documents import (
    ROOT_FILES,
    SAY_NOTHING,
    STAC_KINDS,
    Document,
    is_json,
    parse_document,
    text_of,
)
from mlhub_core.sources.formats import open_archive
from mlhub_core.sources.members import Member, MemberKind, MemberStream, Placement, relative_name
from mlhub_core.threads import StopFlag

_MAX_KNOWN = 64


@dataclass(frozen=True, slots=True)
class Root:
    """Where a catalog is rooted.

    Attributes:
        dataset_id: What the dataset is called.
        folder: The folder in the archive; empty for the top.
        title: As the root has it, None where that is not known.
        is_stac: Whether there is any catalog, collection or item.
    """

    dataset_id: str
    folder: str
    title: str | None = None
    is_stac: bool = True


_known: dict[tuple[object, ...], Root] = {}


def root_of(
    path: Path,
    dataset_id: str | None = None,
    limits: ArchiveLimits | None = None,
    stop: StopFlag | None = None,
) -> Root:
    """Find the root of a catalog; an archive that stays the same is looked at once a process.

    Args:
        path: The archive.
        dataset_id: Its dataset; None where nobody says.
        limits: Caps; the defaults of :class:`ArchiveLimits` unless given.
        stop: Ends the work early.

    Raises:
        CatalogError: if the archive cannot be read.
        StorageError: if the disk refuses.
        Interrupted: if ``stop`` is set.
    """
    limits = limits or ArchiveLimits()
    with storage_errors(f"read {path}"):
        status = path.stat()
    state = status.st_size, status.st_mtime_ns, status.st_ino
    key = str(path), *state, dataset_id, limits
    found = _known.get(key)
    if found is None:
        with open_archive(path, limits, stop=stop) as stream:
            found = _Search(path, dataset_id).run(stream)
        if len(_known) >= _MAX_KNOWN:
            _known.clear()
        _known[key] = found
    return found


class Placed(NamedTuple):
    """A file of an archive, and its place in the catalog's directory.

    Attributes:
        path: The place, relative to the directory.
        member: The file.
        beyond: What it is called from the root, where it lies beside that in the archive.
    """

    path: str
    member: Member
    beyond: str = ""


def files_in(stream: MemberStream, dataset_id: str) -> Iterator[Placed]:
    """The files of an archive that have a place in the catalog's directory.

    Raises:
        CatalogError: if it cannot be read.
        StorageError: if the disk refuses.
        Interrupted: if the stream's stop flag is set.
    """
    placement = Placement(root_of(stream.path, dataset_id, stream.limits).folder)
    for member in stream:
        if member.kind is MemberKind.FILE:
            path, _ = placement.place(member.name)
            if path:  # of the others, whoever unarchives it tells
                yield Placed(path, member, placement.beyond)


class _Search:
    """The search for a root, over the files of an archive.

    Args:
        path: The archive.
        dataset_id: Its dataset; None where nobody says.
    """

    def __init__(self, path: Path, dataset_id: str | None) -> None:
        self._given = dataset_id
        self._stem = path.name.partition(".")[0] or "catalog"
        named = dataset_id or self._stem
        self._ids = named, safe_name(named)
        self._folder: str | None = None
        """The one that all objects so far lie in."""
        self._described: dict[str, tuple[str | None, str | None]] = {}
        """Id and title of the object that stands there as a root does."""
        self._begins_in: str | None = None
        self._own: str | None = None
        """The folder that is called as the dataset."""
        self._tops: set[str] = set()
        """Of the top and that folder, those with a file that a catalog hangs on."""

    def run(self, stream: MemberStream) -> Root:
        """Look at the files, at no more of them than has to be, and than the caps allow.

        Whoever reads an archive that holds more knows which caps are wanted.
        """
        try:
            self._look_at_all(stream)
        except ArchiveLimitExceeded:
            if self._folder is None:
                raise
        return self._root(self._choose())

    def _look_at_all(self, stream: MemberStream) -> None:
        for member in stream:
            name = relative_name(member.name)[0] if member.kind is MemberKind.FILE else ""
            if not name:
                continue
            folder, _, last = name.rpartition("/")
            if self._begins_in is None:
                begins = last in ROOT_FILES and folder in ("", *self._ids)
                self._begins_in = folder if begins else "/"
            if folder.partition("/")[0] in self._ids:
                self._own = folder.partition("/")[0]
            if last in ROOT_FILES and folder in ("", *self._ids):
                self._tops.add(folder)
            if is_json(name) and self._may_tell(folder, last):
                self._look(name, folder, member, stream)
            if self._given and self._begins_in != "/":
                return

    def _may_tell(self, folder: str, last: str) -> bool:
        """Whether a file may move the root, or describes it."""
        within = self._folder
        if within is None or commonpath((within, folder)) != within:
            return True
        return last in ROOT_FILES and folder == within and folder not in self._described

    def _look(self, name: str, folder: str, member: Member, stream: MemberStream) -> None:
        if member.size > stream.limits.max_json_bytes:
            return
        document = parse_document(stream.read(), name)
        if document.kind not in STAC_KINDS:
            return
        before = self._folder
        self._folder = folder if before is None else commonpath((before, folder))
        if self._folder != before:
            self._described.clear()
        if folder == self._folder:
            self._described.setdefault(folder, _id_and_title(document))

    def _choose(self) -> str:
        found, own = self._folder, self._own
        if found is None:
            return own or ""
        if self._begins_in in ("", *self._ids):
            return self._begins_in or ""
        if not found:
            is_top = "" in self._tops or "" in self._described
            return own if own in self._tops and not is_top else ""
        first, _, rest = found.partition("/")
        is_own = first in self._ids and found.rpartition("/")[2] not in self._ids
        return first if self._given and rest and is_own else found

    def _root(self, folder: str) -> Root:
        own_id, title = self._described.get(folder, (None, None))
        called = folder.rpartition("/")[2] or self._stem
        if not folder and own_id and called.lower() in SAY_NOTHING:
            called = own_id
        return Root(self._given or called, folder, title, self._folder is not None)


def _id_and_title(document: Document) -> tuple[str | None, str | None]:
    found: dict[str, Any] = document.objects[0]
    title = found.get("title")
    return text_of(found.get("id")), text_of(title)
