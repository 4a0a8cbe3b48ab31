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
