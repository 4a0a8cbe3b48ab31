"""The footprints of a selection among those of all items, counted for a map.

The index is read twice, a batch at a time: for where the selection is, and for what covers it.
What is held is two grids, a hash of each chosen item, and a byte for each item.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mlhub_core.index.findings import membership
from mlhub_core.selection.conditions import first_rows, item_boxes
from mlhub_core.selection.index_reader import IndexReader, open_index
from mlhub_core.selection.partition import Partition
from mlhub_core.threads import open_parquet
from mlhub_core.views.extent import Extent, around
from mlhub_core.views.map import Footprints, Grids

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]
    Choose = Callable[[pa.RecordBatch], Mask]

_IDS = ["collection_id", "item_id"]


def count_footprints(
    index: Path, partitions: tuple[Partition, ...], *, all_chosen: bool
) -> Footprints | None:
    """Count the footprints of a dataset's items, cell by cell, around those that were selected.

    Args:
        index: The asset index, GeoParquet.
        partitions: What was selected.
        all_chosen: Whether that is everything, which saves the comparison.

    Returns:
        None if nothing in the index has a place.

    Raises:
        InvalidArgument: if there is no such index.
        StorageError: if a file cannot be read.
    """
    with open_index(index) as reader:
        if all_chosen:
            return footprints_of(reader, every)
        chosen = array("q")
        for partition in partitions:
            with open_parquet(partition.path) as file:
                for rows in file.iter_batches(columns=_IDS, use_threads=False):
                    chosen.extend(item_hashes(rows))
        return footprints_of(reader, among(chosen))


def every(items: pa.RecordBatch) -> Mask:
    """All of some items."""
    return np.ones(len(items), bool)


def among(hashes: array[int]) -> Choose:
    """Whether items are of those with some hashes.

    Args:
        hashes: Of :func:`item_hashes`.
    """
    is_chosen = membership(hashes)
    return lambda items: np.fromiter(map(is_chosen, _hashes(items)), bool, len(items))


def item_hashes(rows: pa.RecordBatch) -> Iterator[int]:
    """A hash for each item that rows are of."""
    return _hashes(first_rows(rows.filter(rows.column("item_id").is_valid())))


def _hashes(items: pa.RecordBatch) -> Iterator[int]:
    return map(hash, zip(*(items.column(name).to_pylist() for name in _IDS), strict=True))


def footprints_of(reader: IndexReader, choose: Choose) -> Footprints | None:
    """As :func:`count_footprints`.

    Args:
        reader: The index.
        choose: Which of some items were selected.
    """
    everything, selected = Extent(), Extent()
    picked: list[Mask] = []
    for items, boxes in _items(reader):
        there = np.isfinite(boxes).all(axis=1)
        picked.append(there & choose(items))
        everything.add(boxes[there])
        selected.add(boxes[picked[-1]])
    box = selected.box() or everything.box()
    if box is None:
        return None
    grids = Grids(around(box))
    for (_, boxes), chosen in zip(_items(reader), picked, strict=True):
        grids.add(boxes[np.isfinite(boxes).all(axis=1)], boxes[chosen])
    return grids.result()


def _items(reader: IndexReader) -> Iterator[tuple[pa.RecordBatch, NDArray[np.float64]]]:
    for _, rows in reader.scan([*_IDS, "item_bbox", "bbox"]):
        items = first_rows(rows)
        yield items, item_boxes(items).T
