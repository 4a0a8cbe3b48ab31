"""What a JSON file of a catalog is: pure functions from bytes to items and collections."""

from __future__ import annotations

import json
import math
from enum import Enum
from typing import Any, NamedTuple

import orjson

from mlhub_core.json_text import clean

JsonObject = dict[str, Any]


_MAX_DIGITS = 1000


class Sort(Enum):
    """What a file holds."""

    ITEMS = "one item, or several"
    COLLECTION = "a collection"
    CATALOG = "a catalog: links only"
    OTHER = "JSON, but not of a catalog"
    BROKEN = "not JSON"


class Document(NamedTuple):
    """The content of one file.

    Attributes:
        sort: What it is.
        objects: The items, or the collection or catalog.
        has_more: Whether it has assets besides those of the objects.
    """

    sort: Sort
    objects: tuple[JsonObject, ...] = ()
    has_more: bool = False


def parse_document(data: bytes, path: str) -> Document:
    """Read a file.

    Args:
        data: Its bytes.
        path: Where it lies; its name helps where it does not say what it is.
    """
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        try:
            value = clean(_parse_leniently(data))
        except (ValueError, RecursionError):
            return Document(Sort.BROKEN)
    if isinstance(value, dict):
        found = _sort(value, path.rpartition("/")[2])
        is_read = any(one is value for one in found.objects) and found.sort is not Sort.CATALOG
        return found if is_read else found._replace(has_more=_has_assets([value]))
    return Document(Sort.OTHER, has_more=isinstance(value, list) and _has_assets(value))


def as_json(value: Any) -> str:
    """Write a parsed value as JSON text, whatever numbers are in it."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # integers beyond 64 bits, or nested too deeply for orjson
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _parse_leniently(data: bytes) -> Any:
    """The standard library takes NaN, integers of any length, lone surrogates and UTF-16."""
    text = data.decode(json.detect_encoding(data))
    return json.loads(text.removeprefix("\ufeff"), parse_int=_whole_number)


def _whole_number(text: str) -> float:
    """Python refuses to read numbers of thousands of digits; they are as good as infinite."""
    return int(text) if len(text) < _MAX_DIGITS else math.inf


def _sort(value: JsonObject, name: str) -> Document:
    kind = value.get("type")
    if kind == "Feature" and _is_item(value):
        return Document(Sort.ITEMS, (value,))
    if kind in ("FeatureCollection", "ItemCollection") and isinstance(value.get("features"), list):
        items = tuple(
            feature
            for feature in value["features"]
            if isinstance(feature, dict) and _is_item(feature)
        )
        return Document(Sort.ITEMS, items) if items else Document(Sort.OTHER)
    if kind == "Collection" or (kind is None and _is_untyped_collection(value, name)):
        return Document(Sort.COLLECTION, (value,))
    if kind == "Catalog" or (kind is None and "links" in value and name == "catalog.json"):
        return Document(Sort.CATALOG, (value,))
    if kind is None and "properties" in value and _is_item(value):
        return Document(Sort.ITEMS, (value,))
    return Document(Sort.OTHER)


def _has_assets(values: list[Any]) -> bool:
    return any(isinstance(value, dict) and bool(value.get("assets")) for value in values)


def _is_item(value: JsonObject) -> bool:
    """A GeoJSON feature that is data rather than catalog has no assets and no STAC version."""
    return "assets" in value or "stac_version" in value


def _is_untyped_collection(value: JsonObject, name: str) -> bool:
    """Collections carry a type since STAC 1.0.0 only."""
    if "id" not in value:
        return False
    return name == "collection.json" or ("extent" in value and "license" in value)
