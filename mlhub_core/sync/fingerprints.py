"""What tells two states of an asset apart, as numbers: a batch of the index at a time.

An asset is named by its collection, item and key. It is another one when its href, its size, its
checksum or the ``updated`` of its item differ, or when it goes to another place. Of an href, what
changes though the file does not is left out: signatures, and the port of a server on this machine.
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
"""What is read of an index."""

BATCH_ROWS = 65_536
_SEPARATOR = "\x1f"
_ABSENT = "\x00"
_SIGNATURE = (
    r"(?i)([?&])(?:sig|signature|x-amz-[a-z0-9-]+|x-goog-[a-z0-9-]+|awsaccesskeyid|googleaccessid|"
    r"expires|se|st|sp|spr|sv|sr|skoid|sktid|skt|ske|sks|skv)=[^&#]*"
)
_LOOPBACK = r"^(?i)(https?://(?:127\.0\.0\.1|localhost|\[::1\])):[0-9]+/"


def prints_of(index: Path) -> Iterator[Prints]:
    """Read an index, a batch at a time, as records of :data:`PRINT`.

    Raises:
        OSError: if it cannot be read.
        pa.ArrowException: if it is no index, or lacks a column.
    """
    row = 0
    with pq.ParquetFile(index) as file:
        for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=list(COLUMNS)):
            prints = np.empty(batch.num_rows, dtype=PRINT)
            prints["key"] = _hashed(batch, "collection_id", "item_id", "asset_key")
            prints["state"] = _hashed(_stated(batch), *_stated(batch).schema.names)
            prints["row"] = np.arange(row, row + batch.num_rows)
            row += batch.num_rows
            yield prints


def _stated(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The columns that make up the state of an asset."""
    href = pc.replace_substring_regex(batch.column("href"), _SIGNATURE, r"\1")
    href = pc.replace_substring_regex(href, _LOOPBACK, r"\1/")
    columns = {
        "save_path": batch.column("save_path"),
        "href": href,
        "file_size": batch.column("file_size"),
        "checksum": batch.column("checksum"),
        "updated": _updated(batch.column("properties")),
    }
    return pa.RecordBatch.from_pydict(columns)


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
