"""Compares two asset indexes: which assets were added, which changed, which are gone.

An asset is named by its collection, item and key. It is another one when its
:mod:`~mlhub_core.transfer.sources` is, or when it has another host or goes to another place.
The old index is held in memory as hashes, 32 bytes a row, and of the new one the names; a hundred
bytes a row is the most it takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from mlhub_core.exceptions import StorageError
from mlhub_core.threads import StopFlag, open_parquet
from mlhub_core.transfer.names import is_in
from mlhub_core.transfer.sources import fingerprint, host_of

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

_BATCH_ROWS = 16_384


@dataclass(frozen=True)
class Diff:
    """The outcome, by rows.

    Attributes:
        fresh: For each row of the new index :data:`SAME`, :data:`ADDED` or :data:`CHANGED`.
        outdated: For each row of the new index whether a file that lies in its place is an older
            one. Where others had that place before, as the file of all items, a further asset that
            points at it makes it no other file.
        removed: For each row of the old index whether its asset is gone.
    """

    fresh: NDArray[np.uint8]
    outdated: NDArray[np.bool_]
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
    fresh, outdated, names_now = [], [], []
    try:
        dated = all("updated" in pq.read_schema(path).names for path in (old, new))
        before = _Hashes(*map(np.concatenate, zip(*_hashes(old, dated, stop), strict=True)))
        names_before = before.names.copy()
        for column in before:
            column.sort()
        for now in _hashes(new, dated, stop):
            there = is_in(now.names, before.names)
            same = is_in(now.states, before.states)
            fresh.append(np.where(there, np.where(same, SAME, CHANGED), ADDED).astype(np.uint8))
            outdated.append(np.where(there, ~same, ~is_in(now.places, before.places)))
            names_now.append(now.names)
    except (OSError, pa.ArrowException) as error:
        raise StorageError(
            f"Cannot compare {old} with the new index: {error}. Run the download again, which "
            "makes the index anew."
        ) from error
    gone = ~is_in(names_before, np.sort(np.concatenate(names_now)))
    return Diff(np.concatenate(fresh), np.concatenate(outdated), gone)


class _Hashes(NamedTuple):
    """Hashes of some rows of an index.

    Among ten millions of assets, the odds of any two alike by chance are three to a million.

    Attributes:
        names: Of the names of the assets.
        states: Of their names and states.
        places: Of the places of their files.
    """

    names: NDArray[np.int64]
    states: NDArray[np.int64]
    places: NDArray[np.int64]


def _hashes(index: Path, dated: bool, stop: StopFlag) -> Iterator[_Hashes]:
    """Read an index, a batch at a time, the first one empty.

    Args:
        index: The index.
        dated: Whether to go by its column of when assets were updated; those of earlier versions
            have none, and go by when the item was.
        stop: Looked at now and then.
    """
    columns = [*COLUMNS[:-1], "updated" if dated else "properties"]
    yield _hashed([])
    with open_parquet(index) as file:
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=columns, use_threads=False):
            stop.check()
            values = [batch.column(name).to_pylist() for name in columns]
            if not dated:
                values[-1] = map(_updated_in, values[-1])
            yield _hashed(zip(*values, strict=True))


def _hashed(rows: Iterable[Any]) -> _Hashes:
    found = []
    for *name, place, href, size, checksum, updated in rows:
        state = (*name, place, fingerprint(href, size, checksum, updated), host_of(href))
        found.append((hash(tuple(name)), hash(state), hash(place)))
    table = np.array(found, np.int64).reshape(-1, 3)
    return _Hashes(*(column.copy() for column in table.T))


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
