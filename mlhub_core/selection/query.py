"""The query: filters over the asset index, a batch at a time, and the plan that comes of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mlhub_core.exceptions import NothingMatches, StorageError
from mlhub_core.progress import Progress, ProgressSink, Stage, ignore
from mlhub_core.selection import masks
from mlhub_core.selection.asset_db import AssetDb
from mlhub_core.selection.cut import cut
from mlhub_core.selection.filters import AssetFilter
from mlhub_core.selection.partition import Asset, partition_schema
from mlhub_core.selection.plan import Plan, counted
from mlhub_core.stop import StopFlag

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]
    Hashes = NDArray[np.uint64]

_BATCH_ROWS = 65_536
_COLUMNS = [
    *Asset._fields,
    "datetime",
    "start_datetime",
    "end_datetime",
    "item_bbox",
    "bbox",
    "common_asset",
]


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

    Args:
        dataset_id: The dataset.
        index: Its asset index, GeoParquet.
        wanted: The filter.
        directory: Where the plan goes; an older one there is replaced.
        workers: Partitions that will run at a time.
        asset_db: Where to write the reference client's table, None to leave it out.
        allow_empty: Whether a filter that leaves nothing is fine.
        stop: Stops the query when set.
        on_progress: Gets rows of the index, as ``Stage.FILTER``.

    Raises:
        NothingMatches: if the filters leave nothing; says how many were left after each.
        StorageError: if the disk refuses.
        Interrupted: if stopped.
    """
    try:
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True, exist_ok=True)
        query = _Query(wanted, directory / "selection.parquet", asset_db)
        try:
            query.run(index, stop or StopFlag(), on_progress)
            query.check(allow_empty)
            query.close(keep=True)
        except BaseException:
            query.close(keep=False)
            raise
        keep = query.first_rows()
        partitions = cut(query.selection, directory, keep, workers) if keep.any() else ()
        query.selection.unlink()
        plan = Plan(
            dataset_id,
            directory,
            partitions,
            files=sum(part.files for part in partitions),
            items=query.items(),
            known_bytes=sum(part.known_bytes for part in partitions),
            unknown_sizes=sum(part.unknown_sizes for part in partitions),
            funnel=tuple(query.funnel()),
            without_place=query.placeless.count(),
            without_time=query.timeless.count(),
        )
        plan.save()
        return plan
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(f"{directory} cannot be written: {error.strerror or error}.") from error


class _Distinct:
    """Counts different strings by 64-bit hashes: eight bytes each, whatever their length."""

    def __init__(self) -> None:
        self._parts: list[Hashes] = []

    def add(self, hashes: Hashes) -> None:
        self._parts.append(np.unique(hashes))

    def count(self) -> int:
        return len(np.unique(np.concatenate(self._parts))) if self._parts else 0


class _Query:
    def __init__(self, wanted: AssetFilter, selection: Path, asset_db: Path | None) -> None:
        self._wanted = wanted
        self._place = masks.place_test(wanted)
        self.selection = selection
        self._writer = pq.ParquetWriter(selection, partition_schema(), compression="zstd")
        self._db = AssetDb(asset_db) if asset_db else None
        self._stages = ["in the dataset"]
        self._stages += ["after the collection filter"] if wanted.collections else []
        self._stages += ["after the datetime filter"] if wanted.time else []
        spatial = "intersects" if wanted.intersects else "bbox"
        self._stages += [f"after the {spatial} filter"] if self._place else []
        self._counts = [_Distinct() for _ in self._stages]
        self._paths: list[Hashes] = []
        self._items = _Distinct()
        self._item_rows = 0
        self.placeless = _Distinct()
        self.timeless = _Distinct()

    def run(self, index: Path, stop: StopFlag, on_progress: ProgressSink) -> None:
        done = 0
        with pq.ParquetFile(index) as file:
            total = file.metadata.num_rows
            for batch, frame in self._batches(file):
                stop.check()
                self._select(batch, frame)
                done += len(frame)
                on_progress(Progress(Stage.FILTER, done, total))
        on_progress(Progress(Stage.FILTER, done, total, finished=True))

    def _batches(self, file: pq.ParquetFile) -> Iterator[tuple[pa.RecordBatch, pd.DataFrame]]:
        geometry = self._db is not None or self._wanted.intersects_with == "geometry"
        columns = _COLUMNS + (["geometry"] if geometry else [])
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=columns):
            yield batch, _frame(batch)

    def _select(self, batch: pa.RecordBatch, frame: pd.DataFrame) -> None:
        paths = _hash(frame["save_path"])
        items = _hash(frame["collection_id"]) * np.uint64(31) + _hash(frame["item_id"])
        is_item = frame["item_id"].notna().to_numpy()
        mask = np.ones(len(frame), dtype=bool)
        counts = iter(self._counts)
        next(counts).add(paths)
        if self._wanted.collections:
            mask &= masks.collection_mask(frame, self._wanted.collections)
            next(counts).add(paths[mask])
        if self._wanted.time:
            matches, lacking = masks.time_mask(frame, self._wanted.time)
            self.timeless.add(items[mask & is_item & lacking])
            mask &= matches | ~is_item
            next(counts).add(paths[mask])
        if self._place:
            matches, lacking = self._place(frame)
            self.placeless.add(items[mask & is_item & lacking])
            mask &= matches | ~is_item
            next(counts).add(paths[mask])
        self._items.add(items[mask & is_item])
        self._item_rows += int((mask & is_item).sum())
        self._paths.append(paths[mask])
        chosen = batch.filter(pa.array(mask)).select(list(Asset._fields))
        self._writer.write_batch(chosen.cast(partition_schema()))
        if self._db:
            self._db.add(frame, mask)

    def funnel(self) -> list[tuple[str, int]]:
        return [
            (name, count.count()) for name, count in zip(self._stages, self._counts, strict=True)
        ]

    def items(self) -> int:
        return self._items.count()

    def check(self, allow_empty: bool) -> None:
        """Refuse a selection without anything that the filters were about.

        A collection's own assets have no time and no place; where those are filtered, they alone
        do not make a match.
        """
        rows = self._item_rows if self._wanted.about_items else sum(map(len, self._paths))
        if rows or allow_empty:
            return
        funnel = self.funnel()
        left = ", ".join(f"{counted(count, 'file')} {name}" for name, count in funnel)
        if self._wanted.about_items and funnel[-1][1]:
            left += " (none of them an item's)"
        extra = "".join(
            f" {count:,} items have no {what}."
            for count, what in ((self.placeless.count(), "place"), (self.timeless.count(), "time"))
            if count
        )
        way = "Widen the filters." if not self._wanted.is_everything else "The catalog is empty."
        raise NothingMatches(f"Nothing to download: {left}.{extra} {way}", funnel=tuple(funnel))

    def first_rows(self) -> Mask:
        """Which rows of the selection are the first of their file.

        Equal hashes make a row a candidate, the paths themselves decide.
        """
        paths = np.concatenate(self._paths) if self._paths else np.empty(0, dtype=np.uint64)
        values, counts = np.unique(paths, return_counts=True)
        repeated = np.isin(paths, values[counts > 1])
        keep = np.ones(len(paths), dtype=bool)
        if not repeated.any():
            return keep
        seen: set[str] = set()
        offset = 0
        with pq.ParquetFile(self.selection) as file:
            for batch in file.iter_batches(columns=["save_path"]):
                rows = np.flatnonzero(repeated[offset : offset + batch.num_rows])
                for row, path in zip(
                    rows, batch.column(0).take(pa.array(rows)).to_pylist(), strict=True
                ):
                    keep[offset + row] = path not in seen
                    seen.add(path)
                offset += batch.num_rows
        return keep

    def close(self, *, keep: bool) -> None:
        self._writer.close()
        if self._db:
            self._db.close(keep=keep)


def _hash(column: pd.Series[str]) -> Hashes:
    values = column.fillna("").to_numpy(dtype=object)
    hashes: Hashes = pd.util.hash_array(values, categorize=False)
    return hashes


def _frame(batch: pa.RecordBatch) -> pd.DataFrame:
    """The columns that filters look at, with the boxes' numbers as columns of their own."""
    flat = {name: batch.column(name) for name in batch.schema.names if "bbox" not in name}
    for source, prefix in (("item_bbox", "item_"), ("bbox", "")):
        column = batch.column(source)
        numbers = dict(zip([field.name for field in column.type], column.flatten(), strict=True))
        flat.update({prefix + name: numbers[name] for name in masks.BOX_FIELDS})
    frame: pd.DataFrame = pa.table(flat).to_pandas(timestamp_as_object=False)
    return frame
