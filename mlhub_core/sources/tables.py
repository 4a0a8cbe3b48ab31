"""Parquet files of STAC items, open: their collections, and their rows as items.

Row groups of which the statistics say that nothing in them is wanted are not read, and of the
others only the rows that may be. Memory is bounded by the batch, and by the columns of a row group
as they were written.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs as pafs

from mlhub_core.exceptions import (
    ArchiveCorrupt,
    ArchiveLimitExceeded,
    InvalidArgument,
    MLHubException,
    StorageError,
)
from mlhub_core.net.ranged import RangedFile
from mlhub_core.sources.base import Wanted
from mlhub_core.sources.documents import Document, JsonObject, Kind, called, self_url
from mlhub_core.sources.naming import is_index
from mlhub_core.sources.pruning import left_in
from mlhub_core.sources.stac_rows import items_of, missing_columns
from mlhub_core.work import Work

HOW = "name a file of stac-geoparquet, or a directory of such files"
_METADATA_KEY = "stac-geoparquet"
_BATCH_ROWS = 1_000
_READ_BYTES = 1 << 20
_FROM_DISK = {"use_buffered_stream": True, "buffer_size": _READ_BYTES, "pre_buffer": False}
_BY_RANGES = {"pre_buffer": False}


class Table:
    """A Parquet file of STAC items, open.

    Args:
        file: The file; on a server, or a path.
        shown: What it is called in errors.
        size: Its bytes.
        of_directories: What the directories called ``name=value`` say that it lies in.

    Attributes:
        size: Its bytes.
        share_read: How much of it has been read, from 0 to 1.

    Raises:
        InvalidArgument: if it is no such file.
    """

    collection_column = "collection"

    def __init__(
        self,
        file: Path | RangedFile,
        shown: str,
        size: int,
        of_directories: dict[str, str] | None = None,
    ) -> None:
        self.size = size
        self.share_read = 0.0
        self._of_directories = of_directories or {}
        is_here = isinstance(file, Path)
        self._ranged = None if isinstance(file, Path) else file
        self._options = _FROM_DISK if is_here else _BY_RANGES
        with _no_parquet(shown):
            self._fragment = ds.ParquetFileFormat().make_fragment(
                str(file) if is_here else pa.PythonFile(file, mode="r"),
                pafs.LocalFileSystem() if is_here else None,
            )
            self._schema = self._fragment.physical_schema
        self.check(shown, self.names)

    def check(self, shown: str, names: list[str]) -> None:
        """Check that it is what it is read as.

        Args:
            shown: What it is called in errors.
            names: Those of its columns.

        Raises:
            InvalidArgument: if it is not.
        """
        missing = missing_columns(names)
        if missing and is_index(names):
            raise InvalidArgument(f"{shown} is an asset index: fetch it, and name the file.")
        if missing:
            raise InvalidArgument(
                f"{shown} is no stac-geoparquet: it has no column {', '.join(missing)}; {HOW}."
            )

    @property
    def names(self) -> list[str]:
        """Those of its columns."""
        return list(self._schema.names)

    def noted(self, key: str) -> Any:
        """What its metadata hold under a key, as JSON; None where that is nothing."""
        return _json((self._schema.metadata or {}).get(key.encode()))

    @classmethod
    def of(cls, file: Path, root: Path) -> Table:
        """One on this machine.

        Args:
            file: The file.
            root: The directory that it is a part of, or itself.
        """
        with telling(str(file)):
            hive = dict(_hive(file.relative_to(root))) if file != root else {}
            return cls(file, str(file), file.stat().st_size, hive)

    @property
    def collections(self) -> list[JsonObject]:
        """The collections of its items, as far as it has them."""
        noted = self.noted(_METADATA_KEY)
        found = noted.get("collections") if isinstance(noted, dict) else None
        listed = list(found.values()) if isinstance(found, dict) else found
        listed = listed if isinstance(listed, list) else []
        if isinstance(noted, dict) and isinstance(noted.get("collection"), dict):
            listed = [*listed, noted["collection"]]
        return [one for one in listed if isinstance(one, dict) and isinstance(one.get("id"), str)]

    def left_in(self, wanted: Wanted) -> pc.Expression | None:
        """What rows have to fulfil; None where all are wanted."""
        return left_in(wanted, self._schema, wanted.box, self.collection_column)

    def batches(self, wanted: Wanted, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Its rows but for those that may be left out, a batch at a time.

        Args:
            wanted: What may be left out.
            columns: Which columns; all unless given.
        """
        collection = self._of_directories.get("collection")
        if wanted.collections and collection and collection not in wanted.collections:
            return
        where = self.left_in(wanted)
        groups = self._fragment.split_by_row_group(where)
        for number, group in enumerate(groups, 1):
            if where is not None and not self._has_rows(group, where):
                continue
            self._hold(group)
            for rows in self._scan(group, filter=where, columns=columns):
                if rows.num_rows:
                    yield rows
            self.share_read = number / len(groups)

    def _has_rows(self, group: Any, where: Any) -> bool:
        """Whether rows of a row group are wanted: told by a few small columns of it."""
        return any(
            rows.column(0).true_count for rows in self._scan(group, columns={"_wanted": where})
        )

    def _hold(self, group: Any) -> None:
        """Have a row group here, by one request instead of one for each of its columns."""
        if self._ranged is None:
            return
        (one,) = group.row_groups
        found = self._fragment.metadata.row_group(one.id)
        chunks = [found.column(number) for number in range(found.num_columns)]
        firsts = [
            min(chunk.data_page_offset, chunk.dictionary_page_offset or chunk.data_page_offset)
            for chunk in chunks
        ]
        ends = [
            first + chunk.total_compressed_size for first, chunk in zip(firsts, chunks, strict=True)
        ]
        self._ranged.hold(min(firsts), max(ends) - min(firsts))

    def _scan(self, group: Any, **more: Any) -> Iterator[pa.RecordBatch]:
        # Threads and reading ahead would hold memory, and win nothing on a local disk.
        found: Iterator[pa.RecordBatch] = group.to_batches(
            batch_size=_BATCH_ROWS,
            batch_readahead=1,
            fragment_readahead=1,
            use_threads=False,
            fragment_scan_options=ds.ParquetFragmentScanOptions(**self._options),
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


def documents(
    tables: Iterable[Table],
    dataset_id: str,
    base: str,
    wanted: Wanted,
    work: Work,
    on_read: Callable[[int], None],
) -> Iterator[Document]:
    """The collections and items of tables, one at a time.

    Args:
        tables: The tables.
        dataset_id: The dataset.
        base: The URL that relative hrefs of items resolve against which have no self link.
        wanted: What may be left out.
        work: Caps, and what ends it early.
        on_read: Called with the bytes read so far, about.

    Raises:
        ArchiveLimitExceeded: if they hold more than the caps allow.
        Interrupted: if ``stop`` is set.
    """
    limits, count, read = work.limits, 0, 0
    for table in tables:
        for collection in table.collections:
            if not wanted.collections or collection["id"] in wanted.collections:
                path = f"collections/{collection['id']}"
                # Its links lead elsewhere.
                whole = ({**collection, "links": []},)
                yield Document(path, Kind.COLLECTION, whole, base=self_url(collection) or base)
        for rows in table.batches(wanted):
            work.stop.check()
            count += rows.num_rows
            if count > limits.max_members:
                raise ArchiveLimitExceeded(
                    f"{dataset_id} holds more than {limits.max_members:,} items: if you trust it, "
                    "raise ArchiveLimits.max_members (--max-members)."
                )
            for item in table.items(rows):
                path = called(item, dataset_id)
                yield Document(path, Kind.ITEMS, (item,), base=self_url(item) or base)
            on_read(read + int(table.size * table.share_read))
        read += table.size
        on_read(read)


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
def _no_parquet(shown: str) -> Iterator[None]:
    try:
        yield
    except MLHubException:
        raise
    except FileNotFoundError as error:
        raise InvalidArgument(f"{shown} is no file: {HOW}.") from error
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        # Of a file that was fetched Arrow knows the partial one: not what anybody named.
        reason = str(error).splitlines()[0].rpartition("': ")[2].rstrip(".")
        raise InvalidArgument(f"{shown} is no Parquet file ({reason}): {HOW}.") from error


@contextmanager
def telling(shown: str) -> Iterator[None]:
    """Tell what Arrow and the disk refuse in the way of this library.

    Raises:
        ArchiveCorrupt: if it is Arrow that refuses.
        StorageError: if it is the disk.
    """
    try:
        yield
    except pa.ArrowException as error:
        raise ArchiveCorrupt(
            f"{shown} cannot be read, it is damaged: {str(error).splitlines()[0]}. Get it again."
        ) from error
    except OSError as error:
        if isinstance(error, MLHubException):
            raise
        if error.errno is None:  # so Arrow tells of a page that is broken off
            told = str(error).splitlines()[0]
            raise ArchiveCorrupt(f"{shown} is damaged: {told} Get it again.") from error
        raise StorageError(f"Cannot read {shown}: {error.strerror or error}.") from error


def told(wanted: Wanted) -> str:
    """What of a filter decides which rows are read, as text: that of no filter is empty."""
    facts = replace(wanted, where=None)
    if facts == Wanted():
        return ""
    times = [moment and moment.isoformat() for moment in (facts.start, facts.end)]
    return json.dumps([sorted(facts.collections), times, facts.bbox, facts.intersects])
