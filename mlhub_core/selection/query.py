"""The query: filters over the asset index, a row group at a time, and the plan that comes of it.

The first pass looks at what the filters need and keeps a bit for each row; the second reads the
rest of the rows that are left, straight into partition files.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mlhub_core.buffers import mask_array
from mlhub_core.chores import Chores
from mlhub_core.exceptions import StorageError
from mlhub_core.index.schema import IDENTITY_KEY
from mlhub_core.progress import Progress, ProgressSink, Stage, ignore
from mlhub_core.selection.ahead import HELD_ROWS, ReadAhead, chosen_rows
from mlhub_core.selection.asset_db import is_current, write_asset_db
from mlhub_core.selection.cut import Cutter, weights
from mlhub_core.selection.filters import AssetFilter
from mlhub_core.selection.index_reader import IndexReader, open_index, telling
from mlhub_core.selection.partition import Partition
from mlhub_core.selection.plan import PLAN_NAME, Plan, partition_count
from mlhub_core.selection.rowgroup import RowGroup, coded, in_one
from mlhub_core.selection.saved import reusable, seal
from mlhub_core.selection.scan import Scan
from mlhub_core.selection.tally import Chosen, FirstOfFile, Tally
from mlhub_core.stop import StopFlag

PLAN_VERSION = 1
"""Raised whenever the same index and filter give another plan: older ones are then made anew."""


def plan_assets(
    dataset_id: str,
    index: Path,
    wanted: AssetFilter,
    directory: Path,
    *,
    workers: int = 2,
    asset_db: Path | None = None,
    chores: Chores | None = None,
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
        chores: What writes that table, later; None to write it before the plan is returned.
        allow_empty: Whether a filter that leaves nothing is fine.
        stop: Stops the query when set.
        on_progress: Gets rows of the index, as ``Stage.FILTER``.

    Raises:
        NothingMatches: if the filters leave nothing; says how many were left after each.
        InvalidArgument: if ``index`` is no asset index.
        StorageError: if the disk refuses.
        Interrupted: if stopped.
    """
    stop = stop or StopFlag()
    with telling(index, f"{directory} cannot be written"):
        made_from = identity(index, wanted, workers)
        plan = reusable(directory / PLAN_NAME, made_from)
        if plan and (asset_db is None or is_current(asset_db, made_from)):
            rows = plan.funnel[0][1]
            on_progress(Progress(Stage.FILTER, rows, rows, finished=True))
            return plan
        with IndexReader(index) as reader, ReadAhead(reader) as ahead:
            query = Query(reader, wanted, allow_empty, stop, on_progress, ahead)
            empty = Plan(dataset_id, directory, (), 0, 0, 0, 0, (), made_from=made_from)
            plan = _make(query, empty, workers)
    if asset_db is not None:
        chosen, table = query.chosen, asset_db

        def write(stop: StopFlag) -> None:
            with telling(index, f"{table} cannot be written"), IndexReader(index) as reader:
                write_asset_db(table, reader, chosen, made_from, stop)

        if chores is None:
            write(stop)
        else:
            chores.add(write)
    return plan


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


class Query:
    """The first pass: which rows there are, and what they add up to.

    Args:
        index: The index.
        wanted: The filter.
        allow_empty: Whether a filter that leaves nothing is fine.
        stop: Stops it when set.
        on_progress: Gets rows of the index.
        ahead: Told of the rows as they are found, if their files are wanted afterwards.

    Attributes:
        chosen: The rows.
        tally: What they add up to.
        scan: Knows what was left after each filter.
    """

    def __init__(
        self,
        index: IndexReader,
        wanted: AssetFilter,
        allow_empty: bool,
        stop: StopFlag,
        on_progress: ProgressSink,
        ahead: ReadAhead | None = None,
    ) -> None:
        self.index = index
        self.ahead = ahead
        self.stop = stop
        self._wanted = wanted
        self._allow_empty = allow_empty
        self.scan = Scan(index, wanted, stop, on_progress)
        self.chosen = Chosen(index)
        self.tally = Tally()
        self._firsts = FirstOfFile()
        self._unnamed: list[int] = []

    def run(self) -> None:
        """Find the rows.

        Raises:
            NothingMatches: if there are none.
        """
        for group, mask in self.scan.matches():
            self.chosen.set(group, mask)
            if not self._wanted.narrows:
                self._take(group, mask)
        if self._wanted.narrows:
            from mlhub_core.selection.narrow import narrow

            narrow(self.index, self._wanted, self.chosen, self.scan, self.stop)
            for group, mask in self.chosen:
                self._take(group, mask)
        self._count_items()
        # A collection's own assets have no time and no place; where those are filtered, they
        # alone do not make a match.
        rows = self.tally.item_rows if self._wanted.about_items else self.tally.rows
        if not rows and not self._allow_empty:
            raise self.scan.nothing()

    def _take(self, group: RowGroup, mask: Any) -> None:
        if self.ahead is not None and self.ahead.begin(group, mask):
            if self.tally.add_extent(group, mask):
                self._unnamed.append(group.number)
        else:
            self.tally.add(group, mask)
        self._firsts.add(group, mask)

    def _count_items(self) -> None:
        """Count the items of rows that are read ahead: their ids need not be read twice."""
        for number in self._unnamed:
            assert self.ahead is not None
            rows = self.ahead.look(number)
            collections, items = (
                coded(in_one(rows.column(name))) for name in ("collection_id", "item_id")
            )
            self.tally.add_items(collections, items, np.ones(rows.num_rows, bool))

    def files(self) -> tuple[Chosen, int]:
        """The rows without the second and further ones of a file, and how many they are."""
        files = self.chosen.copy()
        return files, self.tally.rows - self._firsts.drop_others(files)


def _make(query: Query, plan: Plan, workers: int) -> Plan:
    shutil.rmtree(plan.directory, ignore_errors=True)
    plan.directory.mkdir(parents=True, exist_ok=True)
    query.run()
    files, count = query.files()
    partitions = _write(query, files, count, plan.directory, workers)
    plan = replace(
        plan,
        partitions=partitions,
        files=count,
        items=query.tally.items,
        known_bytes=sum(part.known_bytes for part in partitions),
        unknown_sizes=sum(part.unknown_sizes for part in partitions),
        funnel=query.scan.funnel(),
        without_place=query.scan.without_place,
        without_time=query.scan.without_time,
        collections=query.tally.collections(),
        span=query.tally.span,
        box=query.tally.box,
        seals=tuple(seal(part.path) for part in partitions),
    )
    plan.save()
    return plan


def _write(
    query: Query, files: Chosen, count: int, directory: Path, workers: int
) -> tuple[Partition, ...]:
    if not count:
        return ()
    rows: Iterable[pa.Table] = _rows(query, files)
    if count <= HELD_ROWS:
        held = pa.concat_tables(rows)
        weight = float(weights(in_one(held.column("file_size"))).sum())
        rows = [held]
    else:
        weight = _weight(files)
    cutter = Cutter(directory, partition_count(count, workers), weight)
    try:
        for part in rows:
            cutter.add(part)
        return cutter.close()
    except BaseException:
        cutter.abandon()
        raise


def _rows(query: Query, files: Chosen) -> Iterator[pa.Table]:
    """What partitions list, a row group at a time."""
    for group, mask in files:
        query.stop.check()
        there = query.ahead.take(group.number, mask) if query.ahead else None
        yield chosen_rows(query.index, group.number, mask) if there is None else there


def _weight(files: Chosen) -> float:
    """What all files together weigh."""
    total = 0.0
    for group, mask in files:
        if group.is_void("file_size"):
            sizes = pa.nulls(int(np.count_nonzero(mask)), pa.int64())
        else:
            sizes = group.column("file_size").filter(mask_array(mask))
        total += float(weights(sizes).sum())
    return total
