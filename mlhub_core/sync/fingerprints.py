"""What tells two states of an asset apart, as numbers: a batch of the index at a time.

An asset is named by its collection, item and key. It is another one when its
:mod:`~mlhub_core.transfer.fingerprint` is, or when it has another host or goes to another place.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mlhub_core.chores import open_parquet
from mlhub_core.transfer.fingerprint import fingerprint, host_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Prints = NDArray[Any]

PRINT = np.dtype([("key", "<u8"), ("state", "<u8"), ("row", "<i8")])
"""The name of an asset, its state, and its row in the index."""

COLUMNS = (
    "collection_id",
    "item_id",
    "asset_key",
    "save_path",
    "href",
    "file_size",
    "checksum",
    "properties",
)
"""What is read of an index. One that says when assets were updated is read for that instead of for
the properties."""

BATCH_ROWS = 65_536
_SEPARATOR = "\x1f"
_ABSENT = "\x00"


def is_dated(index: Path) -> bool:
    """Whether an index says when assets were updated; those of earlier versions say it of items.

    Raises:
        OSError: if it cannot be read.
        pa.ArrowException: if it is no index.
    """
    return "updated" in pq.read_schema(index).names


def prints_of(index: Path, *, dated: bool) -> Iterator[Prints]:
    """Read an index, a batch at a time, as records of :data:`PRINT`.

    Args:
        index: The index.
        dated: Whether to go by its column of when assets were updated; else by that of items.

    Raises:
        OSError: if it cannot be read.
        pa.ArrowException: if it is no index, or lacks a column.
    """
    row = 0
    columns = [*COLUMNS[:-1], "updated" if dated else "properties"]
    with open_parquet(index) as file:
        for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=columns, use_threads=False):
            prints = np.empty(batch.num_rows, dtype=PRINT)
            prints["key"] = _hashed(batch, "collection_id", "item_id", "asset_key")
            prints["state"] = _hashed(_stated(batch), "save_path", "fingerprint")
            prints["row"] = np.arange(row, row + batch.num_rows)
            row += batch.num_rows
            yield prints


def _stated(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The columns that make up the state of an asset."""
    dated = "updated" in batch.schema.names
    updated = batch.column("updated") if dated else _updated(batch.column("properties"))
    told = (*(batch.column(name) for name in ("href", "file_size", "checksum")), updated)
    rows = zip(*(column.to_pylist() for column in told), strict=True)
    found = [f"{fingerprint(*row)} {host_of(row[0])}" for row in rows]
    return pa.RecordBatch.from_pydict(
        {"save_path": batch.column("save_path"), "fingerprint": pa.array(found, pa.string())}
    )


def _updated(properties: pa.Array) -> pa.Array:
    """``updated`` of each item; parsed once for all assets of an item."""
    encoded = properties.dictionary_encode()
    texts = encoded.dictionary.to_pylist()
    found = pa.array([_updated_in(text) for text in texts], pa.string())
    return found.take(encoded.indices)


def _updated_in(properties: str) -> str | None:
    if '"updated"' not in properties:
        return None
    try:
        fields = orjson.loads(properties)
    except ValueError:
        return None
    value = fields.get("updated") if isinstance(fields, dict) else None
    return None if value is None else str(value)


def _hashed(batch: pa.RecordBatch, *names: str) -> NDArray[np.uint64]:
    """64 bits of the values of columns.

    Among ten millions of assets, the odds of any two alike by chance are three to a million.
    """
    texts = [pc.fill_null(batch.column(name).cast(pa.string()), _ABSENT) for name in names]
    joined = pc.binary_join_element_wise(*texts, _SEPARATOR)
    values = np.asarray(joined.to_pylist(), dtype=object)
    hashes: NDArray[np.uint64] = pd.util.hash_array(values, categorize=False)
    return hashes
