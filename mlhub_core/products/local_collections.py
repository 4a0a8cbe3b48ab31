"""Collections of a local catalog: what they span and what their items have in common."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mlhub_core.index.datetimes import moment_text
from mlhub_core.index.items import Item
from mlhub_core.index.places import Bounds
from mlhub_core.products.local_items import (
    JSON_TYPE,
    STAC_VERSION,
    extensions,
    other_links,
)
from mlhub_core.sources.documents import JsonObject, text_of

_OF_ITEMS = ("href", "alternate", "created", "updated", "checksum:multihash")
_PREFIXES = ("file:", "proj:")
"""Fields of assets that differ from item to item."""
_LEAST_FIELDS = 2
"""What STAC asks of an entry of ``item_assets``."""
_MAX_KEYS = 200
"""Asset keys of a collection that are listed; where there are more, each item has its own."""


@dataclass
class CollectionSummary:
    """What the items of a collection that are here have in common.

    Attributes:
        directory: Where it lies, relative to the dataset's directory.
        items: How many.
        box: Around all of them.
        start: The first moment, microseconds since 1970.
        end: The last one.
        assets: What each asset key is, as far as all items agree.
    """

    directory: str
    items: int = 0
    box: Bounds | None = None
    start: int | None = None
    end: int | None = None
    assets: dict[str, JsonObject] = field(default_factory=dict)

    def add(self, read: Item, local: JsonObject) -> None:
        """Take an item into account."""
        self.items += 1
        if read.cover is not None:
            self.box = around(self.box, read.cover)
        known = [one for one in (read.moment, read.start, read.end) if one is not None]
        if known:
            first, last = min(known), max(known)
            self.start = first if self.start is None else min(self.start, first)
            self.end = last if self.end is None else max(self.end, last)
        for key, asset in local["assets"].items():
            known_fields = self.assets.get(key)
            if known_fields is None:
                if len(self.assets) <= _MAX_KEYS:
                    self.assets[key] = {
                        name: value
                        for name, value in asset.items()
                        if name not in _OF_ITEMS and not name.startswith(_PREFIXES)
                    }
                continue
            for name in [name for name, value in known_fields.items() if asset.get(name) != value]:
                del known_fields[name]


def around(one: Bounds | None, other: Bounds) -> Bounds:
    """The box around two; around the other where there is no first."""
    if one is None:
        return other
    least, most = map(min, one[:2], other[:2]), map(max, one[2:], other[2:])
    return (*least, *most)  # type: ignore[return-value]


def local_collection(
    collection: JsonObject,
    collection_id: str,
    summary: CollectionSummary,
    assets: dict[str, JsonObject],
    base: str | None,
) -> JsonObject:
    """A collection of what is here, but for its links within the local catalog.

    Args:
        collection: As the catalog has it; empty where it has none.
        collection_id: Its id.
        summary: What its items have in common.
        assets: Its own assets, and what describes all of it.
        base: The URL of its document, None where unknown.
    """
    left_out = ("links", "assets", "item_assets", "extent", "type", "stac_version")
    local = {name: value for name, value in collection.items() if name not in left_out}
    local["id"] = collection_id
    local["description"] = text_of(collection.get("description")) or (
        text_of(collection.get("title")) or collection_id
    )
    local["license"] = text_of(collection.get("license")) or "other"
    local["extent"] = _extent(collection.get("extent"), summary)
    if summary.assets and len(summary.assets) <= _MAX_KEYS:
        told = {key: one for key, one in summary.assets.items() if len(one) >= _LEAST_FIELDS}
        if told:
            local["item_assets"] = told
    if not isinstance(local.get("keywords"), list | None):
        del local["keywords"]
    local["assets"] = assets
    local["links"] = other_links(collection, base)
    local.pop("stac_extensions", None)
    named = extensions(collection.get("stac_extensions"), local)
    return {
        "type": "Collection",
        "stac_version": STAC_VERSION,
        "stac_extensions": named,
        **local,
    }


def _extent(told: Any, summary: CollectionSummary) -> JsonObject:
    """The extent of what is here; where that has none, the whole Earth and all times."""
    moments = (summary.start, summary.end)
    return {
        "spatial": {"bbox": [list(summary.box or (-180.0, -90.0, 180.0, 90.0))]},
        "temporal": {"interval": [[None if one is None else moment_text(one) for one in moments]]},
    }


def local_catalog(
    catalog: JsonObject, dataset_id: str, children: list[JsonObject], mirror: str | None
) -> JsonObject:
    """The root of a local catalog.

    Args:
        catalog: As the origin has it; empty where it has none.
        dataset_id: The dataset.
        children: Links to the collections.
        mirror: Where the table of all items is.
    """
    found = {name: catalog[name] for name in ("title",) if text_of(catalog.get(name))}
    links: list[JsonObject] = [{"rel": "root", "href": "./catalog.json", "type": JSON_TYPE}]
    if mirror is not None:
        links.append(
            {
                "rel": "collection-mirror",
                "href": mirror,
                "type": "application/vnd.apache.parquet",
                "title": "All items in one table (stac-geoparquet)",
            }
        )
    return {
        "type": "Catalog",
        "stac_version": STAC_VERSION,
        "id": text_of(catalog.get("id")) or dataset_id,
        "description": text_of(catalog.get("description")) or found.get("title") or dataset_id,
        **found,
        "links": [*links, *children, *other_links(catalog, None)],
    }
