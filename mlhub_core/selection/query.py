"""Questions to an index: the plan of a download, cut into partitions, or rows written out.

A plan is made here of the rows that match; ``mlhub query``, which needs no hub, writes them out.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from mlhub_core.console import unwritten
from mlhub_core.exceptions import InvalidArgument, StorageError
from mlhub_core.index.datetimes import moment_text
from mlhub_core.index.schema import FACTS_KEY, IDENTITY_KEY, index_schema
from mlhub_core.paths import user_path
from mlhub_core.progress import Progress, ProgressSink, Stage, ignore
from mlhub_core.selection.asset_db import is_current, write_asset_db
from mlhub_core.selection.engine import IDS, Query
from mlhub_core.selection.filters import AssetFilter
from mlhub_core.selection.footprints import among, footprints_of, item_hashes
from mlhub_core.selection.index_reader import IndexReader, open_index, telling
from mlhub_core.selection.partition import Partition, gathered
from mlhub_core.selection.plan import (
    PLAN_NAME,
    SHOWN_PATHS,
    Plan,
    counted,
    reusable,
    seal,
)
from mlhub_core.threads import StopFlag
from mlhub_core.views.map import check_picture, save

PLAN_VERSION = 1
"""Raised whenever the same index and filter give another plan: older ones are then made anew."""
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


def plan_assets(
    dataset_id: str,
    index: Path,
    wanted: AssetFilter,
    directory: Path,
    *,
    workers: int = 2,
    asset_db: Path | None = None,
    allow_empty: bool = False,
    stop: StopFlag | None = None,
    on_progress: ProgressSink = ignore,
) -> Plan:
    """Select the assets that match, and cut them into partitions.

    A plan that lies there already and was made from the same is used again.

    Args:
        dataset_id: The dataset.
        index: Its asset index, GeoParquet.
        wanted: The filter.
        directory: Where the plan goes; another one there is replaced.
        workers: Partitions that will run at a time.
        asset_db: Where to write the reference client's table, None to leave it out.
        allow_empty: Whether a filter that leaves nothing is fine.
        stop: Stops the query when set.
        on_progress: Gets rows of the index, as ``Stage.FILTER``.

    Raises:
        NothingMatches: if the filters leave nothing; says how many were left after each.
        InvalidArgument: if ``index`` is no asset index.
        StorageError: if the disk refuses.
        Interrupted: if stopped.
    """
    with telling(index, f"{directory} cannot be written"):
        made_from = identity(index, wanted, workers)
        plan = reusable(directory / PLAN_NAME, made_from)
        if plan and (asset_db is None or is_current(asset_db, made_from)):
            rows = plan.funnel[0][1]
            on_progress(Progress(Stage.FILTER, rows, rows, finished=True))
            return plan
        query = Query(IndexReader(index, stop), wanted, on_progress)
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True, exist_ok=True)
        query.run(allow_empty=allow_empty)
        partitions = query.cut(directory, workers)
        plan = plan_of(
            query,
            dataset_id,
            directory,
            partitions,
            known_bytes=sum(part.known_bytes for part in partitions),
            unknown_sizes=sum(part.unknown_sizes for part in partitions),
            made_from=made_from,
            seals=tuple(seal(part.path) for part in partitions),
        )
        plan.save()
    if asset_db is not None:
        with telling(index, f"{asset_db} cannot be written"):
            write_asset_db(asset_db, query, made_from)
    return plan


def plan_of(
    query: Query,
    dataset_id: str,
    directory: Path,
    partitions: tuple[Partition, ...],
    **more: Any,
) -> Plan:
    """What the matching rows of a query add up to.

    Args:
        query: The query, run.
        dataset_id: The dataset.
        directory: Where the partition files lie.
        partitions: The files, in batches.
        more: Further attributes.
    """
    summary = query.summary
    return Plan(
        dataset_id,
        directory,
        partitions,
        files=summary.files,
        items=summary.items,
        funnel=query.funnel(),
        without_place=query.lacking("place"),
        without_time=query.lacking("time"),
        collections=summary.collections,
        licenses=tuple((name, tuple(sorted(of))) for name, of in sorted(summary.licenses.items())),
        span=summary.span,
        box=summary.box,
        **more,
    )


def identity(index: Path, wanted: AssetFilter, workers: int) -> dict[str, Any]:
    """What a plan is made from: equal ones give equal plans.

    The index counts by what it says of its archive, and by size and time of its file: whoever
    changes or replaces it gets a new plan.
    """
    try:
        status = index.stat()
    except OSError as error:
        raise StorageError(f"{index} cannot be read: {error.strerror}.") from error
    return {
        "version": PLAN_VERSION,
        "archive": archive_of(index),
        "index": [status.st_size, status.st_mtime_ns],
        "filter": wanted.digest(),
        "wanted": wanted.to_dict(),
        "workers": workers,
    }


def archive_of(index: Path) -> Any:
    """What an index says of the archive that it was made from; None if it says nothing.

    Raises:
        InvalidArgument: if it is no asset index.
        StorageError: if it cannot be read.
    """
    with open_index(index) as reader:
        return reader.noted(IDENTITY_KEY)


def kept_plan(state_dir: Path, made_from: dict[str, Any]) -> Path:
    """The directory of a plan that is kept."""
    canonical = json.dumps(made_from, sort_keys=True).encode()
    return state_dir / "plans" / hashlib.sha256(canonical).hexdigest()[:12]


# Rows written out


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

    def __str__(self) -> str:
        """What a person wants to know."""
        return "\n".join(self.describe())

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
    plot: str | Path | None = None,
    title: str | None = None,
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
        plot: Where a map of the matching items goes, ``.svg`` or ``.png``.
        title: Above the map; by default the path of the index.
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
    picture = None if plot is None else check_picture("--plot", plot)
    with open_index(index, stop) as reader:
        query = Query(reader, wanted, on_progress)
        query.run(allow_empty=allow_empty)
        if output is not None:
            _write(query, output)
        if picture is not None:
            _draw(query, picture, title or str(index))
        return _found(query)


def _draw(query: Query, picture: Path, title: str) -> None:
    """A map of the matching items among all of them."""
    chosen = array("q")
    for rows in query.rows(IDS):
        chosen.extend(item_hashes(rows))
    prints = footprints_of(query.index, among(chosen))
    save(picture, prints, title, f"{counted(query.summary.items, 'item')} selected", "all items")


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
