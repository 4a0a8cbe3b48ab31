"""What a selection adds up to: its rows as one bit each, its items, span of time and box."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from mlhub_core.buffers import distinct, number_array, values
from mlhub_core.index.schema import BOX_FIELDS
from mlhub_core.selection.index_reader import IndexReader
from mlhub_core.selection.owners import Coded, items_among
from mlhub_core.selection.rowgroup import RowGroup
from mlhub_core.selection.scan import Distinct, may_share
from mlhub_core.selection.spatial import BBox

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]


class Chosen:
    """Rows of an index, one bit each."""

    def __init__(self, index: IndexReader) -> None:
        self._index = index
        self._bits: dict[int, NDArray[np.uint8]] = {}

    def set(self, group: RowGroup, mask: Mask) -> None:
        """Note which rows of a row group are chosen."""
        self._bits.pop(group.number, None)
        if mask.any():
            self._bits[group.number] = np.packbits(mask)

    def get(self, group: RowGroup) -> Mask:
        """Which rows of a row group are chosen."""
        bits = self._bits.get(group.number)
        if bits is None:
            return np.zeros(group.rows, bool)
        return np.unpackbits(bits, count=group.rows).astype(bool)

    def copy(self) -> Chosen:
        """The same rows, to be changed by themselves."""
        other = Chosen(self._index)
        other._bits = dict(self._bits)
        return other

    def __iter__(self) -> Iterator[tuple[RowGroup, Mask]]:
        """The row groups that have chosen rows, in order."""
        for group in self._index.groups():
            if group.number in self._bits:
                yield group, self.get(group)

    def __contains__(self, group: RowGroup) -> bool:
        return group.number in self._bits


class Tally:
    """Adds up the rows of a selection.

    Attributes:
        item_rows: Rows of items.
        rows: All rows.
    """

    def __init__(self) -> None:
        self._items: dict[str, Distinct] = {}
        self._first: int | None = None
        self._last: int | None = None
        self._boxes: list[BBox] = []
        self.item_rows = self.rows = 0

    def add(self, group: RowGroup, mask: Mask) -> None:
        """Take the chosen rows of a row group."""
        if self.add_extent(group, mask):
            self.add_items(group.coded("collection_id"), group.coded("item_id"), mask)

    def add_extent(self, group: RowGroup, mask: Mask) -> int:
        """Take the chosen rows of a row group, but for whose they are.

        Returns:
            How many of them are rows of items.
        """
        items = mask & group.is_item
        count = int(items.sum())
        self.rows += int(mask.sum())
        self.item_rows += count
        if count:
            whole = count == group.rows
            self._add_times(group, items, whole)
            self._add_boxes(group, items, whole)
        return count

    def add_items(self, collections: Coded, items: Coded, mask: Mask) -> None:
        """Take the items of chosen rows, by the columns of ids."""
        found = items_among(collections, items, mask & (items.codes >= 0))
        for code in distinct(found.collections).tolist():
            here = found.collections == code
            name = collections.values[code]
            self._items.setdefault(name, Distinct()).add(found.hashes[here])

    def _add_times(self, group: RowGroup, items: Mask, whole: bool) -> None:
        for leaf in ("datetime", "start_datetime", "end_datetime"):
            low, high, nulls = group.span(leaf)
            if nulls == group.rows:
                continue
            if not whole or low is None:
                moments, known = group.numbers(leaf)
                found = moments[items & known]
                if not len(found):
                    continue
                low, high = int(found.min()), int(found.max())
            self._first = low if self._first is None else min(self._first, low)
            self._last = high if self._last is None else max(self._last, high)

    def _add_boxes(self, group: RowGroup, items: Mask, whole: bool) -> None:
        spans = [group.span(f"bbox.{name}") for name in BOX_FIELDS]
        if spans[0].nulls == group.rows:
            return
        if whole and all(span.low is not None for span in spans):
            self._boxes.append((spans[0].low, spans[1].low, spans[2].high, spans[3].high))
            return
        boxes = group.boxes("bbox", items)
        boxes = boxes[:, ~np.isnan(boxes[0])]
        if boxes.shape[1]:
            west, south = boxes[:2].min(axis=1).tolist()
            east, north = boxes[2:].max(axis=1).tolist()
            self._boxes.append((west, south, east, north))

    @property
    def items(self) -> int:
        """Different items."""
        return sum(count for _, count in self.collections())

    def collections(self) -> tuple[tuple[str, int], ...]:
        """Different items of each collection, by id."""
        return tuple((name, self._items[name].count()) for name in sorted(self._items))

    @property
    def span(self) -> tuple[int, int] | None:
        """First and last moment, in microseconds since 1970."""
        return None if self._first is None or self._last is None else (self._first, self._last)

    @property
    def box(self) -> BBox | None:
        """Around everything; the whole width where something crosses the antimeridian."""
        if not self._boxes:
            return None
        west, south, east, north = zip(*self._boxes, strict=True)
        # Parquet writes the smallest zero of its statistics as -0.0.
        return min(west) + 0.0, min(south) + 0.0, max(east) + 0.0, max(north) + 0.0


class FirstOfFile:
    """Finds the rows that are not the first of their file.

    Equal hashes make a row a candidate, the paths themselves decide.
    """

    def __init__(self) -> None:
        self._hashes: dict[int, NDArray[np.int64]] = {}

    def add(self, group: RowGroup, mask: Mask) -> None:
        """Take the chosen rows of a row group."""
        shared = may_share(group, mask)
        if shared.any():
            self._hashes[group.number] = group.path_hashes[shared]

    def drop_others(self, chosen: Chosen) -> int:
        """Take rows out of a selection that are not the first of their file.

        Returns:
            How many.
        """
        if not self._hashes:
            return 0
        found, counts = np.unique(np.concatenate([*self._hashes.values()]), return_counts=True)
        repeated = found[counts > 1]
        seen: set[str] = set()
        dropped = 0
        for group, mask in chosen if len(repeated) else ():
            hashes = self._hashes.get(group.number)
            if hashes is not None and np.isin(hashes, repeated).any():
                keep = _firsts(group, mask, repeated, seen)
                dropped += int(mask.sum() - keep.sum())
                chosen.set(group, keep)
        return dropped


def _firsts(group: RowGroup, mask: Mask, repeated: NDArray[np.int64], seen: set[str]) -> Mask:
    rows = np.flatnonzero(may_share(group, mask))
    rows = rows[np.isin(group.path_hashes[rows], repeated)]
    paths = group.column("save_path").take(number_array(rows)).dictionary_encode()
    codes, first = np.unique(values(paths.indices), return_index=True)
    keep = mask.copy()
    keep[rows] = False
    texts = paths.dictionary.to_pylist()
    for code, row in zip(codes.tolist(), rows[first].tolist(), strict=True):
        if texts[code] not in seen:
            seen.add(texts[code])
            keep[row] = True
    return keep
