"""Rows of an index that match, written out: ``mlhub query``, which needs no hub."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from mlhub_core.console import unwritten
from mlhub_core.exceptions import InvalidArgument, StorageError
from mlhub_core.index.schema import FACTS_KEY, index_schema
from mlhub_core.paths import user_path
from mlhub_core.progress import ProgressSink, ignore
from mlhub_core.selection.engine import Query
from mlhub_core.selection.filters import AssetFilter
from mlhub_core.selection.index_reader import open_index
from mlhub_core.selection.partition import gathered
from mlhub_core.selection.plan import SHOWN_PATHS, Plan, moment_text
from mlhub_core.selection.query import plan_of
from mlhub_core.threads import StopFlag

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
_COUNTS = (
    "files",
    "items",
    "known_bytes",
    "unknown_sizes",
    "box",
    "funnel",
    "without_place",
    "without_time",
)
_GROUP_ROWS = 100_000


@dataclass(frozen=True, slots=True)
class Found:
    """What a query found.

    Attributes:
        rows: Rows that match.
        plan: What they add up to; it has no partitions.
        first: The first paths.
    """

    rows: int
    plan: Plan
    first: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """A JSON-serialisable form."""
        plan = self.plan
        return {
            "rows": self.rows,
            **{name: getattr(plan, name) for name in _COUNTS},
            "collections": dict(plan.collections),
            "span": plan.span and tuple(map(moment_text, plan.span)),
            "first": self.first,
        }

    def describe(self) -> list[str]:
        """What a person wants to know, a line each."""
        paths = [f"  {path}" for path in self.first]
        return [*self.plan.describe(), *self.plan.extent(), *paths]


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
    with open_index(index, stop) as reader:
        query = Query(reader, wanted, on_progress)
        query.run(allow_empty=allow_empty)
        if output is not None:
            _write(query, output)
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
    known = unknown = 0
    first: list[str] = []
    for rows in query.rows(["file_size", "save_path"], query.files):
        sizes = rows.column("file_size")
        known += pc.sum(sizes).as_py() or 0
        unknown += sizes.null_count
        first += rows.column("save_path")[: SHOWN_PATHS - len(first)].to_pylist()
    plan = plan_of(query, "", Path(), (), known_bytes=known, unknown_sizes=unknown)
    return Found(query.summary.rows, plan, tuple(first))


def _write(query: Query, output: str) -> None:
    """Write the matching rows; a file gets its name when it is whole."""
    if output == STDOUT:
        try:
            _write_csv(query, pa.PythonFile(sys.stdout.buffer, mode="w"))
        except BrokenPipeError:
            raise  # who has read enough, as `head` does, is no fault
        except OSError as error:
            raise unwritten(error) from error
        return
    final = user_path(output)
    part = final.with_name(f".{final.name}.part")
    try:
        if final.suffix == ".csv":
            with pa.OSFile(str(part), "wb") as file:
                _write_csv(query, file)
        else:
            _write_parquet(query, part)
        os.replace(part, final)
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(f"{final} cannot be written: {error.strerror or error}.") from error
    finally:
        part.unlink(missing_ok=True)


def _write_csv(query: Query, file: Any) -> None:
    schema = pa.schema([_csv_field(index_schema().field(name)) for name in _CSV_COLUMNS])
    with pacsv.CSVWriter(file, schema) as writer:
        for rows in query.rows(_CSV_COLUMNS):
            columns = [_csv_column(rows.column(name)) for name in _CSV_COLUMNS]
            writer.write_batch(pa.record_batch(columns, schema=schema))


def _csv_field(field: pa.Field) -> pa.Field:
    return pa.field(field.name, pa.string()) if pa.types.is_timestamp(field.type) else field


def _csv_column(column: pa.Array) -> pa.Array:
    """Moments as RFC 3339 writes them."""
    if not pa.types.is_timestamp(column.type):
        return column
    return pc.strftime(column, format="%Y-%m-%dT%H:%M:%SZ")


def _write_parquet(query: Query, part: Path) -> None:
    metadata = query.index.metadata.metadata or {}
    # Not the archive: that has more in it. Paths that differ do so in a part as well.
    kept = {key: metadata[key] for key in (b"geo", FACTS_KEY.encode()) if key in metadata}
    with pq.ParquetWriter(part, index_schema(), compression="zstd") as writer:
        writer.add_key_value_metadata(kept)
        for table in gathered(query.rows(index_schema().names), _GROUP_ROWS):
            writer.write_table(table)
