"""stac-geoparquet as a source: a file, or a directory of files, possibly partitioned.

Row groups of which the statistics say that nothing in them is wanted are not read, and of the
others only the rows that may be. Memory is bounded by the batch, and by the columns of a row group
as they were written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import orjson
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as pafs

from mlhub_core.exceptions import (
    ArchiveCorrupt,
    ArchiveLimitExceeded,
    InvalidArgument,
    StorageError,
)
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.net.body import digest_file
from mlhub_core.paths import DownloadPaths, user_path
from mlhub_core.progress import Progress, ProgressSink, Stage, ignore
from mlhub_core.settings import ArchiveLimits
from mlhub_core.sources.base import DatasetInfo, SourceSpec, Wanted, note_source
from mlhub_core.sources.documents import Document, JsonObject, Kind, called, self_url
from mlhub_core.sources.naming import stem
from mlhub_core.sources.pruning import Box, left_in
from mlhub_core.sources.stac_rows import items_of, missing_columns
from mlhub_core.threads import StopFlag

_METADATA_KEY = b"stac-geoparquet"
_BATCH_ROWS = 1_000
_READ_BYTES = 1 << 20
_HOW = "name a file of stac-geoparquet, or a directory of such files"
_OPTIONS = {"use_buffered_stream": True, "buffer_size": _READ_BYTES, "pre_buffer": False}


@dataclass(frozen=True, slots=True)
class ParquetItems:
    """Tables of STAC items that are here.

    Attributes:
        path: The file or directory.
        dataset_id: The dataset.
        size: Bytes.
        sha256: What tells one state of it from the next: what is left out is part of it.
        base: The URL that relative hrefs of items resolve against which have no self link.
        wanted: What may be left out.
    """

    path: Path
    dataset_id: str
    size: int
    sha256: str
    base: str
    wanted: Wanted

    def read(
        self,
        limits: ArchiveLimits,
        stop: StopFlag | None = None,
        on_read: Callable[[int], None] = lambda _: None,
    ) -> Iterator[Document]:
        """Give its collections and items one at a time.

        Args:
            limits: Caps.
            stop: Ends the work early.
            on_read: Called with the bytes read so far, about.

        Raises:
            InvalidArgument: if a file is none of STAC items.
            ArchiveCorrupt: if one is damaged.
            ArchiveLimitExceeded: if it holds more than the caps allow.
            StorageError: if it cannot be read.
            Interrupted: if ``stop`` is set.
        """
        check, count, read = (stop or StopFlag()).check, 0, 0
        for file in files_of(self.path):
            with telling(file):
                table = Table(file, self.path)
                yield from self._collections(table)
                for rows in table.batches(self.wanted):
                    check()
                    count += rows.num_rows
                    if count > limits.max_members:
                        raise ArchiveLimitExceeded(
                            f"{self.path} holds more than {limits.max_members:,} items: if you "
                            "trust it, raise ArchiveLimits.max_members (--max-members)."
                        )
                    yield from map(self._document, table.items(rows))
                    on_read(read + int(table.size * table.share_read))
                read += table.size
            on_read(read)

    def _document(self, item: JsonObject) -> Document:
        path = called(item, self.dataset_id)
        return Document(path, Kind.ITEMS, (item,), base=self_url(item) or self.base)

    def _collections(self, table: Table) -> Iterator[Document]:
        """The collections that a file says its items are of; their links lead elsewhere."""
        wanted = self.wanted.collections
        for collection in table.collections:
            if not wanted or collection["id"] in wanted:
                path = f"collections/{collection['id']}"
                base = self_url(collection) or self.base
                yield Document(path, Kind.COLLECTION, ({**collection, "links": []},), base=base)

    def unpack(self, paths: DownloadPaths, **_: Any) -> None:
        """Nothing: there is no catalog to unpack."""


class Table:
    """A Parquet file of STAC items, open.

    Args:
        file: The file.
        root: The directory that it is a part of, or itself.

    Attributes:
        size: Its bytes.
        share_read: How much of it has been read, from 0 to 1.

    Raises:
        InvalidArgument: if it is no such file.
    """

    def __init__(self, file: Path, root: Path) -> None:
        self._file = file
        self.size = file.stat().st_size
        self.share_read = 0.0
        with _no_parquet(file):
            self._fragment = ds.ParquetFileFormat().make_fragment(str(file), pafs.LocalFileSystem())
            self._schema = self._fragment.physical_schema
        missing = missing_columns(self._schema.names)
        if missing:
            raise InvalidArgument(
                f"{file} is no stac-geoparquet: it has no column {', '.join(missing)}; {_HOW}."
            )
        self._of_directories = dict(_hive(file.relative_to(root))) if file != root else {}

    @property
    def collections(self) -> list[JsonObject]:
        """The collections of its items, as far as it has them."""
        noted = _json((self._schema.metadata or {}).get(_METADATA_KEY))
        found = noted.get("collections") if isinstance(noted, dict) else None
        listed = list(found.values()) if isinstance(found, dict) else found
        listed = listed if isinstance(listed, list) else []
        if isinstance(noted, dict) and isinstance(noted.get("collection"), dict):
            listed = [*listed, noted["collection"]]
        return [one for one in listed if isinstance(one, dict) and isinstance(one.get("id"), str)]

    def batches(self, wanted: Wanted) -> Iterator[pa.RecordBatch]:
        """Its rows but for those that may be left out, a batch at a time."""
        collection = self._of_directories.get("collection")
        if wanted.collections and collection and collection not in wanted.collections:
            return
        where = left_in(wanted, self._schema, box_around(wanted))
        groups = self._fragment.split_by_row_group(where)
        for number, group in enumerate(groups, 1):
            if where is not None and not self._has_rows(group, where):
                continue
            for rows in self._scan(group, filter=where):
                if rows.num_rows:
                    yield rows
            self.share_read = number / len(groups)

    def _has_rows(self, group: Any, where: Any) -> bool:
        """Whether rows of a row group are wanted: told by a few small columns of it."""
        return any(
            rows.column(0).true_count for rows in self._scan(group, columns={"_wanted": where})
        )

    def _scan(self, group: Any, **more: Any) -> Iterator[pa.RecordBatch]:
        # Threads and reading ahead would hold memory, and win nothing on a local disk.
        found: Iterator[pa.RecordBatch] = group.to_batches(
            batch_size=_BATCH_ROWS,
            batch_readahead=1,
            fragment_readahead=1,
            use_threads=False,
            fragment_scan_options=ds.ParquetFragmentScanOptions(**_OPTIONS),
            **more,
        )
        return found

    def items(self, rows: pa.RecordBatch) -> list[JsonObject]:
        """Some of its rows as items; what only the names of directories say included."""
        found = items_of(rows)
        if "collection" in self._of_directories and "collection" not in self._schema.names:
            for item in found:
                item["collection"] = self._of_directories["collection"]
        return found


def files_of(path: Path) -> list[Path]:
    """The Parquet files of a source, in order: of a directory all but what is hidden.

    Raises:
        StorageError: if a directory cannot be read.
    """
    if not path.is_dir():
        return [path]
    found = [
        file
        for file in path.rglob("*.parquet")
        if not any(part.startswith((".", "_")) for part in file.relative_to(path).parts)
    ]
    return sorted(file for file in found if file.is_file())


def box_around(wanted: Wanted) -> Box | None:
    """The box around the places that are wanted; None where any is."""
    if wanted.bbox is not None:
        return wanted.bbox
    if wanted.intersects is None:
        return None
    import shapely

    west, south, east, north = shapely.from_geojson(wanted.intersects).bounds
    return float(west), float(south), float(east), float(north)


def _hive(path: Path) -> Iterator[tuple[str, str]]:
    """What directories called ``name=value`` say of the files in them."""
    for part in path.parts[:-1]:
        name, is_pair, value = part.partition("=")
        if is_pair:
            yield unquote(name), unquote(value)


def _json(data: bytes | None) -> Any:
    try:
        return None if data is None else orjson.loads(data)
    except orjson.JSONDecodeError:
        return None


@contextmanager
def _no_parquet(file: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise InvalidArgument(f"{file} is no file: {_HOW}.") from error
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise InvalidArgument(
            f"{file} is no Parquet file ({str(error).splitlines()[0]}): {_HOW}."
        ) from error


@contextmanager
def telling(file: Path) -> Iterator[None]:
    """Tell what Arrow and the disk refuse in the way of this library.

    Raises:
        ArchiveCorrupt: if it is Arrow that refuses.
        StorageError: if it is the disk.
    """
    try:
        yield
    except pa.ArrowException as error:
        raise ArchiveCorrupt(
            f"{file} cannot be read, it is damaged: {str(error).splitlines()[0]}. Get it again."
        ) from error
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        if error.errno is None:  # so Arrow tells of a page that is broken off
            told = str(error).splitlines()[0]
            raise ArchiveCorrupt(f"{file} is damaged: {told} Get it again.") from error
        raise StorageError(f"Cannot read {file}: {error.strerror or error}.") from error


@dataclass(frozen=True, slots=True)
class ParquetSource:
    """stac-geoparquet on this machine, as a source.

    Attributes:
        path: The file or directory.
        dataset_id: The dataset, by default as that is called.
        wanted: What may be left out.
    """

    path: Path
    dataset_id: str
    wanted: Wanted

    @classmethod
    def open(cls, spec: SourceSpec, api_key: str | None, profile: str | None) -> ParquetSource:
        """The tables that are meant.

        Raises:
            InvalidArgument: if there are none, or they are none of STAC items.
            StorageError: if they cannot be read.
        """
        path = user_path(spec.text.strip())
        files = files_of(path) if path.exists() else []
        if not files:
            what = "holds no Parquet file" if path.is_dir() else "is no file"
            raise InvalidArgument(f"{path} {what}: {_HOW}.")
        with telling(files[0]):
            Table(files[0], path)
        return cls(path, spec.dataset_id or stem(str(path), "items"), spec.wanted)

    def describe(self) -> DatasetInfo:
        """Say what the dataset is: a title is that of its only collection."""
        file = files_of(self.path)[0]
        with telling(file):
            titles = [one.get("title") for one in Table(file, self.path).collections]
        title = titles[0] if len(titles) == 1 and isinstance(titles[0], str) else None
        return DatasetInfo(self.dataset_id, title)

    def here(self, stop: StopFlag | None = None) -> ParquetItems:
        """The tables, where they lie.

        Args:
            stop: Ends the work early.

        Raises:
            StorageError: if they cannot be read.
            Interrupted: if ``stop`` is set.
        """
        check, size = (stop or StopFlag()).check, 0
        whole = hashlib.sha256()
        for file in files_of(self.path):
            digest = digest_file(str(file), ["sha256"], check)["sha256"]
            with telling(file):
                size += file.stat().st_size
            whole.update(f"{file.relative_to(self.path)}\0{digest}\n".encode())
        whole.update(_told(self.wanted).encode())
        base = self.path.as_uri() + ("/" if self.path.is_dir() else "")
        return ParquetItems(self.path, self.dataset_id, size, whole.hexdigest(), base, self.wanted)

    def identity(self, paths: DownloadPaths) -> str | None:
        """The digest of the files, which nobody has to be asked for."""
        return self.here().sha256

    def acquire(
        self,
        paths: DownloadPaths,
        *,
        if_exists: DownloadIfExistsOpts = DownloadIfExistsOpts.resume,
        limits: ArchiveLimits | None = None,
        stop: StopFlag | None = None,
        on_progress: ProgressSink = ignore,
    ) -> ParquetItems:
        """The tables, read where they lie.

        Raises:
            StorageError: if they cannot be read, or the disk refuses.
            Interrupted: if ``stop`` is set.
        """
        found = self.here(stop)
        note_source(paths, SourceSpec(str(self.path), "parquet", self.dataset_id))
        size = found.size
        on_progress(Progress(Stage.CATALOG, 1, 1, size, size, finished=True))
        return found


def _told(wanted: Wanted) -> str:
    """What of a filter decides which rows are read, as text: that of no filter is empty."""
    facts = replace(wanted, where=None)
    if facts == Wanted():
        return ""
    times = [moment and moment.isoformat() for moment in (facts.start, facts.end)]
    return json.dumps([sorted(facts.collections), times, facts.bbox, facts.intersects])
