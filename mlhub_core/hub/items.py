"""Reads STAC items from a file of one item a line, a page at a time.

A page is named by the byte at which it begins: nothing is kept between requests, and a file of
millions of items costs no more memory than one page.
"""

from __future__ import annotations

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


def find_item(path: Path, item_id: str) -> dict[str, Any] | None:
    """Look an item up by its id, reading the file from its beginning.

    Raises:
        CatalogError: if a line that may be the item is not a JSON object.
    """
    # Most lines can be told apart without parsing, as long as JSON has no second spelling for
    # the id, as it has for quotes, backslashes, slashes and everything outside ASCII.
    plain = item_id.isascii() and item_id.isprintable() and not set(item_id) & set('"\\/')
    needle = item_id.encode() if plain else b""
    with path.open("rb") as file:
        for position, line in _lines(file, 0):
            if needle in line:
                item = _parse(path, position, line)
                if item.get("id") == item_id:
                    return item
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
