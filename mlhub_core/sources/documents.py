"""What a file of a catalog is: pure functions from its bytes to items and collections."""

from __future__ import annotations

import json
import math
import re
from enum import Enum
from typing import Any, NamedTuple

import orjson

from mlhub_core.json_text import clean

JsonObject = dict[str, Any]

_MAX_DIGITS = 1000
_URL = re.compile("[A-Za-z][A-Za-z0-9+.-]+:")
"""Two characters at least: one is a drive letter."""


class Kind(Enum):
    """What a file holds."""

    ITEMS = "one item, or several"
    COLLECTION = "a collection"
    CATALOG = "a catalog: links only"
    OTHER = "JSON, but not of a catalog"
    BROKEN = "not JSON, in spite of its name"
    FILE = "not meant to be JSON"


ROOT_FILES = ("catalog.json", "collection.json")
"""What the file is called that everything else of a catalog hangs on."""
SAY_NOTHING = frozenset(
    {"archive", "catalog", "collection", "data", "dataset", "download", "export", "item", "items"}
    | {"output", "stac", "stac-catalog", "stac_catalog"}
)
"""Names of archives that say nothing of what is in them."""
STAC_KINDS = frozenset({Kind.ITEMS, Kind.COLLECTION, Kind.CATALOG})
"""What a catalog consists of."""


class Document(NamedTuple):
    """One file of a catalog, as a source gives it.

    Attributes:
        path: Where it lies, relative to the root of the catalog.
        kind: What it is.
        objects: The items, or the collection or catalog.
        has_more: Whether it has assets besides those of the objects.
        base: The URL that relative hrefs in it resolve against; None for that of its self link.
        beyond: What it is called from the root, where it lies beside that: a path that leaves the
            catalog, of one that is below it nothing.
        problem: Why it was not read.
        lacks: How many documents that stands for.
    """

    path: str
    kind: Kind
    objects: tuple[JsonObject, ...] = ()
    has_more: bool = False
    base: str | None = None
    beyond: str = ""
    problem: str = ""
    lacks: int = 1


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
            return Document(path, Kind.BROKEN)
    return recognise(value, path)


def is_json(path: str) -> bool:
    """Whether a file is meant to be JSON, by its name; what macOS puts beside each file is not."""
    return path[-8:].lower().endswith((".json", ".geojson")) and "/._" not in f"/{path}"


def recognise(value: Any, path: str) -> Document:
    """Find out what a parsed file is."""
    if not isinstance(value, dict):
        has_assets = isinstance(value, list) and any(map(_has_assets, value))
        return Document(path, Kind.OTHER, has_more=has_assets)
    kind, objects = _kind_of(value, path.rpartition("/")[2])
    is_read = kind is not Kind.CATALOG and any(one is value for one in objects)
    return Document(path, kind, objects, has_more=not is_read and _has_assets(value))


def as_json(value: Any) -> str:
    """Write a parsed value as JSON text, whatever numbers are in it."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # integers beyond 64 bits, or nested too deeply for orjson
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def called(item: JsonObject, dataset_id: str) -> str:
    """The path of an item that has no file of its own, as a STAC API calls it.

    Args:
        item: The item.
        dataset_id: Stands for a collection that it does not name.
    """
    collection, item_id = item.get("collection"), item.get("id")
    if not (isinstance(collection, str) and collection):
        return f"{dataset_id}/items/{item_id}"
    return f"collections/{collection}/items/{item_id}"


def self_url(owner: JsonObject) -> str | None:
    """The URL of its link of ``rel: self``; None where that is none."""
    links = owner.get("links")
    for link in links if isinstance(links, list) else ():
        if isinstance(link, dict) and link.get("rel") == "self":
            href = link.get("href")
            if isinstance(href, str) and _URL.match(href):
                return href
    return None


def _parse_leniently(data: bytes) -> Any:
    """The standard library takes NaN, integers of any length, lone surrogates and UTF-16."""
    text = data.decode(json.detect_encoding(data))
    return json.loads(text.removeprefix("\ufeff"), parse_int=_whole_number)


def _whole_number(text: str) -> float:
    """Python refuses to read numbers of thousands of digits; they are as good as infinite."""
    return int(text) if len(text) < _MAX_DIGITS else math.inf


def _kind_of(value: JsonObject, name: str) -> tuple[Kind, tuple[JsonObject, ...]]:
    kind = value.get("type")
    if kind == "Feature" and _is_item(value):
        return Kind.ITEMS, (value,)
    features = value.get("features")
    if kind in ("FeatureCollection", "ItemCollection") and isinstance(features, list):
        items = tuple(one for one in features if isinstance(one, dict) and _is_item(one))
        return Kind.ITEMS if items else Kind.OTHER, items
    if kind == "Collection" or (kind is None and _is_untyped_collection(value, name)):
        return Kind.COLLECTION, (value,)
    if kind == "Catalog" or (kind is None and "links" in value and name == "catalog.json"):
        return Kind.CATALOG, (value,)
    if kind is None and "properties" in value and _is_item(value):
        return Kind.ITEMS, (value,)
    return Kind.OTHER, ()


def _has_assets(value: Any) -> bool:
    return isinstance(value, dict) and bool(value.get("assets"))


def _is_item(value: JsonObject) -> bool:
    """A GeoJSON feature that is data rather than catalog has no assets and no STAC version."""
    return "assets" in value or "stac_version" in value


def _is_untyped_collection(value: JsonObject, name: str) -> bool:
    """Collections carry a type since STAC 1.0.0 only."""
    if "id" not in value:
        return False
    return name == "collection.json" or ("extent" in value and "license" in value)


def text_of(value: object) -> str | None:
    """A value that is a text with anything in it; None for any other."""
    return value if isinstance(value, str) and value.strip() else None
