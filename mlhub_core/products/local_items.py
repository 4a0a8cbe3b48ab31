"""From an item of the catalog to one whose assets are the files here: pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urljoin

from mlhub_core.index.datetimes import microseconds, moment_text
from mlhub_core.index.hrefs import is_absolute
from mlhub_core.index.items import Item
from mlhub_core.products.holdings import LocalAsset
from mlhub_core.sources.documents import JsonObject
from mlhub_core.transfer.sources import unsigned

STAC_VERSION = "1.1.0"
FILE_EXTENSION = "https://stac-extensions.github.io/file/v2.1.0/schema.json"
ALTERNATE_EXTENSION = "https://stac-extensions.github.io/alternate-assets/v1.2.0/schema.json"
JSON_TYPE = "application/json"
GEOJSON_TYPE = "application/geo+json"

_EXTENSION = re.compile(r"https://stac-extensions\.github\.io/([a-z-]+)/v[^/]+/schema\.json#?")
_PREFIXES = {
    "classification": "classification:",
    "eo": "eo:",
    "grid": "grid:",
    "label": "label:",
    "mgrs": "mgrs:",
    "ml-aoi": "ml-aoi:",
    "ml-model": "ml-model:",
    "mlm": "mlm:",
    "pointcloud": "pc:",
    "processing": "processing:",
    "projection": "proj:",
    "raster": "raster:",
    "sar": "sar:",
    "sat": "sat:",
    "scientific": "sci:",
    "storage": "storage:",
    "table": "table:",
    "view": "view:",
}
"""Of extensions, what their fields begin with. One that is named and not used makes an item invalid
by the schema of many."""
_REPLACED = frozenset({"file", "alternate-assets", "item-assets"})
"""Extensions that are written in a version of our own, or are part of STAC 1.1."""
_FILE_FIELDS = frozenset({"file:byte_order", "file:header_size", "file:values"})
"""Those of the file extension that are taken over from the catalog; other versions had others."""
_STRUCTURE = frozenset(
    {"self", "root", "parent", "collection", "item", "items", "child", "next", "prev", "source"}
)
"""Relations of the catalog itself, which are written anew."""
_LOCAL_PATH = re.compile(r"[^\r\n\t\\:'\"/]+(?:/[^\r\n\t\\:'\"/]+)*")
"""What the file extension takes for ``file:local_path``."""
_HEX = re.compile("[a-f0-9]+")
_SHA256 = "1220"
"""How a multihash of SHA-256 begins: the algorithm, and 32 bytes."""
_TIMES = ("created", "updated", "published", "expires", "unpublished")
_HREFS = frozenset({"href", "url"})


def relative(path: str, directory: str) -> str:
    """An href from a directory to a file, both relative to the dataset's directory.

    Nothing in it is percent-encoded: PySTAC and all that build on it take an href that is no URL
    for the path of a file, as it stands.
    """
    there, here = path.split("/"), directory.split("/") if directory else []
    same = 0
    while same < min(len(there) - 1, len(here)) and there[same] == here[same]:
        same += 1
    found = "../" * (len(here) - same) + "/".join(there[same:])
    return found if same < len(here) else f"./{found}"


def local_item(
    item: JsonObject,
    read: Item,
    assets: Iterable[LocalAsset],
    links: Iterable[JsonObject],
    directory: str,
    base: str | None,
) -> JsonObject:
    """An item with the files that are here.

    Args:
        item: As the catalog has it.
        read: What the index reads in it.
        assets: Its files.
        links: Its links within the local catalog.
        directory: Where its document goes, relative to the dataset's directory.
        base: The URL of its document, None where unknown.
    """
    described = item.get("assets")
    origins = described if isinstance(described, dict) else {}
    mine = {asset.key: local_asset(origins.get(asset.key), asset, directory) for asset in assets}
    local = {
        name: value
        for name, value in item.items()
        if name not in ("links", "assets", "type", "stac_version", "stac_extensions")
    }
    local["properties"] = _properties(item.get("properties"), read)
    _place(local, read)
    local["collection"] = read.collection_id
    local["id"] = read.item_id
    local["links"] = [*links, *other_links(item, base)]
    local["assets"] = mine
    return {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "stac_extensions": extensions(item.get("stac_extensions"), local),
        **local,
    }


def has_time(properties: JsonObject) -> bool:
    """Whether an item has the time that STAC asks for."""
    both = properties.get("start_datetime"), properties.get("end_datetime")
    return properties.get("datetime") is not None or None not in both


def _properties(value: Any, read: Item) -> JsonObject:
    """Its properties, with times as STAC has them; what is no moment is left out."""
    properties = dict(value) if isinstance(value, dict) else {}
    times = {
        "datetime": read.moment,
        "start_datetime": read.start,
        "end_datetime": read.end,
    }
    for name, moment in times.items():
        if moment is not None:
            told = properties.get(name)
            if not (isinstance(told, str) and told.endswith("Z") and microseconds(told) == moment):
                properties[name] = moment_text(moment)
        elif name == "datetime":
            properties[name] = None
        else:
            properties.pop(name, None)
    # One end alone is none of STAC's intervals.
    if properties["datetime"] is not None and None in (read.start, read.end):
        properties.pop("start_datetime", None)
        properties.pop("end_datetime", None)
    for name in _TIMES:
        told = properties.get(name)
        if told is None:
            continue
        moment = microseconds(told) if isinstance(told, str) else None
        if moment is None:
            del properties[name]
        elif not told.endswith("Z"):
            properties[name] = moment_text(moment)
    return properties


def _place(local: JsonObject, read: Item) -> None:
    """Let geometry and bounding box be valid, or not there."""
    if read.shape is None and read.bbox is not None:
        west, south, east, north = read.bbox
        ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
        local["geometry"] = {"type": "Polygon", "coordinates": [ring]}
    elif read.shape is None:
        local["geometry"] = None
    if read.bbox is None or local["geometry"] is None:
        local.pop("bbox", None)
        if read.shape is not None and read.shape.bounds is not None:
            local["bbox"] = list(read.shape.bounds)
    elif not _is_box(local.get("bbox")):
        local["bbox"] = list(read.bbox)


def _is_box(value: Any) -> bool:
    return isinstance(value, list) and len(value) in (4, 6)


def local_asset(origin: Any, asset: LocalAsset, directory: str) -> JsonObject:
    """An asset whose href is the file here, and whose alternate is where it came from.

    Args:
        origin: As the catalog has it.
        asset: Its file.
        directory: Where the document that names it goes, relative to the dataset's directory.
    """
    fields = _clean(origin) if isinstance(origin, dict) else {}
    mine = {
        name: value
        for name, value in fields.items()
        if not name.startswith("file:") or name in _FILE_FIELDS
    }
    mine["href"] = relative(asset.path, directory)
    if not isinstance(mine.get("type"), str):
        mine.pop("type", None)
        if asset.media_type:
            mine["type"] = asset.media_type
    mine["file:size"] = asset.size
    checksum = _SHA256 + asset.sha256 if asset.sha256 else asset.checksum
    if checksum and _HEX.fullmatch(checksum):
        mine["file:checksum"] = checksum
    if _LOCAL_PATH.fullmatch(asset.path):
        mine["file:local_path"] = asset.path
    others = mine.get("alternate")
    alternates = dict(others) if isinstance(others, dict) else {}
    if "://" in asset.href:
        alternates["origin"] = {"href": unsigned(asset.href)}
    alternates = {
        name: one
        for name, one in alternates.items()
        if isinstance(one, dict) and isinstance(one.get("href"), str) and is_absolute(one["href"])
    }
    mine.pop("alternate", None)
    if alternates:
        mine["alternate"] = alternates
    return mine


def other_links(owner: JsonObject, base: str | None) -> list[JsonObject]:
    """The links of an object that lead out of the catalog, to where they lead from everywhere."""
    links = owner.get("links")
    found = []
    for link in links if isinstance(links, list) else ():
        if not isinstance(link, dict) or not isinstance(link.get("href"), str):
            continue
        relation, href = link.get("rel"), link["href"]
        if relation == "self" and is_absolute(href):
            found.append({"rel": "via", "href": unsigned(href), "type": JSON_TYPE})
        if relation in _STRUCTURE or not isinstance(relation, str) or not relation:
            continue
        target = outside(href, base)
        if target is not None:
            found.append({**_clean(link), "href": target})
    return found


def outside(href: str, base: str | None) -> str | None:
    """Where an href leads from everywhere, without signatures; None where that is unknown."""
    if not is_absolute(href):
        if base is None:
            return None
        try:
            href = urljoin(base, href)
        except ValueError:
            return None
    return unsigned(href) if "://" in href else href


def _clean(value: Any) -> Any:
    """A JSON value whose URLs have no signatures."""
    if isinstance(value, dict):
        return {
            name: unsigned(one)
            if name in _HREFS and isinstance(one, str) and "://" in one
            else _clean(one)
            if isinstance(one, dict | list)
            else one
            for name, one in value.items()
        }
    return [_clean(one) if isinstance(one, dict | list) else one for one in value]


def extensions(named: Any, local: JsonObject) -> list[str]:
    """The extensions of an object: those of the catalog that it uses, and ours."""
    assets = local.get("assets") or {}
    found = {FILE_EXTENSION: None} if assets else {}
    if any("alternate" in asset for asset in assets.values()):
        found[ALTERNATE_EXTENSION] = None
    fields: Callable[[], set[str]] = lambda: _prefixes(local)  # noqa: E731
    used: set[str] | None = None
    for url in named if isinstance(named, list) else ():
        match = _EXTENSION.fullmatch(url) if isinstance(url, str) else None
        if match is None:
            if isinstance(url, str) and is_absolute(url):
                found[url] = None
            continue
        if match[1] in _REPLACED:
            continue
        prefix = _PREFIXES.get(match[1])
        if prefix is not None:
            used = fields() if used is None else used
            if prefix not in used:
                continue
        found[url] = None
    return list(found)


def _prefixes(local: JsonObject) -> set[str]:
    """The beginnings of the names of all fields that extensions may define."""
    places: list[Any] = [local, local.get("properties"), local.get("summaries")]
    places += [*(local.get("assets") or {}).values(), *(local.get("item_assets") or {}).values()]
    places += local.get("links") or []
    bands = [place.get("bands") for place in places if isinstance(place, dict)]
    places += [band for some in bands if isinstance(some, list) for band in some]
    return {
        name.partition(":")[0] + ":"
        for place in places
        if isinstance(place, dict)
        for name in place
        if ":" in name
    }
