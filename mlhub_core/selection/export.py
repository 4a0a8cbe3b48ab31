"""Rows of an index that match, written out: ``mlhub query``, which needs no hub."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from mlhub_core.buffers import mask_array
from mlhub_core.console import unwritten
from mlhub_core.exceptions import InvalidArgument, StorageError
from mlhub_core.index.schema import FACTS_KEY, conform, index_schema
from mlhub_core.layout import user_path
from mlhub_core.progress import ProgressSink, ignore
from mlhub_core.selection.filters import AssetFilter
from mlhub_core.selection.index_reader import open_index
from mlhub_core.selection.plan import counted, format_bytes, moment_text
from mlhub_core.selection.query import Query
from mlhub_core.selection.rowgroup import RowGroup
from mlhub_core.stop import StopFlag

STDOUT = "-"
_CSV_COLUMNS = [
    "save_path",
    "href",
    "collection_id",
    "item_id",
    "asset_key",
    "media_type",
    "file_size",
    "checksum",
    "datetime",
    "start_datetime",
    "end_datetime",
]
_SHOWN_PATHS = 5


@dataclass(frozen=True, slots=True)
class Found:
    """What a query found.

    Attributes:
        rows: Rows that match.
        files: Different files among them.
        items: Different items.
        known_bytes: Sum of the sizes of the files that the catalog gives.
        unknown_sizes: Files whose size it does not give.
        collections: ``(id, items)`` of each collection.
        span: First and last moment, as texts; None without any.
        box: West, south, east, north around the items; None without a place.
        funnel: ``(name, files)``: what was left after each filter.
        without_place: Items that a spatial filter left out because they have no place.
        without_time: Items that a temporal filter left out because they have no time.
        first: The first paths.
    """

    rows: int
    files: int
    items: int
    known_bytes: int
    unknown_sizes: int
    collections: tuple[tuple[str, int], ...]
    span: tuple[str, str] | None
    box: tuple[float, float, float, float] | None
    funnel: tuple[tuple[str, int], ...]
    without_place: int
    without_time: int
    first: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """A JSON-serialisable form."""
        return {**asdict(self), "collections": dict(self.collections)}

    def describe(self) -> list[str]:
        """What a person wants to know, a line each."""
        size = f"{format_bytes(self.known_bytes)} known"
        if self.unknown_sizes:
            size += f", {counted(self.unknown_sizes, 'file')} of unknown size"
        lines = [f"{counted(self.files, 'file')} of {counted(self.items, 'item')}, {size}"]
        lines += [f"  {left:>12,} files: {name}" for name, left in self.funnel]
        for count, what in ((self.without_place, "place"), (self.without_time, "time")):
            if count:
                lines.append(f"  left out without a {what}: {counted(count, 'item')}")
        lines += [f"  {name}: {counted(count, 'item')}" for name, count in self.collections]
        if self.span:
            lines.append(f"  from {self.span[0]} to {self.span[1]}")
        if self.box:
            lines.append("  within " + ",".join(f"{side:g}" for side in self.box))
        return lines + [f"  {path}" for path in self.first]


def query_index(
    index: Path,
    wanted: AssetFilter,
    *,
    output: str | None = None,
    allow_empty: bool = False,
    stop: StopFlag | None = None,
    on_progress: ProgressSink = ignore,
) -> Found:
    """Ask an asset index which of its rows match.

    Args:
        index: The GeoParquet file.
        wanted: The filter.
        output: Where the rows go: a ``.parquet`` file, which is an asset index again, a ``.csv``
            file, ``-`` for CSV on standard output, or None.
        allow_empty: Whether it is fine that nothing matches.
        stop: Stops the query when set.
        on_progress: Gets rows of the index.

    Raises:
        NothingMatches: if nothing does; says how many were left after each filter.
        InvalidArgument: if ``index`` is no asset index, or ``output`` cannot be one.
        StorageError: if the disk refuses.
        Interrupted: if stopped.
    """
    check_output(index, output)
    stop = stop or StopFlag()
    with open_index(index) as reader:
        query = Query(reader, wanted, allow_empty, stop, on_progress)
        query.run()
        if output is not None:
            with _writing(output, reader.metadata.metadata or {}) as write:
                for group, mask in query.chosen:
                    stop.check()
                    write(group, mask_array(mask))
        return _found(query)


def check_output(index: Path, output: str | None) -> None:
    """Check where rows are to go.

    Raises:
        InvalidArgument: if that says no format, or is the index itself.
    """
    if output is None or output == STDOUT:
        return
    path = user_path(output)
    if path.suffix not in (".parquet", ".csv"):
        raise InvalidArgument(
            f"--output {output}: name a file that ends in .parquet or .csv, or - for CSV on "
            "standard output."
        )
    if path.exists() and index.exists() and os.path.samefile(path, index):
        raise InvalidArgument(f"--output {output} is the index itself: name another file.")


def _found(query: Query) -> Found:
    files, count = query.files()
    known = unknown = 0
    first: list[str] = []
    for group, mask in files:
        rows = mask_array(mask)
        sizes = pa.nulls(mask.sum(), pa.int64())
        if not group.is_void("file_size"):
            sizes = group.column("file_size").filter(rows)
        known += pc.sum(sizes).as_py() or 0
        unknown += sizes.null_count
        if len(first) < _SHOWN_PATHS:
            paths = group.index.read_plain(group.number, ["save_path"]).column(0).filter(rows)
            first += paths.slice(0, _SHOWN_PATHS - len(first)).to_pylist()
    tally, scan = query.tally, query.scan
    return Found(
        rows=tally.rows,
        files=count,
        items=tally.items,
        known_bytes=known,
        unknown_sizes=unknown,
        collections=tally.collections(),
        span=None
        if tally.span is None
        else (moment_text(tally.span[0]), moment_text(tally.span[1])),
        box=tally.box,
        funnel=scan.funnel(),
        without_place=scan.without_place,
        without_time=scan.without_time,
        first=tuple(first),
    )


_Write = Callable[[RowGroup, pa.Array], None]


@contextmanager
def _writing(output: str, metadata: dict[bytes, bytes]) -> Iterator[_Write]:
    """Something to write rows with; a file gets its name when it is whole."""
    if output == STDOUT:
        try:
            with _csv(pa.PythonFile(sys.stdout.buffer, mode="w")) as write:
                yield write
        except BrokenPipeError:
            raise  # who has read enough, as `head` does, is no fault
        except OSError as error:
            raise unwritten(error) from error
        return
    final = user_path(output)
    part = final.with_name(f".{final.name}.part")
    try:
        if final.suffix == ".csv":
            with pa.OSFile(str(part), "wb") as file, _csv(file) as write:
                yield write
        else:
            with _parquet(part, metadata) as write:
                yield write
        os.replace(part, final)
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(f"{final} cannot be written: {error.strerror or error}.") from error
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _csv(file: Any) -> Iterator[_Write]:
    schema = pa.schema([_csv_field(index_schema().field(name)) for name in _CSV_COLUMNS])
    with pacsv.CSVWriter(file, schema) as writer:

        def write(group: RowGroup, rows: pa.Array) -> None:
            table = group.index.read_plain(group.number, _CSV_COLUMNS).filter(rows)
            columns = [_csv_column(table.column(name)) for name in _CSV_COLUMNS]
            writer.write_table(pa.table(columns, schema=schema))

        yield write


def _csv_field(field: pa.Field) -> pa.Field:
    return pa.field(field.name, pa.string()) if pa.types.is_timestamp(field.type) else field


def _csv_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Moments as RFC 3339 writes them."""
    if not pa.types.is_timestamp(column.type):
        return column
    return pc.strftime(column, format="%Y-%m-%dT%H:%M:%SZ")


@contextmanager
def _parquet(part: Path, metadata: dict[bytes, bytes]) -> Iterator[_Write]:
    # Not the archive: that has more in it. Paths that differ do so in a part as well.
    kept = {key: metadata[key] for key in (b"geo", FACTS_KEY.encode()) if key in metadata}
    with pq.ParquetWriter(part, index_schema(), compression="zstd") as writer:
        writer.add_key_value_metadata(kept)

        def write(group: RowGroup, rows: pa.Array) -> None:
            table = group.index.read_plain(group.number, index_schema().names).filter(rows)
            table = conform(table, index_schema())
            writer.write_table(table, row_group_size=max(1, len(table)))

        yield write
