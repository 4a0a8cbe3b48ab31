"""From a STAC item or collection to what the index keeps: pure, and hard to upset."""

from __future__ import annotations

import reprlib
from collections.abc import Callable
from typing import Any, NamedTuple

from mlhub_core.index.datetimes import interval, microseconds
from mlhub_core.index.details import USUAL, Band, bands_of, details_of
from mlhub_core.index.hrefs import (
    Relative,
    is_absolute,
    joined,
    linked_directory,
    linked_id,
    linked_items,
    plain_href,
    resolve,
)
from mlhub_core.index.places import Bounds, Place, Shape, read_places
from mlhub_core.index.save_paths import stem_of, suffix_of
from mlhub_core.sources.documents import JsonObject, as_json, self_url, text_of

Complain = Callable[[str], None]
"""Takes a few words about what is wrong."""

MAX_INT64 = 2**63 - 1
"""The largest number of a column of integers."""
_TEXTS = frozenset({str})
_MAX_SHOWN = 60
"""Characters of a value that is no good."""


class Asset(NamedTuple):
    """One asset, as the catalog describes it.

    Attributes:
        key: Its key.
        href: Its URL, or where to look for it once the whole catalog has been read.
        media_type: Its ``type``.
        roles: Its roles.
        file_size: ``file:size``.
        checksum: ``file:checksum``, in whatever spelling.
        updated: Its own ``updated``.
        alternates: Where else it is, see :func:`read_assets`.
        name: The file name that it wants.
        title: Its title.
        description: What it is, in words.
        bands: Its bands that have names.
        details: Other members that are of use, as JSON text.
    """

    key: str
    href: str | Relative
    media_type: str | None
    roles: list[str]
    file_size: int | None
    checksum: str | None
    updated: str | None
    alternates: str | None
    name: str
    title: str | None = None
    description: str | None = None
    bands: list[Band] | None = None
    details: str | None = None

    @property
    def identity(self) -> str:
        """What two assets share exactly when they point at the same file."""
        return self.href if isinstance(self.href, str) else self.href.identity


class Item(NamedTuple):
    """One item. Times are microseconds since 1970, UTC.

    Attributes:
        collection_id: Its collection.
        collection_directory: Where that lies in the catalog, when the item did not name it and
            the name of this directory was taken for its id; else None.
        item_id: Its id.
        moment: Its ``datetime``.
        start: Its ``start_datetime``.
        end: Its ``end_datetime``.
        bbox: As the item gives it, within -180 to 180; west > east across the antimeridian.
        cover: What no reader may prune on and lose the item.
        shape: Its geometry.
        properties: As JSON text.
        sources: Ids behind its links of ``rel: source``.
        updated: Its ``updated``.
        path: Where its file lies, relative to the root of the catalog.
        source_paths: What its links of ``rel: source`` point at: paths of items, how a STAC API
            calls them, and URLs.
        url: Its URL.
        license: Its own license, where it has one.
    """

    collection_id: str
    collection_directory: str | None
    item_id: str
    moment: int | None
    start: int | None
    end: int | None
    bbox: Bounds | None
    cover: Bounds | None
    shape: Shape | None
    properties: str
    sources: list[str]
    updated: str | None = None
    path: str = ""
    source_paths: tuple[str, ...] = ()
    url: str | None = None
    license: str | None = None


def read_item(
    item: JsonObject,
    path: str,
    complain: Complain,
    number: int = 0,
    base: str | None = None,
    place: Place | None = None,
) -> Item:
    """Take from an item what the index keeps, but for its assets.

    Args:
        item: The parsed item.
        path: Where its file lies, relative to the root of the catalog.
        complain: Told what is wrong with it.
        number: Its place among the items of its file.
        base: The URL of its file; None for that of its self link.
        place: Where it lies; None reads that, too.
    """
    properties = item.get("properties")
    if not isinstance(properties, dict):
        if properties is not None:
            complain("properties are not an object")
        properties = {}
    collection_id, collection_directory = _collection_of(item, path, complain)
    place = place or read_places([item])[0]
    for words in place.told:
        complain(words)
    sources = links_of(item, "source")
    own_url = self_url(item)
    if own_url is None and base is not None and base.endswith(path):
        own_url = base  # a file of its own
    return Item(
        collection_id,
        collection_directory,
        read_item_id(item, path, complain, number),
        *_times(properties, complain),
        place.bbox,
        place.cover,
        place.shape,
        _properties_text(properties, complain),
        [linked_id(href) for href in sources],
        as_told(properties.get("updated")),
        path,
        tuple(name for href in sources for name in _named(href, path, own_url or base)),
        own_url,
        text_of(properties.get("license")),
    )


def _named(href: str, path: str, url: str | None) -> list[str]:
    """What an item behind a link may be called: by path, by a STAC API, by URL."""
    names = [*linked_items(href, path, url)]
    found = joined(url, href)
    return names if found is None else [*names, found]


def read_item_id(item: JsonObject, path: str, complain: Complain, number: int = 0) -> str:
    """The id of an item; one made of the name of its file where it has none."""
    return _id(item) or _made_up_id(path, number, complain)


def read_collection_id(collection: JsonObject, path: str, complain: Complain) -> str:
    """The id of a collection; the name of its directory where it has none."""
    found = _id(collection)
    if found is None:
        complain("a collection without an id")
        found = path.rpartition("/")[0].rpartition("/")[2] or "collection"
    return found


def read_assets(
    owner: JsonObject, directory: str, complain: Complain, base: str | None = None
) -> list[Asset]:
    """The assets of an item or collection. Those without a usable href are left out.

    Args:
        owner: The parsed item or collection.
        directory: Where its file lies, relative to the root of the catalog.
        complain: Told what is wrong.
        base: The URL of its file; None for that of its self link.
    """
    assets = owner.get("assets")
    if not isinstance(assets, dict):
        if assets is not None:
            complain("assets are not an object")
        return []
    own_url, found = self_url(owner), []
    properties = owner.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    for key, asset in assets.items():
        try:
            get, href = asset.get, asset["href"].strip()
            if href[:1] == "/" or "\\" in href:
                href = plain_href(href)
        except (AttributeError, KeyError, TypeError):
            href = ""
        if not href:
            complain(f"asset {key[:80]!r} has no href")
            continue
        # Nothing is called for what is not there, as most of it is not, of millions of assets.
        size, media_type = get("file:size"), get("type")
        if size is not None:
            size = _file_size(key, size, complain)
        if media_type is not None:
            media_type = _media_type(key, media_type, complain)
        checksum, updated = get("file:checksum") or get("checksum:multihash"), get("updated")
        title, description = get("title"), get("description")
        has_more = not asset.keys() <= USUAL
        found.append(
            Asset(
                key,
                href if is_absolute(href) else resolve(href, directory, own_url, base),
                media_type,
                _roles(key, get("roles"), complain),
                size,
                None if checksum is None else as_told(checksum),
                None if updated is None else as_told(updated),
                _alternates(key, asset, base or own_url, complain)
                if "alternate" in asset
                else None,
                stem_of(key) + suffix_of(href, media_type),
                None if title is None else text_of(title),
                None if description is None else text_of(description),
                bands_of(asset, properties) if has_more else None,
                details_of(asset) if has_more else None,
            )
        )
    return found


def _alternates(key: str, asset: JsonObject, base: str | None, complain: Complain) -> str | None:
    """Where else an asset is, by the alternate assets extension: pairs of name and URL, as JSON.

    One whose URL is empty gives the name of the asset's own href.
    """
    found = asset["alternate"]
    if not isinstance(found, dict):
        complain(f"asset {key[:80]!r}: alternate is no object: {brief(found)}")
        return None
    pairs = [(name, _alternate_href(one, base)) for name, one in found.items()]
    unusable = [name for name, href in pairs if href is None]
    if unusable:
        complain(f"asset {key[:80]!r}: alternate {unusable[0][:80]!r} has no href that is a URL")
    pairs = [(name, href) for name, href in pairs if href]
    own = asset.get("alternate:name")
    if pairs and isinstance(own, str):
        pairs.insert(0, (own, ""))
    return as_json(pairs) if pairs else None


def _alternate_href(alternate: Any, base: str | None) -> str | None:
    href = alternate.get("href") if isinstance(alternate, dict) else None
    if not isinstance(href, str) or not href.strip():
        return None
    plain = plain_href(href)
    if is_absolute(plain):
        return plain
    found = resolve(plain, "", base, base)
    return found if isinstance(found, str) else found.url


def _media_type(key: str, value: Any, complain: Complain) -> str | None:
    if isinstance(value, str | None):
        return value or None
    complain(f"asset {key[:80]!r}: type is no text: {brief(value)}")
    return None


def _roles(key: str, value: Any, complain: Complain) -> list[str]:
    parts = value if isinstance(value, list) else [value]
    if {*map(type, parts)} <= _TEXTS:
        return parts
    if value:
        complain(f"asset {key[:80]!r}: roles are not texts: {brief(value)}")
    return [part for part in parts if isinstance(part, str)]


def _file_size(key: str, value: Any, complain: Complain) -> int | None:
    """A number of bytes that fits the column, else None."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is int and 0 <= value <= MAX_INT64:
        return value
    complain(f"asset {key[:80]!r}: file:size is no number of bytes: {brief(value)}")
    return None


def _collection_of(item: JsonObject, path: str, complain: Complain) -> tuple[str, str | None]:
    """The item's collection, or the directory that is taken for it.

    An item that does not name its collection belongs to the one whose directory its link of
    ``rel: collection`` (or ``parent``) leads into, else to that above its own directory.
    """
    named = _scalar(item.get("collection"))
    if named is not None:
        return named, None
    directory = path.rpartition("/")[0]
    for relation in ("collection", "parent"):
        for href in links_of(item, relation):
            linked = linked_directory(href, directory)
            if linked is not None:
                complain("names no collection: taken for one of the directory it links to")
                return linked.rpartition("/")[2] or "uncollected", linked
    above = directory.rpartition("/")[0]
    if not above and directory != linked_id(path):  # which would be the item's own
        above = directory
    complain("names no collection: taken for one of the directory above it")
    return above.rpartition("/")[2] or "uncollected", above


def _id(owner: JsonObject) -> str | None:
    return _scalar(owner.get("id"))


def _scalar(value: Any) -> str | None:
    """An id, which some catalogs write as a number."""
    if isinstance(value, str) and value:
        return value
    return str(value) if type(value) is int and abs(value) <= MAX_INT64 else None


def _made_up_id(path: str, number: int, complain: Complain) -> str:
    complain("an item without an id: the name of its file is taken")
    stem = linked_id(path) or "item"
    return f"{stem}-{number + 1}" if number else stem


def _times(properties: JsonObject, complain: Complain) -> tuple[int | None, int | None, int | None]:
    """Its ``datetime``, start and end. An interval in ``datetime`` is start and end."""
    start = _moment(properties, "start_datetime", complain)
    end = _moment(properties, "end_datetime", complain)
    text = properties.get("datetime")
    found = interval(text) if type(text) is str and microseconds(text) is None else None
    if found is None:
        moment = _moment(properties, "datetime", complain)
    else:
        complain(f"datetime is an interval, {brief(text)}: taken for start and end")
        moment = None
        start, end = (start, end) if (start, end) != (None, None) else found
    if start is not None and end is not None and start > end:
        complain("start_datetime is after end_datetime: taken the other way round")
        start, end = end, start
    return moment, start, end


def _moment(properties: JsonObject, name: str, complain: Complain) -> int | None:
    value = properties.get(name)
    if value is None:
        value = properties.get("dtr:" + name)  # before STAC 1.0
    if value is None:
        return None
    moment = microseconds(value) if type(value) is str else None
    if moment is None:
        complain(f"{name} is no moment: {brief(value)}")
    return moment


def brief(value: Any) -> str:
    """A value as it may be shown: a text or number cut short, of all else the kind."""
    if isinstance(value, str | int | float):
        text = (
            repr(value) if isinstance(value, str) or abs(value) <= MAX_INT64 else "a large number"
        )
        return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…'"
    return f"a {type(value).__name__}"


def _properties_text(properties: JsonObject, complain: Complain) -> str:
    try:
        return as_json(properties)
    except RecursionError:
        complain("properties are nested too deeply and were left out")
        return "{}"


def links_of(owner: JsonObject, relation: str) -> list[str]:
    """The hrefs of its links of one relation."""
    links = owner.get("links")
    if not isinstance(links, list):
        return []
    found = [link for link in links if isinstance(link, dict) and link.get("rel") == relation]
    hrefs = [link["href"] for link in found if isinstance(link.get("href"), str) and link["href"]]
    return [plain_href(href) if "\\" in href else href for href in hrefs]


def as_told(value: Any) -> str | None:
    """A value as text, whatever it is: who cannot read it has to say so."""
    if value is None or isinstance(value, str):
        return value or None
    return reprlib.repr(value)
