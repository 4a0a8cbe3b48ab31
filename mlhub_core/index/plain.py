"""The common case of assets, quickly: plain absolute URLs, and entries as the rules want them.

Millions of items have the same few keys, media types and roles. What they share is looked at once,
as a *look*; what is left per asset is its URL, its size and its checksum. Whatever is out of the
ordinary goes the exact way of ``items.read_assets``, which gives the same for plain ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import orjson

from mlhub_core.index.items import MAX_INT64, as_size, as_told
from mlhub_core.index.save_paths import stem_of, suffix_of_ending
from mlhub_core.layout import COMMON_ASSET_KEYS, case_key
from mlhub_core.sources.documents import JsonObject

# Characters are listed: the classes of the regex engine that fit take four times as long. What is
# not in here (queries, percent signs, blanks, brackets) can hide the ending.
DIRECTORY = re.compile(r"(?:https?|s3)://[a-zA-Z0-9_.:-]+/(?:[!$&'()*+,./0-9:=@A-Z_a-z~-]*/)?")
"""What stands before the name in a plain URL."""
NAME = re.compile(r"[!$&'()*+,0-9:=@A-Z_a-z~-][!$&'()*+,.0-9:=@A-Z_a-z~-]*")
"""The name in a plain URL."""
COMPOUND = frozenset({".gz", ".xml", ".GZ", ".XML"})
"""Of these the suffix before may count too."""

Look = tuple[str, str, Any, Any]
"""Key, ending of the URL, media type, roles: as the catalog has them."""


class PlainAssets(NamedTuple):
    """The assets of an item, none of them out of the ordinary.

    Attributes:
        looks: What other items have just so.
        hrefs: A URL each.
        sizes: ``file:size``.
        checksums: ``file:checksum``.
        updates: Their own ``updated``.
    """

    looks: tuple[Look, ...]
    hrefs: list[str]
    sizes: list[int | None]
    checksums: list[str | None]
    updates: list[str | None]


class AssetKind(NamedTuple):
    """What assets of the same look have in common in the index.

    Attributes:
        key: The asset key.
        media_type: The media type.
        roles: The roles.
        name: The file name, None where it is not known yet.
    """

    key: str
    media_type: str | None
    roles: tuple[str, ...]
    name: str | None


class Pattern(NamedTuple):
    """What items of the same looks have in common.

    Attributes:
        kinds: Of each asset.
        claims: Of each asset, what the claims of ``savepaths`` are made of besides the URL.
        json_names: The file names that may be an item's own, as file systems tell them apart.
        keys: The asset keys.
        order: Where each asset comes by its key; None where that is how they stand.
        content: The claims in that order, as :func:`claims_text` writes them.
    """

    kinds: tuple[AssetKind, ...]
    claims: tuple[tuple[str, str], ...]
    json_names: frozenset[str]
    keys: tuple[str, ...]
    order: tuple[int, ...] | None
    content: bytes


def plain_assets(item: JsonObject) -> PlainAssets | None:
    """The assets of an item; None where one of them needs a closer look."""
    assets = item.get("assets")
    if type(assets) is not dict:
        return None
    looks: list[Look] = []
    hrefs: list[str] = []
    sizes: list[int | None] = []
    checksums: list[str | None] = []
    updates: list[str | None] = []
    is_name = NAME.fullmatch
    directory = None
    try:
        for key, asset in assets.items():
            href = asset["href"]
            slash = href.rfind("/") + 1
            # The assets of an item lie in one directory, mostly.
            if href[:slash] != directory:
                if DIRECTORY.fullmatch(href, 0, slash) is None:
                    return None
                directory = href[:slash]
            if is_name(href, slash) is None:
                return None
            get = asset.get
            dot = href.rfind(".", slash)
            ending = href[dot:] if dot > 0 else ""
            if ending in COMPOUND and (before := href.rfind(".", slash + 1, dot)) > 0:
                ending = href[before:]
            roles = get("roles")
            if roles is not None:
                if type(roles) is not list:
                    return None
                roles = tuple(roles)
            looks.append((key, ending, get("type"), roles))
            hrefs.append(href)
            size = get("file:size")
            if size is not None and not (type(size) is int and 0 <= size <= MAX_INT64):
                size = as_size(size)
                if size is None:
                    return None
            sizes.append(size)
            checksums.append(as_told(get("file:checksum") or get("checksum:multihash")))
            updates.append(as_told(get("updated")))
    except (KeyError, TypeError, AttributeError):
        return None
    return PlainAssets(tuple(looks), hrefs, sizes, checksums, updates)


def pattern_of(looks: tuple[Look, ...]) -> Pattern | None:
    """Look at looks; None where their names clash, or cannot be known from one item alone."""
    kinds, claims, names = [], [], set()
    for key, ending, media_type, roles in looks:
        if key in COMMON_ASSET_KEYS or not (ending[1:].replace(".", "").isalnum() or not ending):
            return None
        if type(media_type) not in (str, type(None)):
            return None
        if roles is not None and not all(type(role) is str for role in roles):
            return None
        suffix = suffix_of_ending(ending, media_type or None)
        name = stem_of(key) + suffix
        kinds.append(AssetKind(key, media_type or None, roles or (), name))
        claims.append((key, suffix))
        names.add(case_key(name))
    if len(names) < len(looks):
        return None
    keys = tuple(kind.key for kind in kinds)
    order = tuple(sorted(range(len(keys)), key=keys.__getitem__))
    return Pattern(
        kinds=tuple(kinds),
        claims=tuple(claims),
        json_names=frozenset(name for name in names if name.endswith("json")),
        keys=keys,
        order=None if order == tuple(range(len(keys))) else order,
        content=claims_text([claims[at] for at in order]),
    )


def claims_text(claims: Iterable[tuple[str, str]]) -> bytes:
    """Keys and extensions of an item's assets, in order of their keys, as one text."""
    return orjson.dumps(list(claims))


def content_text(item_id: str, claims: bytes, files: Sequence[str]) -> bytes:
    """What tells an item from another one that wants the same directory, as one text.

    Args:
        item_id: Its id.
        claims: Its claims, by :func:`claims_text`.
        files: What each asset shares with others exactly when they are one file, in the same order.
    """
    return claims + orjson.dumps((item_id, files))
