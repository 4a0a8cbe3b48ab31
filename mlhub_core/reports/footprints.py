"""Where items lie: how many footprints cover each cell of a grid, of all items and of those chosen.

The index is read a batch at a time, and what is kept is two grids and a set of hashes of limited
size, so memory does not follow the dataset.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mlhub_core.buffers import distinct, valid, values
from mlhub_core.chores import open_parquet
from mlhub_core.exceptions import StorageError
from mlhub_core.selection.partition import Partition

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Hashes = NDArray[np.uint64]
    Grid = NDArray[np.int64]

Bounds = tuple[float, float, float, float]

_BATCH_ROWS = 65_536
_COLUMNS = 240
"""Cells from west to east: each becomes some pixels, and more would not be seen."""
_MAX_SAMPLED = 1_000_000
"""Chosen items remembered at most. Of more of them every second, third … stands for the others."""
_LEAST_DEGREES = 0.02
"""The smallest extent shown: a single chip would else be a picture of itself."""


@dataclass(frozen=True, slots=True)
class Footprints:
    """Two grids over one extent, rows from north to south.

    Attributes:
        bounds: West, south, east, north, in degrees.
        everything: How many rows of the index cover each cell.
        chosen: How many of them belong to items that were selected.
    """

    bounds: Bounds
    everything: Grid
    chosen: Grid


def count_footprints(
    index: Path, partitions: tuple[Partition, ...], *, items: int, all_chosen: bool
) -> Footprints | None:
    """Count the footprints of a dataset's items, cell by cell.

    Args:
        index: The asset index, GeoParquet.
        partitions: What was selected.
        items: How many items were selected.
        all_chosen: Whether that is everything, which saves the comparison.

    Returns:
        None if nothing in the index has a place.

    Raises:
        StorageError: if a file cannot be read.
    """
    every = max(1, math.ceil(items / _MAX_SAMPLED))
    try:
        chosen = None if all_chosen else _chosen_items(partitions, every)
        # As dictionaries, an id is hashed once a batch instead of once a row.
        with open_parquet(index, read_dictionary=["collection_id", "item_id"]) as file:
            bounds = _bounds(file.metadata.metadata or {})
            if bounds is None:
                return None
            grids = _Grids(bounds)
            wanted = ["collection_id", "item_id", "item_bbox", "bbox"]
            for batch in file.iter_batches(
                batch_size=_BATCH_ROWS, columns=wanted, use_threads=False
            ):
                hashes = _item_hashes(batch)
                boxes = _boxes(batch)
                there = ~np.isnan(boxes[:, 0]) & (hashes % np.uint64(every) == 0)
                picked = there if chosen is None else there & _is_in(hashes, chosen)
                grids.add(boxes[there], boxes[picked])
            return grids.result()
    except (OSError, pa.ArrowException) as error:
        raise StorageError(f"Cannot read where the items of {index} lie: {error}.") from error


class _Grids:
    """Counts boxes by their corners: sums over both axes then give what covers each cell."""

    def __init__(self, bounds: Bounds) -> None:
        west, south, east, north = bounds
        self._bounds = bounds
        self._columns = _COLUMNS
        self._rows = max(1, round(_COLUMNS * (north - south) / (east - west)))
        shape = (self._rows + 1) * (self._columns + 1)
        self._corners = [np.zeros(shape, np.int64), np.zeros(shape, np.int64)]

    def add(self, everything: Floats, chosen: Floats) -> None:
        for corners, boxes in zip(self._corners, (everything, chosen), strict=True):
            # One that crosses the antimeridian has its west in the east: it is two boxes.
            crossing = boxes[:, 0] > boxes[:, 2]
            left, right = boxes[crossing].copy(), boxes[crossing].copy()
            left[:, 2] = 180.0
            right[:, 0] = -180.0
            self._count(corners, np.concatenate([boxes[~crossing], left, right]))

    def _count(self, corners: Grid, boxes: Floats) -> None:
        west, south, east, north = self._bounds
        x = (boxes[:, [0, 2]] - west) / (east - west) * self._columns
        y = (north - boxes[:, [3, 1]]) / (north - south) * self._rows
        x0, x1 = np.clip(x, 0, self._columns - 1).astype(np.int64).T
        y0, y1 = np.clip(y, 0, self._rows - 1).astype(np.int64).T
        width = self._columns + 1
        for rows, columns, sign in (
            (y0, x0, 1),
            (y0, x1 + 1, -1),
            (y1 + 1, x0, -1),
            (y1 + 1, x1 + 1, 1),
        ):
            corners += sign * np.bincount(rows * width + columns, minlength=len(corners))

    def result(self) -> Footprints:
        shape = (self._rows + 1, self._columns + 1)
        everything, chosen = (
            corners.reshape(shape).cumsum(axis=0).cumsum(axis=1)[:-1, :-1]
            for corners in self._corners
        )
        return Footprints(self._bounds, everything, chosen)


def _bounds(metadata: dict[bytes, bytes]) -> Bounds | None:
    """What to show: around everything that has a place, with a margin, in an agreeable shape."""
    try:
        geo: dict[str, Any] = json.loads(metadata[b"geo"])
        box = geo["columns"][geo["primary_column"]]["bbox"]
        west, south, east, north = (float(number) for number in box)
    except (KeyError, TypeError, ValueError):
        return None
    if not all(map(math.isfinite, (west, south, east, north))):
        return None
    if west > east:
        west, east = -180.0, 180.0
    width, height = (max(side * 1.1, _LEAST_DEGREES) for side in (east - west, north - south))
    width, height = max(width, height / 1.2), max(height, width / 3)
    middle_x, middle_y = (west + east) / 2, (south + north) / 2
    return (
        max(middle_x - width / 2, -180.0),
        max(middle_y - height / 2, -90.0),
        min(middle_x + width / 2, 180.0),
        min(middle_y + height / 2, 90.0),
    )


def _boxes(batch: pa.RecordBatch) -> Floats:
    """West, south, east, north of each row as its item gives them; not a number where it does not.

    The other box, which readers prune by, is as wide as the world where an item crosses the
    antimeridian.
    """
    given, covering = batch.column("item_bbox"), batch.column("bbox")
    boxes = _numbers(given)
    lacking = np.isnan(boxes[:, 0])
    boxes[lacking] = _numbers(covering)[lacking]
    return boxes


def _numbers(column: pa.StructArray) -> Floats:
    sides = [column.field(name) for name in ("xmin", "ymin", "xmax", "ymax")]
    numbers = [np.where(valid(side), values(side), np.nan) for side in sides]
    boxes = np.stack(numbers, axis=1)
    boxes[~valid(column)] = np.nan
    boxes[~np.isfinite(boxes).all(axis=1)] = np.nan
    return boxes


def _item_hashes(batch: pa.RecordBatch) -> Hashes:
    collection, item = (_hashed(batch.column(name)) for name in ("collection_id", "item_id"))
    hashes: Hashes = collection * np.uint64(31) + item
    return hashes


def _hashed(column: pa.Array) -> Hashes:
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    names = column.dictionary.to_pylist()
    # The interpreter's own hashes are the same for both passes, and cost nothing to import.
    signed = np.fromiter(map(hash, names), np.int64, len(names))
    # A collection's own assets have no item: the place behind the last stands for those.
    hashes = np.append(signed.view(np.uint64), np.uint64(0))
    codes = np.where(valid(column.indices), values(column.indices), len(names))
    by_row: Hashes = hashes[codes]
    return by_row


def _chosen_items(partitions: tuple[Partition, ...], every: int) -> Hashes:
    parts = [np.empty(0, dtype=np.uint64)]
    for hashes in _partition_hashes(partitions):
        parts.append(distinct(hashes[hashes % np.uint64(every) == 0]))
    return distinct(np.concatenate(parts))


def _partition_hashes(partitions: tuple[Partition, ...]) -> Iterator[Hashes]:
    names = ["collection_id", "item_id"]
    for partition in partitions:
        with open_parquet(partition.path, read_dictionary=names) as file:
            for batch in file.iter_batches(
                batch_size=_BATCH_ROWS, columns=names, use_threads=False
            ):
                yield _item_hashes(batch)


def _is_in(hashes: Hashes, chosen: Hashes) -> NDArray[np.bool_]:
    if not len(chosen):
        return np.zeros(len(hashes), dtype=bool)
    places = np.minimum(np.searchsorted(chosen, hashes), len(chosen) - 1)
    return np.equal(chosen[places], hashes)
