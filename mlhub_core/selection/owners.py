"""Which items the rows of a row group belong to, by the codes of their texts."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mlhub_core.buffers import distinct, number_array

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Codes = NDArray[np.int64]
    Mask = NDArray[np.bool_]


class Coded:
    """A column of texts.

    Args:
        codes: For each row the place of its text in ``dictionary``; -1 for null.
        dictionary: Each different text, an Arrow array.
    """

    def __init__(self, codes: Codes, dictionary: Any) -> None:
        self.codes = codes
        self.dictionary = dictionary

    @cached_property
    def values(self) -> list[str]:
        """Each different text."""
        texts: list[str] = self.dictionary.to_pylist()
        return texts

    def hashes(self, codes: Codes) -> Codes:
        """A hash of each text that some codes stand for; zero for null."""
        used = distinct(codes[codes >= 0])
        if 2 * len(used) >= len(self.dictionary):
            return np.append(hashes_of(self.values), np.int64(0))[codes]
        texts = self.dictionary.take(number_array(used)).to_pylist()
        known = np.append(hashes_of(texts), np.int64(0))
        found: Codes = known[np.where(codes < 0, len(used), np.searchsorted(used, codes))]
        return found


class Owners(NamedTuple):
    """The items that rows belong to.

    Attributes:
        numbers: For each row the number of its item.
        collections: For each item the code of its collection.
        items: For each item the code of its id; -1 for a collection's own assets.
    """

    numbers: Codes
    collections: Codes
    items: Codes


class Items(NamedTuple):
    """Different items.

    Attributes:
        collections: For each the code of its collection.
        hashes: For each a hash of both ids, the same in all row groups.
    """

    collections: Codes
    hashes: Codes


def owners_of(collections: Coded, items: Coded) -> Owners:
    """Number the items of rows, by their columns of ids."""
    width = len(items.dictionary) + 1
    pairs = collections.codes * width + items.codes + 1
    starts = _run_starts(pairs)
    different, places = np.unique(pairs[starts], return_inverse=True)
    return Owners(places[np.cumsum(starts) - 1], different // width, different % width - 1)


def items_among(collections: Coded, items: Coded, rows: Mask) -> Items:
    """The different items among some rows. What it costs grows with these rows alone."""
    width = len(items.dictionary) + 1
    pairs = collections.codes[rows] * width + items.codes[rows] + 1
    different = distinct(pairs[_run_starts(pairs)])
    of_collection = different // width
    # Other hashes of the same: a collection and an item of one name must not cancel out.
    mixed = collections.hashes(of_collection) * np.int64(1_000_003) + np.int64(97)
    return Items(of_collection, mixed ^ items.hashes(different % width - 1))


def _run_starts(pairs: Codes) -> Mask:
    """The first row of each run: rows of one item stand together, and need one look together."""
    starts = np.ones(len(pairs), bool)
    starts[1:] = pairs[1:] != pairs[:-1]
    return starts


def hashes_of(texts: list[str]) -> Codes:
    """A hash of each of some texts, the same for equal ones in this process."""
    return np.fromiter(map(hash, texts), np.int64, len(texts))
