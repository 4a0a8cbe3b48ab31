"""What no row answers by itself: a sample of items, the first of them, and the sources of those.

Items are what is chosen here, so that an item's assets stay together, and a label with its
imagery. A sample depends on nothing but the ids and the seed: neither on the order of the index
nor on how it is cut.
"""

from __future__ import annotations

import hashlib
import logging
from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from mlhub_core.buffers import distinct, mask_array
from mlhub_core.selection.filters import AssetFilter
from mlhub_core.selection.index_reader import IndexReader
from mlhub_core.selection.predicates import matching
from mlhub_core.selection.rowgroup import RowGroup
from mlhub_core.selection.scan import FileCount, Scan
from mlhub_core.selection.tally import Chosen
from mlhub_core.stop import StopFlag

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]
    Ranks = NDArray[np.uint64]


log = logging.getLogger(__name__)


def narrow(
    index: IndexReader, wanted: AssetFilter, chosen: Chosen, scan: Scan, stop: StopFlag
) -> None:
    """Apply sample, limit and sources, in this order, to the rows that the filters left.

    Args:
        index: The index.
        wanted: The filter.
        chosen: The rows; changed in place.
        scan: Told of what each stage leaves.
        stop: Stops it when set.

    Raises:
        Interrupted: if stopped.
    """
    if wanted.sample is not None:
        _sample(chosen, wanted.sample, wanted.seed, stop)
        scan.narrowed("after the sample", _files(chosen))
    if wanted.limit is not None:
        _limit(chosen, wanted.limit, stop)
        scan.narrowed("after the limit", _files(chosen))
    if wanted.with_sources:
        _add_sources(index, chosen, dict(wanted.collections or ()), stop)
        scan.narrowed("with their sources", _files(chosen))


def _files(chosen: Chosen) -> int:
    count = FileCount()
    for group, mask in chosen:
        count.add(group, mask)
    return count.count()


def _sample(chosen: Chosen, size: int, seed: int, stop: StopFlag) -> None:
    ranks = _Smallest(size)
    for group, items, _ in _items(chosen, stop):
        ranks.add(np.array([rank(seed, *group.item(owner)) for owner in items], np.uint64))
    last = ranks.last()
    for group, items, mask in _items(chosen, stop):
        keep = [rank(seed, *group.item(owner)) <= last for owner in items]
        chosen.set(group, _of_items(group, mask, items[np.array(keep, bool)]))


def _limit(chosen: Chosen, size: int, stop: StopFlag) -> None:
    taken: set[tuple[str, str | None]] = set()
    for group, items, mask in _items(chosen, stop):
        keep = []
        for owner in items[_order(group, items, mask)].tolist():
            item = group.item(owner)
            if len(taken) < size:
                taken.add(item)
            if item in taken:
                keep.append(owner)
        chosen.set(group, _of_items(group, mask, np.array(keep, np.int64)))


def _order(group: RowGroup, items: NDArray[np.int64], mask: Mask) -> NDArray[np.int64]:
    """Items in the order of their first rows."""
    rows = np.flatnonzero(mask)
    owners, first = np.unique(group.owners.numbers[rows], return_index=True)
    return np.argsort(first[np.isin(owners, items)])


def _items(chosen: Chosen, stop: StopFlag) -> Iterator[tuple[RowGroup, NDArray[np.int64], Mask]]:
    """For each row group the numbers of the chosen items, and the rows; not if it has none."""
    for group, mask in chosen:  # of which only the row group at hand may be set meanwhile
        stop.check()
        rows = mask & group.is_item
        if rows.any():
            yield group, group.owners_among(rows), mask


def _of_items(group: RowGroup, mask: Mask, items: NDArray[np.int64]) -> Mask:
    """Rows of some items, and those of no item, which follow the collection filter alone."""
    keep = np.zeros(len(group.owners.items), bool)
    keep[items] = True
    kept: Mask = mask & (keep[group.owners.numbers] | ~group.is_item)
    return kept


def rank(seed: int, collection_id: str, item_id: str | None) -> int:
    """A number that depends on ids and seed alone; the smallest ones make the sample."""
    text = f"{seed}\0{collection_id}\0{item_id}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


class _Smallest:
    """Keeps the smallest of many different numbers."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept = np.empty(0, np.uint64)

    def add(self, ranks: Ranks) -> None:
        # An item's rows may lie in several row groups; it counts once.
        self._kept = distinct(np.concatenate([self._kept, ranks]))[: self._size]

    def last(self) -> int:
        return int(self._kept[-1]) if len(self._kept) else 0


def _add_sources(
    index: IndexReader, chosen: Chosen, keys: dict[str, tuple[str, ...]], stop: StopFlag
) -> None:
    """Add the rows of all items that chosen ones name as their source."""
    column = "item_path" if "item_path" in index.leaves else "item_id"  # of earlier versions
    named = _named_sources(
        chosen, "source_paths" if column == "item_path" else "source_items", stop
    )
    if not named:
        return
    by_api = _by_collection(named)
    found = False
    for group in index.groups():
        stop.check()
        if group.is_void("item_id"):
            continue
        rows = matching(group.coded(column), named) | _called(group, by_api)
        if rows.any():
            found = True
            chosen.set(group, chosen.get(group) | (rows & _listed(group, keys)))
    if not found:
        log.warning("none of the items that the selected ones name as their source is in the index")


def _named_sources(chosen: Chosen, column: str, stop: StopFlag) -> set[str]:
    """What chosen rows name as their sources."""
    named: set[str] = set()
    for group, mask in chosen:
        stop.check()
        if not group.is_void(f"{column}.list.element"):
            lists = group.column(column).filter(mask_array(mask))
            named.update(lists.flatten().unique().drop_null().to_pylist())
    return named


def _by_collection(named: set[str]) -> dict[str, set[str]]:
    """Ids of items by those of their collections, where a STAC API's URL names them."""
    found: dict[str, set[str]] = defaultdict(set)
    for name in named:
        start, collection, middle, item = [*name.split("/"), *[""] * 3][:4]
        if (start, middle, name.count("/")) == ("collections", "items", 3):
            found[collection].add(item)
    return found


def _called(group: RowGroup, by_collection: dict[str, set[str]]) -> Mask:
    """Rows of items that are named by their ids and those of their collections."""
    mask = np.zeros(group.rows, bool)
    if by_collection:
        collections = group.coded("collection_id")
        for code, collection in enumerate(collections.values):
            if ids := by_collection.get(collection):
                here = collections.codes == code
                mask |= here & matching(group.coded("item_id"), ids)
    return mask


def _listed(group: RowGroup, keys: dict[str, tuple[str, ...]]) -> Mask:
    """Rows whose asset key the collection filter lists, where it names keys of the collection."""
    mask = np.ones(group.rows, bool)
    collections = group.coded("collection_id")
    for code, collection in enumerate(collections.values):
        if names := keys.get(collection):
            here = collections.codes == code
            mask &= ~here | matching(group.coded("asset_key"), set(names))
    return mask
