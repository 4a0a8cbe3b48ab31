"""Compares two asset indexes: which assets were added, which changed, which are gone.

An asset is named by its collection, item and key. It is another one when its
:mod:`~mlhub_core.transfer.fingerprint` is, or when it has another host or goes to another place.
Of both indexes, 16 bytes a row are held in memory, and as many again while they are compared: ten
million assets take some 600 MB.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from mlhub_core.chores import open_parquet
from mlhub_core.exceptions import StorageError
from mlhub_core.stop import StopFlag
from mlhub_core.transfer.fingerprint import fingerprint, host_of
from mlhub_core.transfer.names import is_in

if TYPE_CHECKING:
    from numpy.typing import NDArray

SAME, ADDED, CHANGED = 0, 1, 2
"""What can be said of a row of the new index."""

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


@dataclass(frozen=True)
class Diff:
    """The outcome, by rows.

    Attributes:
        fresh: For each row of the new index :data:`SAME`, :data:`ADDED` or :data:`CHANGED`.
        removed: For each row of the old index whether its asset is gone.
    """

    fresh: NDArray[np.uint8]
    removed: NDArray[np.bool_]

    @property
    def added(self) -> int:
        """Assets that were not there before."""
        return int((self.fresh == ADDED).sum())

    @property
    def changed(self) -> int:
        """Assets that are other ones now."""
        return int((self.fresh == CHANGED).sum())

    @property
    def gone(self) -> int:
        """Assets that are no longer there."""
        return int(self.removed.sum())


def compare(old: Path, new: Path, *, stop: StopFlag | None = None) -> Diff:
    """Compare two indexes.

    An asset that the catalog lists twice is the same if it was listed so once before.

    Args:
        old: The index before.
        new: The index now.
        stop: Looked at now and then.

    Raises:
        StorageError: if an index cannot be read.
        Interrupted: if ``stop`` is set.
    """
    stop = stop or StopFlag()
    try:
        dated = all("updated" in pq.read_schema(path).names for path in (old, new))
        names_before, states_before = _hashes(old, dated, stop)
        names, states = _hashes(new, dated, stop)
    except (OSError, pa.ArrowException) as error:
        raise StorageError(
            f"Cannot compare {old} with the new index: {error}. Run the download again, which "
            "makes the index anew."
        ) from error
    same = np.where(is_in(states, np.sort(states_before)), SAME, CHANGED)
    fresh = np.where(is_in(names, np.sort(names_before)), same, ADDED)
    return Diff(fresh.astype(np.uint8), ~is_in(names_before, np.sort(names)))


def _hashes(
    index: Path, dated: bool, stop: StopFlag
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of each row of an index, the hash of its asset's name and that of name and state.

    Among ten millions of assets, the odds of any two alike by chance are three to a million.

    Args:
        index: The index.
        dated: Whether to go by its column of when assets were updated; those of earlier versions
            have none, and go by when the item was.
        stop: Looked at now and then.
    """
    names, states = array("q"), array("q")
    columns = [*COLUMNS[:-1], "updated" if dated else "properties"]
    with open_parquet(index) as file:
        for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=columns, use_threads=False):
            stop.check()
            rows = zip(*(batch.column(name).to_pylist() for name in columns), strict=True)
            for *name, place, href, size, checksum, last in rows:
                updated = last if dated else _updated_in(last)
                state = fingerprint(href, size, checksum, updated), host_of(href)
                names.append(hash(tuple(name)))
                states.append(hash((*name, place, *state)))
    return np.frombuffer(names, np.int64), np.frombuffer(states, np.int64)


@lru_cache(maxsize=64)  # the assets of an item follow each other
def _updated_in(properties: str | None) -> str | None:
    if not properties or '"updated"' not in properties:
        return None
    try:
        fields: Any = orjson.loads(properties)
    except ValueError:
        return None
    value = fields.get("updated") if isinstance(fields, dict) else None
    return None if value is None else str(value)
