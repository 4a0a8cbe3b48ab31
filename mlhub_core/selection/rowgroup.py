"""The asset index as a query sees it: row groups, their statistics, their columns when asked for.

A column is read when somebody looks at it and not before: what the statistics of a row group
decide costs no reading at all. Texts come as codes into a short list, so that whatever is asked of
them is asked once for each different one. A row group is what is held in memory at a time.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from mlhub_core.buffers import truths, valid, values
from mlhub_core.index.schema import BOX_FIELDS
from mlhub_core.selection.owners import Coded, Items, Owners, hashes_of, items_among, owners_of

if TYPE_CHECKING:
    from concurrent.futures import Future

    from numpy.typing import NDArray

    from mlhub_core.selection.index_reader import IndexReader

    Mask = NDArray[np.bool_]
    Side = NDArray[np.float64]
    Sides = tuple[Side, Side, Side, Side]


class Span(NamedTuple):
    """What the statistics say of a column in a row group.

    Attributes:
        low: The smallest value; None where that is not known.
        high: The largest.
        nulls: Rows without a value; None where that is not known.
    """

    low: Any
    high: Any
    nulls: int | None


_UNKNOWN = Span(None, None, None)


class RowGroup:
    """One row group of the index.

    Args:
        index: The index.
        number: Its number.
        first: The number of its first row.
    """

    def __init__(self, index: IndexReader, number: int, first: int) -> None:
        self.index = index
        self.number = number
        self.first = first
        self._metadata = index.metadata.row_group(number)
        self.rows = int(self._metadata.num_rows)
        self._columns: dict[str, Any] = {}
        self._expected: dict[str, Future[pa.Table]] = {}
        self._coded: dict[str, Coded] = {}

    def span(self, leaf: str) -> Span:
        """What the statistics say of a column."""
        number = self.index.leaves[leaf]
        found = self._metadata.column(number).statistics
        if found is None:
            return _UNKNOWN
        nulls = found.null_count if found.has_null_count else None
        if not found.has_min_max:
            return Span(None, None, nulls)
        raw = found.physical_type == "INT64"  # moments as microseconds, not as datetime
        return Span(found.min_raw if raw else found.min, found.max_raw if raw else found.max, nulls)

    def is_void(self, leaf: str) -> bool:
        """Whether the statistics say that no row has a value."""
        return leaf not in self.index.leaves or self.span(leaf).nulls == self.rows

    def is_full(self, leaf: str) -> bool:
        """Whether the statistics say that every row has a value."""
        return self.span(leaf).nulls == 0

    def expect(self, name: str, reading: Future[pa.Table]) -> None:
        """Take a column from somebody who reads it already, once it is asked for."""
        self._expected[name] = reading

    def column(self, name: str) -> Any:
        """A column as one Arrow array."""
        if name not in self._columns:
            reading = self._expected.pop(name, None)
            table = reading.result() if reading else self.index.read(self.number, [name])
            self._columns[name] = in_one(table.column(0))
        return self._columns[name]

    def coded(self, name: str) -> Coded:
        """A column of texts, as codes."""
        if name not in self._coded:
            self._coded[name] = coded(self.column(name))
        return self._coded[name]

    def numbers(self, name: str) -> tuple[NDArray[np.int64], Mask]:
        """A column of moments or whole numbers, zero for null; and which rows have a value."""
        if self.is_void(name):
            return np.zeros(self.rows, np.int64), np.zeros(self.rows, bool)
        column = self.column(name)
        if column.type != pa.int64():
            column = column.cast(pa.timestamp("us", tz="UTC")).view(pa.int64())
        known = valid(column)
        numbers = values(column)
        return (numbers if known.all() else np.where(known, numbers, 0)), known

    def box_column(self, name: str) -> str | None:
        """The column that a column of boxes is read from; None where no row has one."""
        if self.index.boxes_agree:
            name = "item_bbox"  # which most filters have read already
        return None if self.is_void(f"{name}.{BOX_FIELDS[0]}") else name

    def sides(self, name: str) -> Sides:
        """A column of boxes: west, south, east and north of each row; NaN for null."""
        column_name = self.box_column(name)
        if column_name is None:
            nothing = np.full(self.rows, np.nan)
            return nothing, nothing, nothing, nothing
        column = self.column(column_name)
        parts = dict(zip([field.name for field in column.type], column.flatten(), strict=True))
        west, south, east, north = (_floats(parts[side]) for side in BOX_FIELDS)
        return west, south, east, north

    def boxes(self, name: str, rows: Any = slice(None)) -> NDArray[np.float64]:
        """A column of boxes, of some of the rows, as an array of shape (4, rows)."""
        return np.stack([side[rows] for side in self.sides(name)])

    @cached_property
    def is_item(self) -> Mask:
        """Rows of items; the others are a collection's own assets."""
        if self.is_full("item_id"):
            return np.ones(self.rows, bool)
        if self.is_void("item_id"):
            return np.zeros(self.rows, bool)
        return self.coded("item_id").codes >= 0

    @property
    def may_be_common(self) -> bool:
        """Whether the statistics leave it open that there are rows of common assets."""
        return self.span("common_asset").high is not False

    @cached_property
    def is_common(self) -> Mask:
        """Rows of common assets, several of which are one file."""
        if not self.may_be_common:
            return np.zeros(self.rows, bool)
        return truths(self.column("common_asset"))

    def owners_among(self, mask: Mask) -> NDArray[np.int64]:
        """The numbers of the different items among some rows."""
        used = np.zeros(len(self.owners.items), bool)
        used[self.owners.numbers[mask]] = True
        return np.flatnonzero(used)

    def item(self, owner: int) -> tuple[str, str | None]:
        """The ids of collection and item, by the item's number in the row group."""
        collections, items = self.coded("collection_id").values, self.coded("item_id").values
        at = int(self.owners.items[owner])
        return collections[int(self.owners.collections[owner])], items[at] if at >= 0 else None

    @cached_property
    def owners(self) -> Owners:
        """Whose rows they are."""
        return owners_of(self.coded("collection_id"), self.coded("item_id"))

    def items_among(self, mask: Mask) -> Items:
        """The different items among some rows."""
        return items_among(self.coded("collection_id"), self.coded("item_id"), mask)

    @cached_property
    def path_hashes(self) -> NDArray[np.int64]:
        """A hash of each row's save path."""
        return hashes_of(self.index.read_plain(self.number, ["save_path"]).column(0).to_pylist())


def in_one(column: pa.ChunkedArray) -> Any:
    """A column as one Arrow array."""
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def coded(column: Any) -> Coded:
    """Texts of an Arrow array as codes."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    codes = values(column.indices).astype(np.int64)
    if column.indices.null_count:
        codes[~valid(column.indices)] = -1
    return Coded(codes, column.dictionary)


def _floats(array: pa.Array) -> NDArray[np.float64]:
    numbers = values(array)
    return np.where(valid(array), numbers, np.nan) if array.null_count else numbers
