"""The asset index, open for a query: its row groups, its columns, and what it says of itself."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from mlhub_core.exceptions import InvalidArgument, StorageError
from mlhub_core.index.schema import FACTS_KEY, YOUNG_COLUMNS, conform, index_schema
from mlhub_core.threads import StopFlag, open_parquet

if TYPE_CHECKING:
    import pyarrow.dataset as ds

_NAME_ONE = "name a Parquet file that `mlhub download` or `mlhub index` wrote"
_KINDS = {
    "text": lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind),
    "bytes": lambda kind: pa.types.is_binary(kind) or pa.types.is_large_binary(kind),
    "integer": pa.types.is_integer,
    "time": pa.types.is_timestamp,
}


Batches = Iterator[tuple[int, pa.RecordBatch]]

_BATCH_ROWS = 32_768
_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Group:
    """A row group of the index.

    Attributes:
        number: From 0.
        first: The number of its first row in the index.
        rows: How many it has.
        shares_files: Whether a row of it may name the same file as another.
    """

    number: int
    first: int
    rows: int
    shares_files: bool

    @property
    def end(self) -> int:
        """The number of the row behind its last one."""
        return self.first + self.rows


class IndexReader:
    """The asset index, open for a query.

    Args:
        path: The GeoParquet file.
        stop: Looked at between batches.

    Raises:
        InvalidArgument: if it is none.
        OSError: if it cannot be read.
    """

    def __init__(self, path: Path, stop: StopFlag | None = None) -> None:
        self.path = path
        self._stop = stop or StopFlag()
        self.metadata = _metadata(path)
        schema = self.metadata.schema.to_arrow_schema()
        wrong = _difference(schema)
        if wrong:
            raise InvalidArgument(f"{path} is no asset index: {wrong}; {_NAME_ONE}.")
        self._names = set(schema.names)
        self._file = open_parquet(path, metadata=self.metadata, buffer_size=_READ_BYTES)

    @property
    def rows(self) -> int:
        """How many assets it lists."""
        return int(self.metadata.num_rows)

    @cached_property
    def paths_differ(self) -> bool:
        """Whether all rows but those of common assets are known to have paths of their own."""
        return self._is_fact("paths_differ")

    @cached_property
    def boxes_agree(self) -> bool:
        """Whether the two boxes of each row are known to be the same."""
        return self._is_fact("boxes_agree")

    def _is_fact(self, name: str) -> bool:
        facts = self.noted(FACTS_KEY)
        return isinstance(facts, dict) and facts.get(name) is True

    def noted(self, key: str) -> Any:
        """What the file's metadata hold under a key, as JSON; None where that is nothing."""
        try:
            return json.loads((self.metadata.metadata or {}).get(key.encode(), b"null"))
        except ValueError:
            return None

    def has(self, column: str) -> bool:
        """Whether the index has a column; those of earlier versions lack some."""
        return column in self._names

    @cached_property
    def _groups(self) -> list[Group]:
        names = [column.path for column in self.metadata.schema]
        common = names.index("common_asset")
        found, first = [], 0
        for number in range(self.metadata.num_row_groups):
            info = self.metadata.row_group(number)
            known = info.column(common).statistics
            none_common = known is not None and known.has_min_max and known.max is False
            shares = not (self.paths_differ and none_common)
            found.append(Group(number, first, info.num_rows, shares))
            first += info.num_rows
        return found

    def groups(
        self, where: pc.Expression | None = None, among: Iterable[Group] | None = None
    ) -> list[Group]:
        """The row groups, in order, but for those of which statistics say that no row matches.

        Args:
            where: What is asked of rows; None leaves none out.
            among: The row groups to look at; all of them by default.
        """
        left = self._groups if among is None else list(among)
        if where is None or not left:
            return left
        looked_at = self._fragment.subset(row_group_ids=[group.number for group in left])
        found = looked_at.split_by_row_group(where, schema=index_schema())
        return [self._groups[info.id] for fragment in found for info in fragment.row_groups]

    @cached_property
    def _fragment(self) -> ds.ParquetFileFragment:
        import pyarrow.dataset as ds  # here, because it imports pandas

        return ds.ParquetFileFormat().make_fragment(str(self.path), pafs.LocalFileSystem())

    # Threads and reading ahead would hold memory, and win nothing on a local disk.

    def scan(self, columns: list[str], groups: Iterable[Group] | None = None) -> Batches:
        """Columns of all row groups or some, a batch of rows at a time.

        Yields:
            The number of the first row in the index, and the batch.
        """
        there = [name for name in columns if name in self._names] or ["asset_key"]
        schema = pa.schema([index_schema().field(name) for name in columns])
        for group in self._groups if groups is None else groups:
            for first, batch in self._placed(
                group,
                self._file.iter_batches(_BATCH_ROWS, [group.number], there, use_threads=False),
            ):
                yield first, conform(batch, schema)

    def compute(self, columns: dict[str, pc.Expression], groups: Iterable[Group]) -> Batches:
        """What is computed of the columns of row groups; as :meth:`scan`."""
        import pyarrow.dataset as ds

        options = ds.ParquetFragmentScanOptions(
            use_buffered_stream=True, buffer_size=_READ_BYTES, pre_buffer=False
        )
        for group in groups:
            found = self._fragment.subset(row_group_ids=[group.number]).to_batches(
                schema=index_schema(),
                columns=columns,
                batch_size=_BATCH_ROWS,
                batch_readahead=1,
                fragment_readahead=1,
                use_threads=False,
                fragment_scan_options=options,
            )
            yield from self._placed(group, found)

    def _placed(self, group: Group, batches: Iterable[pa.RecordBatch]) -> Batches:
        first = group.first
        for batch in batches:
            self._stop.check()
            yield first, batch
            first += batch.num_rows


def _metadata(path: Path) -> Any:
    """What a Parquet file says of itself.

    Raises:
        InvalidArgument: if it is no Parquet file, or one that cannot be read without keys.
        OSError: if it cannot be read.
    """
    if path.is_dir():
        raise InvalidArgument(f"{path} is a directory: {_NAME_ONE}.")
    try:
        return pq.read_metadata(path)
    except FileNotFoundError as error:
        raise InvalidArgument(f"{path}: there is no such file; {_NAME_ONE}.") from error
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise InvalidArgument(
            f"{path} is no asset index ({str(error).splitlines()[0]}): {_NAME_ONE}."
        ) from error


def _difference(schema: pa.Schema) -> str | None:
    """What a file lacks to be an asset index; None where nothing."""
    wanted = index_schema()
    missing = [name for name in wanted.names if name not in {*schema.names, *YOUNG_COLUMNS}]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        return f"it has no column {', '.join(missing[:3])}{more}"
    for field in (field for field in wanted if field.name in schema.names):
        found = schema.field(field.name).type
        if _kind(found) not in (_kind(field.type), "null"):
            return f"its column {field.name} is {found}, not {field.type}"
    return None


def _kind(kind: pa.DataType) -> str:
    """What a type is for us: other writers take other widths, units and codes."""
    types = pa.types
    if types.is_dictionary(kind):
        return _kind(kind.value_type)
    if types.is_struct(kind):
        return f"struct of {' '.join(sorted(kind.field(n).name for n in range(kind.num_fields)))}"
    if types.is_list(kind) or types.is_large_list(kind):
        return f"list of {_kind(kind.value_type)}"
    for name, is_one in _KINDS.items():
        if is_one(kind):
            return name
    return str(kind)


@contextmanager
def open_index(path: Path, stop: StopFlag | None = None) -> Iterator[IndexReader]:
    """Open an index; what goes wrong while it is read becomes an error of ours.

    Raises:
        InvalidArgument: if it is no asset index.
        StorageError: if it is damaged or cannot be read.
    """
    with telling(path, f"{path} cannot be read"):
        yield IndexReader(path, stop)


@contextmanager
def telling(index: Path, refused: str) -> Iterator[None]:
    """Tell what Arrow and the disk refuse in the way of this library.

    Args:
        index: The index, which is damaged if it is Arrow that refuses.
        refused: What cannot be done if it is the disk.

    Raises:
        StorageError: for both.
    """
    try:
        yield
    except pa.ArrowException as error:
        raise StorageError(
            f"{index} cannot be read, it is damaged: {str(error).splitlines()[0]}. The command "
            "that wrote it writes it anew."
        ) from error
    except OSError as error:
        if isinstance(error, StorageError | BrokenPipeError):
            raise
        raise StorageError(f"{refused}: {error.strerror or error}.") from error
