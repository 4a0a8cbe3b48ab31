"""Picks assets out of the index by name, however many there are, and cuts them into partitions."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlhub_core.exceptions import InvalidArgument
from mlhub_core.selection.conditions import is_true
from mlhub_core.selection.engine import Query
from mlhub_core.selection.filters import AssetFilter
from mlhub_core.selection.index_reader import IndexReader, telling
from mlhub_core.selection.partition import Partition
from mlhub_core.threads import StopFlag, open_parquet

Key = tuple[str, ...]

PATH_KEY = ("save_path",)
"""Columns to pick by, where files are named by their place."""
ASSET_KEY = ("collection_id", "item_id", "asset_key")
"""Columns to pick by, where assets are named; a collection's own has an empty item."""

_AT_A_TIME = 500_000
"""Names looked for in one pass over the index."""
_BATCH_ROWS = 65_536
_SEPARATOR = "\x1f"


@dataclass(frozen=True, slots=True)
class Picked:
    """What was found of what was asked for.

    Attributes:
        partitions: The files, each once, in partitions of similar weight.
        wanted: Names asked for.
        files: Different files in the partitions.
        carried: Files that have no URL: they come out of the catalog archive.
        assets: Hashes of the :data:`ASSET_KEY` of every row that was found.
    """

    partitions: tuple[Partition, ...] = ()
    wanted: int = 0
    files: int = 0
    carried: int = 0
    assets: set[int] = field(default_factory=set, repr=False)

    def holds(self, collection_id: str, item_id: str, asset_key: str) -> bool:
        """Whether an asset is among those found."""
        return hash((collection_id, item_id, asset_key)) in self.assets


def pick_assets(
    index: Path,
    names: Iterable[Key],
    columns: Key,
    directory: Path,
    *,
    workers: int = 2,
    carried: bool = True,
    stop: StopFlag | None = None,
) -> Picked:
    """Find assets in the index, and cut them into partitions.

    Args:
        index: The asset index, GeoParquet.
        names: What to find: the values of ``columns``.
        columns: :data:`PATH_KEY` or :data:`ASSET_KEY`.
        directory: Where the partitions go; replaced.
        workers: Partitions that will run at a time.
        carried: Whether files that come out of the catalog archive are wanted too.
        stop: Looked at now and then.

    Raises:
        InvalidArgument: if there is no index.
        StorageError: if the disk refuses.
        Interrupted: if stopped.
    """
    if not index.is_file():
        raise InvalidArgument(
            f"{index} is not here, and where the files come from stands in it: run the download "
            "again, which makes it anew."
        )
    with telling(index, f"{directory} cannot be written"):
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        query = Query(IndexReader(index, stop), AssetFilter())
        wanted = _choose(query, names, columns, carried)
        assets: set[int] = set()
        for rows in query.rows(list(ASSET_KEY)):
            keys = (rows.column(name).fill_null("").to_pylist() for name in ASSET_KEY)
            assets.update(map(hash, zip(*keys, strict=True)))
        query.add_up()
        without_url = sum(
            int(np.count_nonzero(~_has_url(rows))) for rows in query.rows(["href"], query.files)
        )
        partitions = query.cut(directory, workers)
    return Picked(partitions, wanted, query.summary.files, without_url, assets)


def _choose(query: Query, names: Iterable[Key], columns: Key, carried: bool) -> int:
    """Choose the rows that are named; how many names there were."""
    wanted = 0
    remaining = iter(names)
    while chunk := list(islice(remaining, _AT_A_TIME)):
        wanted += len(chunk)
        # As one text each, because Arrow looks up texts only.
        texts = pa.array(set(map(_SEPARATOR.join, chunk)), pa.string())
        for first, batch in query.index.scan([*columns, "href"]):
            found = is_true(pc.is_in(_names(batch, columns), value_set=texts))
            query.chosen[first : first + len(found)] |= (
                found if carried else found & _has_url(batch)
            )
    return wanted


def _has_url(rows: pa.RecordBatch) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """The rows of files that are fetched; others come out of the catalog archive."""
    return is_true(pc.match_substring(rows.column("href"), "://"))


def without_tried(
    index: Path, partitions: Iterable[Partition], rows: Iterable[list[str]], key: slice
) -> Iterator[list[str]]:
    """Leave out rows about assets whose files are in a partition, whichever item names the file.

    Args:
        index: The asset index.
        partitions: What was tried.
        rows: Such as those of ``err_report.csv``.
        key: Where a row has its :data:`ASSET_KEY`.
    """
    tried = [partition.path for partition in partitions]
    remaining = iter(rows)
    while chunk := list(islice(remaining, _AT_A_TIME)):
        names = {_SEPARATOR.join(row[key]) for row in chunk}
        places = dict(_found(index, ASSET_KEY, names))
        done = {place for path in tried for place, _ in _found(path, PATH_KEY, places.values())}
        yield from (row for row in chunk if places.get(_SEPARATOR.join(row[key])) not in done)


def _found(path: Path, columns: Key, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Of the rows of an index or a partition that are asked for by name: name and save path."""
    wanted = pa.array(names, pa.string())
    with open_parquet(path) as file:
        for batch in file.iter_batches(
            batch_size=_BATCH_ROWS, columns=[*columns, *PATH_KEY], use_threads=False
        ):
            found = _names(batch, columns)
            mask = pc.is_in(found, value_set=wanted)
            places = batch.column("save_path").filter(mask).to_pylist()
            yield from zip(found.filter(mask).to_pylist(), places, strict=True)


def _names(batch: pa.RecordBatch, columns: Key) -> pa.Array:
    parts = [pc.fill_null(batch.column(name), "") for name in columns]
    return pc.binary_join_element_wise(*parts, _SEPARATOR) if len(parts) > 1 else parts[0]
