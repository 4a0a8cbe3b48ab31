"""STAC items in one file, as a source: an ItemCollection, or an item a line.

The file lies on this machine, or comes from a URL or by standard input; what comes is kept in the
state of the download, where later steps read it again.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from mlhub_core.exceptions import (
    ArchiveLimitExceeded,
    CatalogError,
    InvalidArgument,
    storage_errors,
)
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.net.body import digest_file
from mlhub_core.net.fetch import FileFetcher, is_unchanged, known_file
from mlhub_core.net.session import Session
from mlhub_core.paths import DownloadPaths, user_path
from mlhub_core.progress import Progress, Stage
from mlhub_core.redact import redact, redact_url
from mlhub_core.room import Room
from mlhub_core.settings import MIB, ArchiveLimits
from mlhub_core.sources.base import DatasetInfo, ReadInPlace, SourceSpec, found_here
from mlhub_core.sources.documents import (
    Document,
    JsonObject,
    Kind,
    called,
    parse_document,
    recognise,
    self_url,
)
from mlhub_core.sources.json_stream import JsonText, NextPage, lines, values
from mlhub_core.sources.naming import STDIN, is_url, stem
from mlhub_core.sources.packed import Unpacked
from mlhub_core.state import open_state
from mlhub_core.threads import StopFlag
from mlhub_core.work import UNWATCHED, Work

_KEPT_NAME = "items.json"
"""In the directory of what sources keep: what came by a URL or standard input."""
_ALL_PAGES = (
    "which the collection of the API has all of: name that, …/collections/ID, or its root and "
    "--collection"
)
_HOW = "name a file of STAC items: an ItemCollection (.json, .geojson), or an item a line (.ndjson)"


@dataclass(frozen=True, slots=True)
class ItemsFile(ReadInPlace):
    """A file of STAC items that is here.

    Attributes:
        path: The file.
        dataset_id: The dataset.
        size: Bytes.
        sha256: Hexadecimal digest of the file.
        base: The URL that relative hrefs of items resolve against which have no self link.
    """

    path: Path
    dataset_id: str
    size: int
    sha256: str
    base: str

    def read(
        self,
        work: Work = UNWATCHED,
        on_read: Callable[[int], None] = lambda _: None,
    ) -> Iterator[Document]:
        """Give its items one at a time.

        Args:
            work: Caps, and what ends it early.
            on_read: Called with the bytes of the file read so far.

        Raises:
            ArchiveCorrupt: if the file is no JSON, or breaks off.
            ArchiveLimitExceeded: if it holds more than the caps allow.
            StorageError: if it cannot be read.
            Interrupted: if ``stop`` is set.
        """
        limits = work.limits
        found = self._documents(limits, on_read)
        for number, document in enumerate(found, 1):
            work.stop.check()
            if number > limits.max_members:
                raise ArchiveLimitExceeded(
                    f"{self.path} holds more than {limits.max_members:,} items: if you trust it, "
                    "raise ArchiveLimits.max_members (--max-members)."
                )
            yield document

    def _documents(
        self, limits: ArchiveLimits, on_read: Callable[[int], None]
    ) -> Iterator[Document]:
        name, most = str(self.path), limits.max_json_bytes
        with closing(Unpacked(self.path, limits.max_bytes, on_read)) as file:
            pieces = iter(lambda: file.read(MIB), b"")
            head = next(pieces, b"")
            whole = chain([head], pieces)
            if _is_a_line(head):
                yield from self._of_lines(lines(whole, name, most))
            else:
                yield from self._of_values(values(JsonText(whole, name, most)))

    def _of_values(self, found: Iterable[Any]) -> Iterator[Document]:
        for number, value in enumerate(found, 1):
            yield self._document(value, f"feature {number:,}")

    def _of_lines(self, found: Iterable[bytes]) -> Iterator[Document]:
        for number, line in enumerate(found, 1):
            if not line.strip():
                continue
            document = parse_document(line, self.path.name)
            if document.kind is Kind.BROKEN:
                yield self._problem(f"line {number:,}", "it is no JSON")
            else:
                for value in document.objects or ({},):
                    yield self._document(value, f"line {number:,}")

    def _document(self, value: Any, where: str) -> Document:
        if isinstance(value, NextPage):
            what = f"the pages behind this one ({redact(value.href)[:100]}), {_ALL_PAGES}"
            return self._problem("links", what)
        document = recognise(value, self.path.name)
        if document.kind is Kind.COLLECTION:
            return self._collection(document.objects[0])
        if document.kind is not Kind.ITEMS:
            return self._problem(where, "it is no STAC item")
        (item,) = document.objects
        path = called(item, self.dataset_id)
        return Document(path, Kind.ITEMS, (item,), base=self_url(item) or self.base)

    def _collection(self, collection: JsonObject) -> Document:
        """One that stands among the items; its links lead elsewhere."""
        base = self_url(collection) or self.base
        whole = ({**collection, "links": []},)
        return Document(f"collections/{collection.get('id')}", Kind.COLLECTION, whole, base=base)

    def _problem(self, where: str, what: str) -> Document:
        return Document(f"{self.path.name}, {where}", Kind.FILE, problem=f"not read: {what}")

    def first_item(self) -> JsonObject | None:
        """Its first item; None where it has none.

        Raises:
            CatalogError: if it is no JSON.
            StorageError: if it cannot be read.
        """
        found = (one.objects[0] for one in self.read() if one.kind is Kind.ITEMS)
        return next(found, None)


@dataclass(frozen=True, slots=True)
class ItemsSource:
    """STAC items in one file, as a source.

    Attributes:
        text: The file's absolute path, its URL, or ``-`` for standard input.
        dataset_id: The dataset, by default as the file is called.
    """

    text: str
    dataset_id: str

    @classmethod
    def open(cls, spec: SourceSpec, api_key: str | None, profile: str | None) -> ItemsSource:
        """The items that are meant; hubs' keys are for hubs.

        Raises:
            InvalidArgument: if there is no such file, or there are no items in it.
            StorageError: if it cannot be read.
        """
        text = spec.text.strip()
        if text != STDIN and not is_url(text):
            text = str(user_path(text))
        source = cls(text, spec.dataset_id or stem(text, "items"))
        if source._is_local:
            source._check(Path(text), text)
        return source

    @property
    def _is_local(self) -> bool:
        return self.text != STDIN and not is_url(self.text)

    def _check(self, path: Path, shown: str) -> None:
        """Check that there are items, by looking for the first."""
        if not path.is_file():
            raise InvalidArgument(f"{shown} is no file: {_HOW}.")
        try:
            found = self._file(path, 0, "").first_item()
        except CatalogError as error:
            raise InvalidArgument(f"{shown} holds no STAC items: {error}") from error
        if found is None:
            raise InvalidArgument(f"{shown} holds no STAC items: {_HOW}.")

    def _file(self, path: Path, size: int, sha256: str) -> ItemsFile:
        base = self.text if is_url(self.text) else path.as_uri()
        return ItemsFile(path, self.dataset_id, size, sha256, base)

    def describe(self) -> DatasetInfo:
        """Say what the dataset is: a file of items has an id only."""
        return DatasetInfo(self.dataset_id)

    def here(self, stop: StopFlag | None = None) -> ItemsFile | None:
        """The file where it lies; None where it is not on this machine.

        Args:
            stop: Ends the work early.

        Raises:
            StorageError: if it cannot be read.
            Interrupted: if ``stop`` is set.
        """
        return self._digested(Path(self.text), stop) if self._is_local else None

    def _digested(self, path: Path, stop: StopFlag | None) -> ItemsFile:
        digest = digest_file(str(path), ["sha256"], (stop or StopFlag()).check)["sha256"]
        with storage_errors(f"read {path}"):
            return self._file(path, path.stat().st_size, digest)

    def identity(self, paths: DownloadPaths) -> str | None:
        """The digest of a local file; of a URL that of what was fetched, if its ETag is the same.

        Of standard input nothing is known before it is read.
        """
        if self._is_local:
            return self._digested(Path(self.text), None).sha256
        kept = known_file(_kept(paths), paths.state_dir / "source")
        if self.text == STDIN or kept is None or kept.etag is None:
            return None
        with Session() as session:
            return kept.sha256 if is_unchanged(session, self.text, kept) else None

    def acquire(
        self,
        paths: DownloadPaths,
        if_exists: DownloadIfExistsOpts = DownloadIfExistsOpts.resume,
        work: Work = UNWATCHED,
    ) -> ItemsFile:
        """Have the items here. A local file is read where it lies.

        Raises:
            InvalidArgument: if what comes holds no items.
            FetchError: if it cannot be had whole.
            StorageError: if the disk refuses.
            Interrupted: if ``stop`` is set.
            MLHubException: all that the session raises.
        """
        text = self.text
        if self._is_local:
            found = self._digested(Path(text), work.stop)
        elif text == STDIN:
            found = self._from_stdin(_kept(paths), work)
            # Who looks after the download later has no such standard input any more.
            text = str(found.path)
        else:
            found = self._fetched(paths, if_exists, work)
        return found_here(found, paths, SourceSpec(text, "items", self.dataset_id), work)

    def _fetched(
        self, paths: DownloadPaths, if_exists: DownloadIfExistsOpts, work: Work
    ) -> ItemsFile:
        kept = _kept(paths)
        with Session() as session:
            fetcher = FileFetcher(
                session,
                self.text,
                kept,
                kept.parent,
                stop=work.stop,
                on_progress=work.on_progress,
                limits=work.limits,
            )
            file = fetcher.run(if_exists)
        self._check(file.path, redact_url(self.text))
        return self._file(file.path, file.size, file.sha256)

    def _from_stdin(self, kept: Path, work: Work) -> ItemsFile:
        if sys.stdin is None or sys.stdin.isatty():
            raise InvalidArgument(
                "The source is -, and nothing is piped into standard input: write "
                "`stac-client search … | mlhub download -`, or name a file."
            )
        part = kept.with_name(f"{kept.name}.part")
        try:
            with storage_errors(f"write {kept}"):
                kept.parent.mkdir(parents=True, exist_ok=True)
                part.unlink(missing_ok=True)  # of a killed run; or a link, never followed
                with open_state(part, "xb") as file:
                    _copy(sys.stdin.buffer, file, kept.parent, work)
            self._check(part, "Standard input")
            with storage_errors(f"write {kept}"):
                os.replace(part, kept)
        finally:
            part.unlink(missing_ok=True)
        return self._digested(kept, work.stop)


def _kept(paths: DownloadPaths) -> Path:
    return paths.state_dir / "source" / _KEPT_NAME


def _copy(source: Any, file: Any, directory: Path, work: Work) -> None:
    """Copy standard input, as much as is allowed and fits."""
    limits, size = work.limits, 0
    room = Room(directory, limits.keep_free)
    while piece := source.read1(MIB):
        work.stop.check()
        size += len(piece)
        if size > limits.max_bytes:
            raise ArchiveLimitExceeded(
                f"Standard input has more than {limits.max_bytes:,} bytes: if you trust it, raise "
                "ArchiveLimits.max_bytes (--max-bytes)."
            )
        room.take(len(piece))
        file.write(piece)
        work.on_progress(Progress(Stage.CATALOG, 0, 1, size))


def _is_a_line(head: bytes) -> bool:
    """Whether what a file begins with is an item in a line of its own."""
    first, end, _ = head.lstrip().partition(b"\n")
    if not end or b'"features"' in first:  # a collection may be one line, too
        return False
    return bool(parse_document(first, "").objects)
