"""stac-geoparquet as a source: a file, a directory of files possibly partitioned, or a URL.

A file on a server of which not all is wanted is read by ranges, where the server gives them; else
it is fetched whole, continued where that broke off. Either is kept in the state of the download.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mlhub_core.exceptions import CatalogError, InvalidArgument
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.net.addresses import Gate
from mlhub_core.net.body import digest_file
from mlhub_core.net.fetch import FileFetcher, is_unchanged, known_file
from mlhub_core.net.ranged import NoRanges, RangedFile, remove_ranges
from mlhub_core.net.session import Session
from mlhub_core.paths import DownloadPaths, user_path
from mlhub_core.redact import redact_url
from mlhub_core.sources.base import DatasetInfo, ReadInPlace, SourceSpec, Wanted, found_here
from mlhub_core.sources.documents import Document
from mlhub_core.sources.naming import is_url, stem
from mlhub_core.sources.tables import HOW, Table, documents, files_of, telling, told
from mlhub_core.threads import StopFlag
from mlhub_core.work import UNWATCHED, Work


@dataclass(frozen=True, slots=True)
class ParquetItems(ReadInPlace):
    """Tables of STAC items, on this machine or read by ranges.

    Attributes:
        place: The path of a file or directory, or a URL.
        dataset_id: The dataset.
        size: Bytes.
        sha256: What tells one state of it from the next: what is left out is part of it.
        base: The URL that relative hrefs of items resolve against which have no self link.
        wanted: What may be left out.
        zones: Where a URL may lead, as for :class:`~mlhub_core.net.addresses.Gate`, if somebody
            else's source named it.
        ranges: Where ranges of a URL are kept that have been read.
    """

    place: str
    dataset_id: str
    size: int
    sha256: str
    base: str
    wanted: Wanted
    zones: tuple[str, ...] | None = None
    ranges: Path | None = None

    @property
    def left_out(self) -> str:
        """What is wanted of it."""
        return told(self.wanted)

    def read(
        self,
        work: Work = UNWATCHED,
        on_read: Callable[[int], None] = lambda _: None,
    ) -> Iterator[Document]:
        """Give its collections and items one at a time.

        Args:
            work: Caps, and what ends it early.
            on_read: Called with the bytes read so far, about.

        Raises:
            InvalidArgument: if a file is none of STAC items.
            ArchiveCorrupt: if one is damaged.
            ArchiveLimitExceeded: if it holds more than the caps allow.
            FetchError: if ranges of it cannot be had.
            StorageError: if it cannot be read.
            Interrupted: if ``stop`` is set.
        """
        tables = self._tables(work.limits.keep_free)
        found = documents(tables, self.dataset_id, self.base, self.wanted, work, on_read)
        with telling(redact_url(self.place) if is_url(self.place) else self.place):
            yield from found

    def _tables(self, keep_free: int) -> Iterator[Table]:
        if not is_url(self.place):
            root = Path(self.place)
            yield from (Table.of(file, root) for file in files_of(root))
            return
        with _session(self.zones) as session:
            file = _ranged(session, self.place, self.ranges, keep_free)
            if file is None or _identity(file, self.wanted) != self.sha256:
                raise CatalogError(
                    f"{redact_url(self.place)} has changed since it was asked for: run the same "
                    "command again."
                )
            yield Table(file, redact_url(self.place), file.size)


@dataclass(frozen=True, slots=True)
class ParquetSource:
    """stac-geoparquet as a source.

    Attributes:
        place: The absolute path of a file or directory, or a URL.
        dataset_id: The dataset, by default as that is called.
        wanted: What may be left out.
        zones: As for :class:`ParquetItems`.
        kept: What is fetched is called so in the state of the download.
    """

    place: str
    dataset_id: str
    wanted: Wanted
    zones: tuple[str, ...] | None = None
    kept: str = "items.parquet"

    @classmethod
    def open(cls, spec: SourceSpec, api_key: str | None, profile: str | None) -> ParquetSource:
        """The tables that are meant; hubs' keys are for hubs.

        Raises:
            InvalidArgument: if there are none, or they are none of STAC items.
            StorageError: if they cannot be read.
        """
        place = spec.text.strip()
        if not is_url(place):
            path = user_path(place)
            files = files_of(path) if path.exists() else []
            if not files:
                what = "holds no Parquet file" if path.is_dir() else "is no file"
                raise InvalidArgument(f"{path} {what}: {HOW}.")
            Table.of(files[0], path)
            place = str(path)
        return cls(place, spec.dataset_id or stem(place, "items"), spec.wanted)

    def describe(self) -> DatasetInfo:
        """Say what the dataset is: a title is that of its only collection."""
        if is_url(self.place):
            return DatasetInfo(self.dataset_id)
        root = Path(self.place)
        titles = [one.get("title") for one in Table.of(files_of(root)[0], root).collections]
        title = titles[0] if len(titles) == 1 and isinstance(titles[0], str) else None
        return DatasetInfo(self.dataset_id, title)

    def here(self, stop: StopFlag | None = None) -> ParquetItems | None:
        """The tables, where they lie; None where they are not on this machine.

        Args:
            stop: Ends the work early.

        Raises:
            StorageError: if they cannot be read.
            Interrupted: if ``stop`` is set.
        """
        return None if is_url(self.place) else self._local(Path(self.place), stop)

    def _local(self, root: Path, stop: StopFlag | None = None) -> ParquetItems:
        check, size = (stop or StopFlag()).check, 0
        whole = hashlib.sha256()
        for file in files_of(root):
            digest = digest_file(str(file), ["sha256"], check)["sha256"]
            with telling(str(file)):
                size += file.stat().st_size
            whole.update(f"{file.relative_to(root)}\0{digest}\n".encode())
        whole.update(told(self.wanted).encode())
        return self._items(str(root), size, whole.hexdigest())

    def _items(
        self, place: str, size: int, sha256: str, ranges: Path | None = None
    ) -> ParquetItems:
        base = self.place
        if not is_url(base):
            base = Path(base).as_uri() + ("/" if Path(base).is_dir() else "")
        return ParquetItems(
            place, self.dataset_id, size, sha256, base, self.wanted, self.zones, ranges
        )

    def identity(self, paths: DownloadPaths) -> str | None:
        """The digest of the files; of a URL, that of what was fetched if its ETag is the same.

        One that is read by ranges has what its end says, which one request asks for.
        """
        if not is_url(self.place):
            return self._local(Path(self.place)).sha256
        kept = known_file(self._kept(paths), self._kept(paths).parent)
        with _session(self.zones) as session:
            if told(self.wanted):
                file = _ranged(session, self.place)
                if file is not None:
                    return _identity(file, self.wanted)
            if kept is None or not is_unchanged(session, self.place, kept):
                return None
        return self._local(kept.path).sha256

    def acquire(
        self,
        paths: DownloadPaths,
        if_exists: DownloadIfExistsOpts = DownloadIfExistsOpts.resume,
        work: Work = UNWATCHED,
    ) -> ParquetItems:
        """The tables: read where they lie, by ranges, or fetched.

        Raises:
            InvalidArgument: if what comes is none of STAC items.
            FetchError: if it cannot be had whole.
            StorageError: if the disk refuses.
            Interrupted: if ``stop`` is set.
            MLHubException: all that the session raises.
        """
        found = self.here(work.stop)
        if found is None:
            ranges = _ranges(self._kept(paths))
            if if_exists is DownloadIfExistsOpts.overwrite:
                remove_ranges(ranges)
            found = self._by_ranges(ranges, work.limits.keep_free)
        if found is None:
            found = self._fetched(paths, if_exists, work)
        return found_here(found, paths, SourceSpec(self.place, "parquet", self.dataset_id), work)

    def _by_ranges(self, ranges: Path, keep_free: int) -> ParquetItems | None:
        """The table where it is, on its server; None where all of it is wanted, or must be had."""
        if not told(self.wanted):
            return None
        shown = redact_url(self.place)
        with _session(self.zones) as session, telling(shown):
            file = _ranged(session, self.place, ranges, keep_free)
            if file is None:
                return None
            Table(file, shown, file.size)
            return self._items(self.place, file.size, _identity(file, self.wanted), ranges)

    def _fetched(
        self, paths: DownloadPaths, if_exists: DownloadIfExistsOpts, work: Work
    ) -> ParquetItems:
        kept, shown = self._kept(paths), redact_url(self.place)

        def is_sound(path: Path, through: bool) -> bool:
            Table(path, shown, 0)
            return True

        with _session(self.zones) as session:
            file = FileFetcher(
                session,
                self.place,
                kept,
                kept.parent,
                stop=work.stop,
                on_progress=work.on_progress,
                limits=work.limits,
                is_sound=is_sound,
            ).run(if_exists)
        if file.path.is_file():
            Table(file.path, shown, 0)
            remove_ranges(_ranges(kept))
        return self._local(file.path, work.stop)

    def _kept(self, paths: DownloadPaths) -> Path:
        return paths.state_dir / "source" / self.kept


def _session(zones: tuple[str, ...] | None) -> Session:
    session = Session()
    session.gate = None if zones is None else Gate(zones)
    return session


def _ranges(kept: Path) -> Path:
    """Where ranges of a URL are kept that has not been fetched whole."""
    return kept.with_name(f"{kept.name}.ranges")


def _ranged(
    session: Session, url: str, ranges: Path | None = None, keep_free: int = 0
) -> RangedFile | None:
    """The file on its server; None where that gives no parts of it."""
    try:
        return RangedFile(session, url, ranges, keep_free)
    except NoRanges:
        return None


def _identity(file: RangedFile, wanted: Wanted) -> str:
    """What the end of a Parquet file says, where all else lies and what is in it, is its own."""
    text = f"{file.size}\0{told(wanted)}\0".encode()
    return hashlib.sha256(text + file.tail).hexdigest()
