"""The query engine: which rows of an asset index match, and what they add up to.

``pyarrow.dataset`` leaves out the row groups of which the statistics say that nothing in them can
match, and compares numbers and texts; what it cannot decide is decided for the items of a batch,
once each: shapes by GeoPandas, conditions by ``cql2``. What is kept of all that is a truth value
for each row of the row groups that have matches.
"""

from __future__ import annotations

import hashlib
import logging
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlhub_core.exceptions import NothingMatches
from mlhub_core.index.findings import count_distinct
from mlhub_core.index.schema import BOX_FIELDS, IDENTITY_KEY
from mlhub_core.progress import Progress, ProgressSink, Stage, ignore
from mlhub_core.selection.conditions import (
    Condition,
    all_of,
    by_item,
    conditions,
    either,
    first_rows,
    is_among,
    is_any_item,
    is_true,
    listed,
)
from mlhub_core.selection.filters import AssetFilter
from mlhub_core.selection.index_reader import Group, IndexReader
from mlhub_core.selection.partition import (
    COLUMNS,
    Partition,
    partition_count,
    weights,
    write_partitions,
)
from mlhub_core.selection.plan import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]
    Numbers = NDArray[np.int64]

log = logging.getLogger(__name__)

IDS = ["collection_id", "item_id"]
_MOMENTS = ["datetime", "start_datetime", "end_datetime"]
_EXTENT = [*_MOMENTS, "bbox"]


@dataclass
class Summary:
    """What the matching rows add up to.

    Attributes:
        rows: How many there are.
        item_rows: How many of them belong to items.
        files: How many different files they are.
        weight: What these weigh, for partitions.
        by_collection: Hashes of the items of each collection.
        licenses: Of each collection, by id: those of the collection or its items.
        moments: First and last ones of some items.
        boxes: Around some items.
    """

    rows: int = 0
    item_rows: int = 0
    files: int = 0
    weight: float = 0.0
    by_collection: dict[str, array[int]] = field(default_factory=lambda: defaultdict(_hashes))
    licenses: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    moments: list[int] = field(default_factory=list)
    boxes: list[tuple[float, float, float, float]] = field(default_factory=list)

    @property
    def collections(self) -> tuple[tuple[str, int], ...]:
        """Different items of each collection, by id."""
        found = sorted(self.by_collection.items())
        return tuple((name, count_distinct(hashes)) for name, hashes in found)

    @property
    def items(self) -> int:
        """Different items."""
        return sum(count for _, count in self.collections)

    @property
    def span(self) -> tuple[int, int] | None:
        """First and last moment of the items, in microseconds since 1970; None without any."""
        return (min(self.moments), max(self.moments)) if self.moments else None

    @property
    def box(self) -> tuple[float, float, float, float] | None:
        """West, south, east, north around the items; None without any place."""
        if not self.boxes:
            return None
        west, south, east, north = zip(*self.boxes, strict=True)
        # No -0.0.
        return min(west) + 0.0, min(south) + 0.0, max(east) + 0.0, max(north) + 0.0

    def add(self, rows: pa.RecordBatch, is_file: Mask) -> None:
        """Take some rows, of which those count as files that are the first of theirs."""
        self.rows += rows.num_rows
        sizes = rows.column("file_size").filter(is_file)
        self.files += len(sizes)
        self.weight += float(weights(sizes).sum())
        rows = rows.filter(rows.column("item_id").is_valid())
        self.item_rows += rows.num_rows
        if not rows.num_rows:
            return
        items = first_rows(rows)
        for collection, item in _names(items):
            self.by_collection[collection].append(hash(item))
        for collection, name in _pairs(items, ["collection_id", "license"]):
            if name is not None:
                self.licenses[collection].add(name)
        for name in _MOMENTS:
            edges = pc.min_max(items.column(name).view(pa.int64())).as_py().values()
            self.moments += [edge for edge in edges if edge is not None]
        sides = [pc.struct_field(items.column("bbox"), name) for name in BOX_FIELDS]
        west, south = (pc.min(side).as_py() for side in sides[:2])
        east, north = (pc.max(side).as_py() for side in sides[2:])
        if west is not None:
            self.boxes.append((west, south, east, north))


def _hashes() -> array[int]:
    """Some of 64 bits: eight bytes each, whatever the length of the texts."""
    return array("q")


class Query:
    """One filter over one index.

    Args:
        index: The index.
        wanted: The filter.
        on_progress: Gets rows of the index, as ``Stage.FILTER``.

    Attributes:
        index: The index.
        chosen: For each row of the index whether it matches.
        files: The same without the second and further rows of a file.
        summary: What the matching rows add up to.
    """

    files: Mask
    summary: Summary

    def __init__(
        self,
        index: IndexReader,
        wanted: AssetFilter,
        on_progress: ProgressSink = ignore,
    ) -> None:
        self.index = index
        self.chosen: Mask = np.zeros(index.rows, bool)
        self._wanted = wanted
        self._on_progress = on_progress
        self._conditions = conditions(wanted, index)
        self._stages: list[Mask] = []
        self._narrowed: list[tuple[str, int]] = []
        # Row groups in which something may be left after each filter: ever fewer.
        self._left = [index.groups()]

    def run(self, *, allow_empty: bool = False) -> None:
        """Find the rows.

        Args:
            allow_empty: Whether it is fine that there are none.

        Raises:
            NothingMatches: if there are none; says how many were left after each filter.
            Interrupted: if stopped.
        """
        self._search()
        self._narrow()
        self.add_up()
        # A collection's own assets have no time and no place: where those are filtered, they
        # alone do not make a match.
        found = self.summary.item_rows if self._wanted.about_items else self.summary.rows
        if not found and not allow_empty:
            raise self._nothing()

    def add_up(self) -> None:
        """Find out what the chosen rows add up to."""
        self.files = self._without_others(self.chosen)
        self.summary = Summary()
        columns = [*IDS, *_EXTENT, "file_size", "license"]
        for places, rows in self._chosen_rows(columns, self.chosen):
            self.summary.add(rows, self.files[places])

    def _search(self) -> None:
        """Find the rows that are left after each filter."""
        total, wanted = self.index.rows, self._conditions
        self._stages = [np.zeros(total, bool) for _ in wanted]
        for condition in wanted:
            self._left.append(self.index.groups(condition.where, self._left[-1]))
        filters_of = Counter(group for groups in self._left[1:] for group in groups)
        for group, depth in filters_of.items():
            self._look(group, wanted[:depth])
            self._on_progress(Progress(Stage.FILTER, group.end, total))
        self._on_progress(Progress(Stage.FILTER, total, total, finished=True))
        self.chosen = self._stages[-1].copy() if wanted else np.ones(total, bool)

    def _look(self, group: Group, wanted: list[Condition]) -> None:
        """Find the rows of a row group that some of the filters leave."""
        columns = {name: pc.field(name) for condition in wanted for name in condition.columns}
        columns |= {f"_{number}": condition.where for number, condition in enumerate(wanted)}
        for first, batch in self.index.compute(columns, [group]):
            mask = np.ones(batch.num_rows, bool)
            for number, condition in enumerate(wanted):
                mask &= is_true(batch.column(f"_{number}"))
                if condition.asks is not None and mask.any():
                    mask[mask] = condition.asks(batch.filter(mask))
                self._stages[number][first : first + len(mask)] = mask

    # What matches

    def rows(self, columns: list[str], chosen: Mask | None = None) -> Iterator[pa.RecordBatch]:
        """The matching rows, in the order of the index, a batch at a time.

        Args:
            columns: What to read of them.
            chosen: Which rows; by default all that match.
        """
        for _, rows in self._chosen_rows(columns, self.chosen if chosen is None else chosen):
            yield rows

    def _chosen_rows(
        self, columns: list[str], chosen: Mask
    ) -> Iterator[tuple[Numbers, pa.RecordBatch]]:
        """Some rows, and their places in the index."""
        groups = [one for one in self.index.groups() if chosen[one.first : one.end].any()]
        for first, batch in self.index.scan(columns, groups):
            wanted = chosen[first : first + batch.num_rows]
            if wanted.any():
                yield first + np.flatnonzero(wanted), batch.filter(wanted)

    @cached_property
    def _shared(self) -> tuple[Numbers, Numbers]:
        """Places of the rows that may share files, and the same number for each row of a file."""
        places, hashes, others = [np.empty(0, np.int64)], _hashes(), _hashes()
        groups = [group for group in self.index.groups() if group.shares_files]
        for first, rows in self.index.scan(["common_asset", "save_path"], groups):
            mask = np.ones(rows.num_rows, bool)
            if self.index.paths_differ:
                mask = is_true(rows.column("common_asset"))
            paths = rows.column("save_path").filter(mask).to_pylist()
            places.append(first + np.flatnonzero(mask))
            # 64 bits may be the same for two paths by chance; 128 are not.
            hashes.extend(map(hash, paths))
            others.extend(hash(path + "/") for path in paths)
        one, other = (np.unique(found, return_inverse=True)[1] for found in (hashes, others))
        return np.concatenate(places), one * len(one) + other

    def _without_others(self, chosen: Mask) -> Mask:
        """Some rows without the second and further ones of a file."""
        places, numbers = self._shared
        there = chosen[places]
        _, first = np.unique(numbers[there], return_index=True)
        files = chosen.copy()
        files[places] = False
        files[places[there][first]] = True
        return files

    def cut(self, directory: Path, workers: int) -> tuple[Partition, ...]:
        """Write the files to partition files of similar weight.

        Args:
            directory: Where they go; it exists.
            workers: Partitions that will run at a time.
        """
        count = partition_count(self.summary.files, workers)
        rows = self.rows(list(COLUMNS), self.files)
        return write_partitions(rows, directory, count, self.summary.weight)

    # What was left out

    def funnel(self) -> tuple[tuple[str, int], ...]:
        """How many different files were left after each filter, the whole dataset first."""
        made_from = self.index.noted(IDENTITY_KEY)
        is_part = isinstance(made_from, dict) and made_from.get("left_out")
        whole = "that the source has for these filters" if is_part else "in the dataset"
        left = [(whole, self._count_files(np.ones(self.index.rows, bool)))]
        for condition, stage in zip(self._conditions, self._stages, strict=True):
            left.append((condition.name, self._count_files(stage)))
        return (*left, *self._narrowed)

    def _count_files(self, chosen: Mask) -> int:
        return int(np.count_nonzero(self._without_others(chosen)))

    def lacking(self, what: str) -> int:
        """Items that a filter left out because they have no ``place``, or no ``time``."""
        items = _hashes()
        for number, condition in enumerate(self._conditions):
            if condition.lacking is None or condition.about != what:
                continue
            where = all_of(self._conditions[:number]) & is_any_item() & condition.lacking
            columns = {name: pc.field(name) for name in IDS} | {"_lacking": where}
            groups = self.index.groups(condition.lacking, self._left[number])
            for _, batch in self.index.compute(columns, groups):
                lacking = is_true(batch.column("_lacking"))
                items.extend(map(hash, _names(_items(batch.filter(lacking)))))
        return count_distinct(items)

    def _nothing(self) -> NothingMatches:
        """The error for a selection that nothing is left of."""
        funnel = self.funnel()
        left = ", ".join(f"{counted(count, 'file')} {name}" for name, count in funnel)
        if self._wanted.about_items and funnel[-1][1]:
            left += " (none of them an item's)"
        extra = "".join(
            f" {count:,} items have no {what}."
            for what in ("place", "time")
            if (count := self.lacking(what))
        )
        extra += "".join(condition.complaint() for condition in self._conditions)
        way = "Widen the filters." if not self._wanted.is_everything else "The catalog has none."
        return NothingMatches(f"Nothing to download: {left}.{extra} {way}", funnel=funnel)

    # What no row answers by itself

    def _narrow(self) -> None:
        """Apply sample, limit and sources, in this order.

        Items are what is chosen here, so that an item's assets stay together, and a label with its
        imagery; a collection's own assets stay.
        """
        wanted = self._wanted
        if wanted.sample is not None:
            self._sample(wanted.sample, wanted.seed)
            self._narrowed.append(("after the sample", self._count_files(self.chosen)))
        if wanted.limit is not None:
            self._limit(wanted.limit)
            self._narrowed.append(("after the limit", self._count_files(self.chosen)))
        if wanted.with_sources:
            self._add_sources(dict(wanted.collections or ()))
            self._narrowed.append(("with their sources", self._count_files(self.chosen)))

    def _sample(self, size: int, seed: int) -> None:
        smallest = np.empty(0, np.uint64)
        for rows in self.rows(IDS):
            names = _names(_items(rows))
            ranks = np.array([rank(seed, *name) for name in names], np.uint64)
            # An item's rows may lie in several batches; it counts once.
            smallest = np.unique(np.concatenate([smallest, ranks]))[:size]
        last = int(smallest[-1]) if len(smallest) else 0
        self._keep_items(lambda names: [rank(seed, *name) <= last for name in names])

    def _limit(self, size: int) -> None:
        taken: set[tuple[str, str]] = set()

        def keep(names: list[tuple[str, str]]) -> list[bool]:
            for name in names:
                if len(taken) < size:
                    taken.add(name)
            return [name in taken for name in names]

        self._keep_items(keep)

    def _keep_items(self, keep: Callable[[list[tuple[str, str]]], list[bool]]) -> None:
        """Let go of items; ``keep`` is asked of those of a batch in their order."""
        for places, rows in self._chosen_rows(IDS, self.chosen):
            kept = by_item(rows, lambda items: np.array(keep(_names(items)), bool))
            self.chosen[places[~kept]] = False

    def _add_sources(self, keys: dict[str, tuple[str, ...]]) -> None:
        """Add the rows of all items that chosen ones name as their source."""
        is_young = self.index.has("item_path")  # else of an earlier version
        names = ["item_path"] if is_young else ["item_id"]
        if self.index.has("item_url"):
            names.append("item_url")
        named: set[str] = set()
        column = "source_paths" if is_young else "source_items"
        for rows in self.rows([column]):
            named.update(rows.column(column).flatten().unique().drop_null().to_pylist())
        if not named:
            return
        is_source = is_any_item() & either(
            [*(is_among(name, named) for name in names), *_by_collection(named)]
        )
        found = False
        columns = {"_source": is_source, "_listed": listed(keys)}
        for first, batch in self.index.compute(columns, self.index.groups(is_source)):
            source, is_listed = (is_true(batch.column(name)) for name in columns)
            found = found or bool(source.any())
            self.chosen[first : first + len(source)] |= source & is_listed
        if not found:
            log.warning(
                "none of the items that the selected ones name as their source is in the index"
            )


def rank(seed: int, collection_id: str, item_id: str | None) -> int:
    """A number that depends on ids and seed alone; the smallest ones make the sample."""
    text = f"{seed}\0{collection_id}\0{item_id}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def _items(rows: pa.RecordBatch) -> pa.RecordBatch:
    """The first row of each item."""
    items = first_rows(rows)
    return items.filter(items.column("item_id").is_valid())


def _names(items: pa.RecordBatch) -> list[tuple[str, str]]:
    return list(zip(*(items.column(name).to_pylist() for name in IDS), strict=True))


def _pairs(rows: pa.RecordBatch, names: list[str]) -> set[tuple[Any, ...]]:
    """The different pairs of values of two columns."""
    found = pa.Table.from_batches([rows.select(names)]).group_by(names, use_threads=False)
    return set(zip(*(column.to_pylist() for column in found.aggregate([]).columns), strict=True))


def _by_collection(named: set[str]) -> list[pc.Expression]:
    """Items by their ids and those of their collections, where a STAC API's URL names them."""
    found: dict[str, set[str]] = defaultdict(set)
    for name in named:
        start, collection, middle, item = [*name.split("/"), *[""] * 3][:4]
        if (start, middle, name.count("/")) == ("collections", "items", 3):
            found[collection].add(item)
    return [
        (pc.field("collection_id") == collection) & is_among("item_id", items)
        for collection, items in found.items()
    ]
