"""Reads STAC items from a file of one item a line, a page at a time.

A page is named by the byte at which it begins: nothing is kept between requests, and a file of
millions of items costs no more memory than one page. Of files that single items are asked of, 16
bytes an item are kept.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from mlhub_core.exceptions import CatalogError, InvalidArgument

MAX_LIMIT = 10_000
"""Items in one page; a page is built in memory."""


def read_page(path: Path, start: int, limit: int) -> tuple[list[dict[str, Any]], int | None]:
    """Read the items of one page.

    Args:
        path: The file.
        start: The byte at which the page begins; 0, or what the page before gave.
        limit: Items at most.

    Returns:
        The items, and where the next page begins, None after the last one.

    Raises:
        InvalidArgument: if no line begins at ``start``.
        CatalogError: if a line is not a JSON object.
    """
    features: list[dict[str, Any]] = []
    with path.open("rb") as file:
        _seek_line(file, start)
        for position, line in _lines(file, start):
            if len(features) == limit:
                return features, position
            features.append(_parse(path, position, line))
    return features, None


class ItemIndex:
    """Where in a file of items each id first stands: two numbers an item, of one state of the file.

    Args:
        path: The file, which is read through once.
    """

    def __init__(self, path: Path) -> None:
        import numpy as np  # here, because few hubs are asked for single items

        self._path = path
        self._bad: CatalogError | None = None
        numbers = array("q")
        with path.open("rb") as file:
            for position, line in _lines(file, 0):
                try:
                    item = _parse(path, position, line)
                except CatalogError as error:
                    self._bad = self._bad or error
                else:
                    numbers.extend((hash(str(item.get("id"))), position))
        table = np.frombuffer(numbers, dtype=np.int64).reshape(-1, 2)
        self._hashes, self._places = table[np.argsort(table[:, 0], kind="stable")].T

    def find(self, item_id: str) -> dict[str, Any] | None:
        """Read the first item of an id; None where there is none.

        Raises:
            CatalogError: if there is none, but a line that cannot be read and that may be it.
        """
        wanted = hash(item_id)
        first, last = (int(self._hashes.searchsorted(wanted, side)) for side in ("left", "right"))
        with self._path.open("rb") as file:
            for position in map(int, self._places[first:last]):
                file.seek(position)
                item = _parse(self._path, position, file.readline())
                if item.get("id") == item_id:
                    return item
        if self._bad is not None:
            raise self._bad
        return None


def _seek_line(file: BinaryIO, start: int) -> None:
    if start == 0:
        return
    if start > 0:
        file.seek(start - 1)
    if start < 0 or file.read(1) != b"\n":
        raise InvalidArgument(f"token {start} names no page: follow the links as they are.")


def _lines(file: BinaryIO, position: int) -> Iterator[tuple[int, bytes]]:
    for line in file:
        if not line.isspace():
            yield position, line
        position += len(line)


def _parse(path: Path, position: int, line: bytes) -> dict[str, Any]:
    try:
        item = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise CatalogError(
            f"items/{path.name}: the line at byte {position} is not JSON: {error}"
        ) from error
    if not isinstance(item, dict):
        raise CatalogError(f"items/{path.name}: the line at byte {position} is not a JSON object.")
    return item
