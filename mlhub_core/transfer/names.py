"""Millions of names in eight bytes each, and the asset index as where they come from."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlhub_core.selection.index_reader import telling
from mlhub_core.threads import StopFlag, open_parquet

if TYPE_CHECKING:
    from numpy.typing import NDArray

_INDEX_ROWS = 65_536


class NameSet:
    """Remembers the hashes of names.

    Among ten millions of names, the odds that one that is not there seems to be are one to a
    million million.
    """

    def __init__(self) -> None:
        self._added = array("q")
        self._sorted: NDArray[np.int64] = np.empty(0, dtype=np.int64)

    def add(self, names: Iterable[str]) -> None:
        """Take names in."""
        self._added.extend(map(hash, names))

    def duplicates(self) -> NameSet:
        """The names that were added more than once since anything was last asked."""
        values, counts = np.unique(np.frombuffer(self._added, dtype=np.int64), return_counts=True)
        found = NameSet()
        found._sorted = values[counts > 1]
        return found

    def holds(self, names: list[str]) -> list[bool]:
        """For each name whether it has been added."""
        if self._added:
            added = np.frombuffer(self._added, dtype=np.int64)
            self._sorted = np.unique(np.concatenate((self._sorted, added)))
            self._added = array("q")
        asked = np.fromiter(map(hash, names), dtype=np.int64, count=len(names))
        found: list[bool] = is_in(asked, self._sorted).tolist()
        return found


def is_in(asked: NDArray[np.int64], there: NDArray[np.int64]) -> NDArray[np.bool_]:
    """For each of some numbers whether it is among others, which are sorted."""
    if not len(there):
        return np.zeros(len(asked), np.bool_)
    places = np.searchsorted(there, asked)
    places[places == len(there)] = 0
    found: NDArray[np.bool_] = there[places] == asked
    return found


def index_batches(
    index: Path, columns: Sequence[str], stop: StopFlag, rows: int = _INDEX_ROWS
) -> Iterator[list[list[Any]]]:
    """Read columns of the asset index, some rows at a time.

    Args:
        index: The asset index; one of an earlier version may lack columns, which are None then.
        columns: Their names.
        stop: Looked at before each batch.
        rows: Rows at a time.

    Yields:
        The values of each column.

    Raises:
        Interrupted: if ``stop`` is set.
        StorageError: if the index cannot be read.
    """
    with telling(index, f"{index} cannot be read"), open_parquet(index) as file:
        there = [name for name in columns if name in file.schema_arrow.names]
        for batch in file.iter_batches(batch_size=rows, columns=there, use_threads=False):
            stop.check()
            nothing = [None] * batch.num_rows
            yield [batch.column(name).to_pylist() if name in there else nothing for name in columns]


def save_paths(index: Path, stop: StopFlag) -> NameSet:
    """Where assets go, by the index.

    Raises:
        Interrupted: if ``stop`` is set.
        StorageError: if the index cannot be read.
    """
    names = NameSet()
    for (places,) in index_batches(index, ("save_path",), stop):
        names.add(places)
    return names
