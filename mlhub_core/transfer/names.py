"""A set of names in eight bytes each, for questions about millions of them."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


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
        if not len(self._sorted):
            return [False] * len(names)
        asked = np.fromiter(map(hash, names), dtype=np.int64, count=len(names))
        places = np.searchsorted(self._sorted, asked)
        places[places == len(self._sorted)] = 0
        found: list[bool] = (self._sorted[places] == asked).tolist()
        return found
