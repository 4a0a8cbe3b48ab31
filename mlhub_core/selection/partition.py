"""A partition: a batch of assets in a file, small enough to name, large enough to be worth a task.

What travels between steps is the :class:`Partition`, a path and some counts. The assets themselves
lie in a Parquet file beside the plan and are read batch by batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mlhub_core.threads import open_parquet

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

ROW_GROUP_ROWS = 16_000
"""Of partition files: a reader holds one group of columns as they are in the file, and unpacked."""
_BATCH_ROWS = 2_000
"""Rows held in memory at a time while a partition is read."""
MAX_PARTITIONS = 64
"""More of them cost the orchestrator time and gain nothing."""
_PER_FILE_BYTES = 50_000
"""What a file weighs beside its bytes: a request takes about as long as so many bytes."""
_UNKNOWN_BYTES = 200_000
"""What a file of unknown size is taken for: the size of a usual image chip."""


class Asset(NamedTuple):
    """One file to have.

    Attributes:
        save_path: Where it goes, relative to the dataset's asset directory, with ``/``.
        href: Where it is: an absolute URL, or, for a file that the catalog archive carries, its
            path relative to the output directory once unarchived.
        collection_id: Its collection.
        item_id: Its item, None for a collection's own asset.
        asset_key: Its key within the item or collection.
        file_size: Bytes as the catalog gives them, None where it does not.
        checksum: ``file:checksum`` of the catalog, in whatever spelling, or None.
        media_type: Its media type, None where the catalog does not give it.
        updated: When asset and item were updated, as the catalog has it.
        alternates: Where else it is, as JSON text: see :func:`~mlhub_core.index.items.read_assets`.
        fingerprint: Of what the catalog says, where some of that is not to be compared; no column.
    """

    save_path: str
    href: str
    collection_id: str
    item_id: str | None
    asset_key: str
    file_size: int | None = None
    checksum: str | None = None
    media_type: str | None = None
    updated: str | None = None
    alternates: str | None = None
    fingerprint: str | None = None


COLUMNS = Asset._fields[:-1]
"""Columns of a partition file."""
YOUNG_COLUMNS = frozenset({"media_type", "updated", "alternates"})
"""Those that partition files of earlier versions lack: the last ones."""

Columns = list[list[Any]]
"""Values of several assets, a list for each of the first fields of :class:`Asset`."""


@dataclass(frozen=True, slots=True)
class Partition:
    """A batch of assets, by the path of the file that lists them.

    Attributes:
        number: From 1.
        of: How many partitions the plan has.
        path: Parquet file with the columns of :class:`Asset`.
        files: Rows in it; every save path is there once.
        known_bytes: Sum of the sizes that the catalog gives.
        unknown_sizes: Files whose size it does not give.
    """

    number: int
    of: int
    path: Path
    files: int
    known_bytes: int = 0
    unknown_sizes: int = 0

    @property
    def label(self) -> str:
        """Such as ``07/32``."""
        return f"{self.number:0{len(str(self.of))}d}/{self.of}"


@cache
def partition_schema() -> pa.Schema:
    """The Arrow schema of a partition file."""
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("save_path", pa.string(), nullable=False),
            pa.field("href", pa.string(), nullable=False),
            pa.field("collection_id", pa.string(), nullable=False),
            pa.field("item_id", pa.string()),
            pa.field("asset_key", pa.string(), nullable=False),
            pa.field("file_size", pa.int64()),
            pa.field("checksum", pa.string()),
            pa.field("media_type", pa.string()),
            pa.field("updated", pa.string()),
            pa.field("alternates", pa.string()),
        ]
    )


def read_assets(path: Path) -> Iterator[Asset]:
    """Read a partition file, a batch at a time."""
    for columns in read_columns(path):
        yield from map(Asset, *columns)


def read_columns(path: Path) -> Iterator[Columns]:
    """Read a partition file as columns, a batch of rows at a time."""
    with open_parquet(path) as file:
        there = set(file.schema_arrow.names)
        names = [name for name in COLUMNS if name in there or name not in YOUNG_COLUMNS]
        # Threads would each hold memory of their own, for columns that are read in no time.
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=names, use_threads=False):
            yield [batch.column(name).to_pylist() for name in names]


def write_assets(path: Path, assets: Iterator[Asset] | list[Asset]) -> int:
    """Write a partition file.

    Returns:
        The number of assets written.
    """
    import pyarrow as pa

    rows = list(assets)
    columns = [[row[at] for row in rows] for at in range(len(COLUMNS))]
    path.parent.mkdir(parents=True, exist_ok=True)
    files, _, _ = _write(path, [pa.table(columns, schema=partition_schema())])
    return files


# Cutting


# Cutting


def partition_count(files: int, workers: int) -> int:
    """How many partitions to cut: two for each worker, never more than files, or than 64."""
    return max(1, min(2 * workers, MAX_PARTITIONS, files))


def weights(sizes: pa.Array) -> NDArray[np.float64]:
    """What files weigh, by their sizes."""
    import numpy as np

    known: NDArray[np.int64] = sizes.fill_null(_UNKNOWN_BYTES).to_numpy()
    return known.astype(np.float64) + _PER_FILE_BYTES


def write_partitions(
    rows: Iterable[pa.RecordBatch], directory: Path, count: int, weight: float
) -> tuple[Partition, ...]:
    """Write partition files of similar weight.

    Args:
        rows: With the columns of a partition, in the order of the partitions.
        directory: Where the files go; it exists.
        count: How many partitions there may be.
        weight: What all rows together weigh.
    """
    done: list[tuple[Path, int, int, int]] = []
    for _, owned in groupby(_with_owners(rows, count, weight), key=itemgetter(0)):
        path = directory / f"partition-{len(done) + 1:03d}.parquet"
        done.append((path, *_write(path, (table for _, table in owned))))
    return tuple(Partition(number, len(done), *fields) for number, fields in enumerate(done, 1))


def _with_owners(
    rows: Iterable[pa.RecordBatch], count: int, weight: float
) -> Iterator[tuple[int, pa.Table]]:
    """Rows with the number of their partition: where the middle of a row's weight falls."""
    import numpy as np

    share, passed = (weight or 1.0) / count, 0.0
    for table in gathered(rows, ROW_GROUP_ROWS):
        own = weights(table.column("file_size").combine_chunks())
        middle = passed + np.cumsum(own) - own / 2
        passed += float(own.sum())
        owners = np.minimum((middle / share).astype(np.int64), count - 1)
        numbers, lengths = np.unique(owners, return_counts=True)
        first = 0
        for number, length in zip(numbers.tolist(), lengths.tolist(), strict=True):
            yield number, table.slice(first, length)
            first += length


def _write(path: Path, tables: Iterable[pa.Table]) -> tuple[int, int, int]:
    """Write a partition file: files in it, their known bytes, and how many are of unknown size."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    files = known = unknown = 0
    # No query reads it, and paths and URLs differ in every row: neither statistics nor a
    # dictionary of them would be worth the time.
    with pq.ParquetWriter(
        path,
        partition_schema(),
        compression="zstd",
        write_statistics=False,
        use_dictionary=["collection_id", "item_id", "asset_key"],
    ) as writer:
        for table in tables:
            writer.write_table(table.cast(partition_schema()), row_group_size=ROW_GROUP_ROWS)
            sizes = table.column("file_size")
            files += len(sizes)
            known += pc.sum(sizes).as_py() or 0
            unknown += sizes.null_count
    return files, known, unknown


def gathered(rows: Iterable[pa.RecordBatch], least: int) -> Iterator[pa.Table]:
    """Small batches as tables of some rows at least: each becomes a row group of a file."""
    import pyarrow as pa

    held: list[pa.RecordBatch] = []
    count = 0
    for batch in rows:
        held.append(batch)
        count += batch.num_rows
        if count >= least:
            yield pa.Table.from_batches(held)
            held, count = [], 0
    if held:
        yield pa.Table.from_batches(held)
