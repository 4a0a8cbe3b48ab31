"""The asset index as a query sees it: row groups, their statistics, their columns when asked for.

A column is read when somebody looks at it and not before: what the statistics of a row group
decide costs no reading at all. Texts come as codes into a short list, so that whatever is asked of
them is asked once for each different one. A row group is what is held in memory at a time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mlhub_core.buffers import truths, valid, values
from mlhub_core.catalog.schema import BOX_FIELDS, FACTS_KEY, index_schema
from mlhub_core.exceptions import InvalidArgument, StorageError
from mlhub_core.selection.footer import footer
from mlhub_core.selection.owners import Coded, Items, Owners, hashes_of, items_among, owners_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]
    Side = NDArray[np.float64]
    Sides = tuple[Side, Side, Side, Side]

_CODED = ["collection_id", "item_id", "asset_key", "media_type", "properties"]


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


class IndexReader:
    """The asset index, open for a query.

    Args:
        path: The GeoParquet file.

    Raises:
        InvalidArgument: if it is none.
        OSError: if it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.metadata = footer(path)
            self._file = pq.ParquetFile(path, metadata=self.metadata, read_dictionary=_CODED)
        except FileNotFoundError as error:
            raise InvalidArgument(f"{path}: there is no such file; name an asset index.") from error
        except (pa.ArrowInvalid, IsADirectoryError) as error:
            raise InvalidArgument(
                f"{path} is no asset index ({str(error).splitlines()[0]}): name a Parquet file "
                "that `mlhub download` or `mlhub index` wrote."
            ) from error
        missing = set(index_schema().names) - set(self._file.schema_arrow.names)
        if missing:
            raise InvalidArgument(
                f"{path} is no asset index: it has no column {', '.join(sorted(missing))}."
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if "_plain" in vars(self):
            self._plain.close()

    @cached_property
    def _plain(self) -> pq.ParquetFile:
        """The file once more, for texts as they are; few questions need it."""
        return pq.ParquetFile(self.path, metadata=self.metadata)

    @property
    def rows(self) -> int:
        """How many assets it lists."""
        return int(self.metadata.num_rows)

    @cached_property
    def paths_differ(self) -> bool:
        """Whether all rows but those of common assets are known to have paths of their own."""
        facts = self.noted(FACTS_KEY)
        return isinstance(facts, dict) and facts.get("paths_differ") is True

    def noted(self, key: str) -> Any:
        """What the file's metadata hold under a key, as JSON; None where that is nothing."""
        try:
            return json.loads((self.metadata.metadata or {}).get(key.encode(), b"null"))
        except ValueError:
            return None

    @cached_property
    def leaves(self) -> dict[str, int]:
        """The number of each Parquet column, by its path."""
        schema = self._file.schema
        return {schema.column(number).path: number for number in range(len(schema))}

    def groups(self) -> Iterator[RowGroup]:
        """The row groups, in order."""
        first = 0
        for number in range(self.metadata.num_row_groups):
            group = RowGroup(self, number, first)
            first += group.rows
            yield group

    def read(self, number: int, columns: list[str]) -> pa.Table:
        """Columns of a row group, texts as codes."""
        several = len(columns) > 1 or columns[0] in ("bbox", "item_bbox")  # of four columns each
        return self._file.read_row_group(number, columns=columns, use_threads=several)

    def batches(self, number: int, columns: list[str], rows: int) -> Iterator[pa.RecordBatch]:
        """Columns of a row group, some rows at a time, texts as codes."""
        found: Iterator[pa.RecordBatch] = self._file.iter_batches(rows, [number], columns)
        return found

    def read_plain(self, number: int, columns: list[str]) -> pa.Table:
        """Columns of a row group, texts as they are."""
        return self._plain.read_row_group(number, columns=columns)


@contextmanager
def open_index(path: Path) -> Iterator[IndexReader]:
    """Open an index; what goes wrong while it is read becomes an error of ours.

    Raises:
        InvalidArgument: if it is no asset index.
        StorageError: if it is damaged or cannot be read.
    """
    try:
        with IndexReader(path) as reader:
            yield reader
    except pa.ArrowException as error:
        raise StorageError(
            f"{path} cannot be read: {str(error).splitlines()[0]}. Remove it, and the next "
            "download makes it anew."
        ) from error
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(f"{path} cannot be read: {error.strerror or error}.") from error


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
        return self.span(leaf).nulls == self.rows

    def is_full(self, leaf: str) -> bool:
        """Whether the statistics say that every row has a value."""
        return self.span(leaf).nulls == 0

    def column(self, name: str) -> Any:
        """A column as one Arrow array."""
        if name not in self._columns:
            self._columns[name] = in_one(self.index.read(self.number, [name]).column(0))
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

    def sides(self, name: str) -> Sides:
        """A column of boxes: west, south, east and north of each row; NaN for null."""
        if self.is_void(f"{name}.{BOX_FIELDS[0]}"):
            nothing = np.full(self.rows, np.nan)
            return nothing, nothing, nothing, nothing
        column = self.column(name)
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
