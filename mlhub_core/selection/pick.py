"""Picks assets out of the index by name, however many there are, and cuts them into partitions."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mlhub_core.chores import open_parquet
from mlhub_core.exceptions import InvalidArgument, StorageError
from mlhub_core.index.schema import conform
from mlhub_core.selection.cut import cut
from mlhub_core.selection.partition import COLUMNS, Partition, partition_schema
from mlhub_core.stop import StopFlag

Key = tuple[str, ...]

PATH_KEY = ("save_path",)
"""Columns to pick by, where files are named by their place."""
ASSET_KEY = ("collection_id", "item_id", "asset_key")
"""Columns to pick by, where assets are named; a collection's own has an empty item."""

_AT_A_TIME = 500_000
"""Names looked for in one pass over the index."""
_BATCH_ROWS = 65_536
_SEPARATOR = "\x1f"


@dataclass(frozen=True, slots=True)
class Picked:
    """What was found of what was asked for.

    Attributes:
        partitions: The files, each once, in partitions of similar weight.
        wanted: Names asked for.
        files: Different files in the partitions.
        carried: Files that have no URL: they come out of the catalog archive.
        assets: Hashes of the :data:`ASSET_KEY` of every row that was found.
    """

    partitions: tuple[Partition, ...] = ()
    wanted: int = 0
    files: int = 0
    carried: int = 0
    assets: set[int] = field(default_factory=set, repr=False)

    def holds(self, collection_id: str, item_id: str, asset_key: str) -> bool:
        """Whether an asset is among those found."""
        return hash((collection_id, item_id, asset_key)) in self.assets


def pick_assets(
    index: Path,
    names: Iterable[Key],
    columns: Key,
    directory: Path,
    *,
    workers: int = 2,
    carried: bool = True,
    stop: StopFlag | None = None,
) -> Picked:
    """Find assets in the index, and cut them into partitions.

    Args:
        index: The asset index, GeoParquet.
        names: What to find: the values of ``columns``.
        columns: :data:`PATH_KEY` or :data:`ASSET_KEY`.
        directory: Where the partitions go; replaced.
        workers: Partitions that will run at a time.
        carried: Whether files that come out of the catalog archive are wanted too.
        stop: Looked at now and then.

    Raises:
        InvalidArgument: if there is no index.
        StorageError: if the disk refuses.
        Interrupted: if stopped.
    """
    if not index.is_file():
        raise InvalidArgument(
            f"{index} is not here, and where the files come from stands in it: run the download "
            "again, which makes it anew."
        )
    try:
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        picker = _Picker(directory / "selection.parquet", columns, carried, stop or StopFlag())
        try:
            remaining = iter(names)
            while chunk := list(islice(remaining, _AT_A_TIME)):
                picker.run(index, chunk)
        finally:
            picker.close()
        return picker.result(directory, workers)
    except (OSError, pa.ArrowException) as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(
            f"Cannot pick files out of {index}: {error}. Make room if the disk is full; else "
            "run the download again, which makes the index anew."
        ) from error


def without_tried(
    index: Path, partitions: Iterable[Partition], rows: Iterable[list[str]], key: slice
) -> Iterator[list[str]]:
    """Leave out rows about assets whose files are in a partition, whichever item names the file.

    Args:
        index: The asset index.
        partitions: What was tried.
        rows: Such as those of ``err_report.csv``.
        key: Where a row has its :data:`ASSET_KEY`.
    """
    tried = [partition.path for partition in partitions]
    remaining = iter(rows)
    while chunk := list(islice(remaining, _AT_A_TIME)):
        names = {_joined(tuple(row[key])) for row in chunk}
        places = dict(_found(index, ASSET_KEY, names))
        done = {place for path in tried for place, _ in _found(path, PATH_KEY, places.values())}
        yield from (row for row in chunk if places.get(_joined(tuple(row[key]))) not in done)


def _found(path: Path, columns: Key, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Of the rows of an index or a partition that are asked for by name: name and save path."""
    wanted = pa.array(names, pa.string())
    with open_parquet(path) as file:
        for batch in file.iter_batches(
            batch_size=_BATCH_ROWS, columns=[*columns, *PATH_KEY], use_threads=False
        ):
            found = _names(batch, columns)
            mask = pc.is_in(found, value_set=wanted)
            places = batch.column("save_path").filter(mask).to_pylist()
            yield from zip(found.filter(mask).to_pylist(), places, strict=True)


def _names(batch: pa.RecordBatch, columns: Key) -> pa.Array:
    parts = [pc.fill_null(batch.column(name), "") for name in columns]
    return pc.binary_join_element_wise(*parts, _SEPARATOR) if len(parts) > 1 else parts[0]


class _Picker:
    def __init__(self, selection: Path, columns: Key, take_carried: bool, stop: StopFlag) -> None:
        self._selection = selection
        self._columns = columns
        self._take_carried = take_carried
        self._stop = stop
        self._writer = pq.ParquetWriter(selection, partition_schema(), compression="zstd")
        self._places: set[int] = set()
        self._assets: set[int] = set()
        self._wanted = self._carried = 0

    def run(self, index: Path, names: list[Key]) -> None:
        self._wanted += len(names)
        # As one text each, because Arrow looks up texts only.
        wanted = pa.array({_joined(name) for name in names}, pa.string())
        with open_parquet(index) as file:
            for batch in file.iter_batches(
                batch_size=_BATCH_ROWS, columns=list(COLUMNS), use_threads=False
            ):
                self._stop.check()
                mask = pc.is_in(_names(batch, self._columns), value_set=wanted)
                if pc.any(mask).as_py():
                    self._write(pa.Table.from_batches([batch.filter(mask)]))

    def _write(self, rows: pa.Table) -> None:
        keep = [self._take(row) for row in rows.to_pylist()]
        self._writer.write_table(conform(rows.filter(pa.array(keep)), partition_schema()))

    def _take(self, row: dict[str, Any]) -> bool:
        """Whether a row goes into the partitions: the first of its file does."""
        carried = "://" not in row["href"]
        if carried and not self._take_carried:
            return False
        self._assets.add(hash((row["collection_id"], row["item_id"] or "", row["asset_key"])))
        place = hash(row["save_path"])
        if place in self._places:
            return False
        self._places.add(place)
        self._carried += carried
        return True

    def close(self) -> None:
        self._writer.close()

    def result(self, directory: Path, workers: int) -> Picked:
        files = len(self._places)
        partitions: tuple[Partition, ...] = ()
        if files:
            partitions = cut(self._selection, directory, np.ones(files, dtype=bool), workers)
        self._selection.unlink()
        return Picked(partitions, self._wanted, files, self._carried, self._assets)


def _joined(name: Key) -> str:
    return _SEPARATOR.join(name)
