"""What items have in common: found out once, then recognised.

The URLs of an item's assets mostly begin alike and end as those of other items with the same keys:
``…/S2A_…_32_0_B01.tif``. Such endings are kept as a template; an item that fits it is known with a
look at what its URLs begin with.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any, NamedTuple

from mlhub_core.index.items import MAX_INT64, as_size, as_told
from mlhub_core.index.plain import (
    COMPOUND,
    DIRECTORY,
    NAME,
    Look,
    Pattern,
    PlainAssets,
    pattern_of,
    plain_assets,
)
from mlhub_core.sources.documents import JsonObject

_MAX_PATTERNS = 10_000
"""Remembered; catalogs have a few, unless each item has asset keys of its own."""
_MAX_TEMPLATES = 4
"""Of the same asset keys."""
_BEFORE_ANY_NAME = re.compile(f"{DIRECTORY.pattern}(?:{NAME.pattern})?")
_WITHIN_A_NAME = re.compile(f"{DIRECTORY.pattern}{NAME.pattern}")


class _Template(NamedTuple):
    """Assets that differ from item to item in what their URLs begin with, sizes and checksums.

    Attributes:
        types: The media types.
        roles: The roles.
        tails: What the URLs end with.
        head: What they may begin with.
        looks: As ``plain_assets`` has them.
        pattern: What follows from that.
    """

    types: list[Any]
    roles: list[Any]
    tails: list[str]
    head: re.Pattern[str]
    looks: tuple[Look, ...]
    pattern: Pattern


class Patterns:
    """Recognises the assets of items."""

    def __init__(self) -> None:
        self._patterns: dict[tuple[Look, ...], Pattern | None] = {}
        self._templates: dict[tuple[str, ...], list[_Template]] = defaultdict(list)

    def read(self, item: JsonObject) -> tuple[PlainAssets, Pattern] | None:
        """The assets of an item; None where they need a closer look."""
        assets = item.get("assets")
        if type(assets) is not dict:
            return None
        keys = tuple(assets)
        templates = self._templates.get(keys)
        if templates is not None:
            found = _by_template(templates, [*assets.values()])
            if found is not None:
                return found
        plain = plain_assets(item)
        pattern = None if plain is None else self._pattern(plain.looks)
        if plain is None or pattern is None:
            return None
        if templates is None or len(templates) < _MAX_TEMPLATES:
            self._learn(keys, [*assets.values()], plain, pattern)
        return plain, pattern

    def _pattern(self, looks: tuple[Look, ...]) -> Pattern | None:
        try:
            return self._patterns[looks]
        except KeyError:
            if len(self._patterns) >= _MAX_PATTERNS:
                self._patterns.clear()
            found = self._patterns[looks] = pattern_of(looks)
            return found
        except TypeError:  # a media type or role that is no text, but a list
            return None

    def _learn(
        self, keys: tuple[str, ...], assets: list[Any], plain: PlainAssets, pattern: Pattern
    ) -> None:
        cut = _head_length(plain)
        tails = [href[cut:] for href in plain.hrefs]
        if not cut or not all(map(_decides, plain.looks)):
            return
        if len(self._templates) >= _MAX_PATTERNS:
            self._templates.clear()
        self._templates[keys].append(
            _Template(
                types=[asset.get("type") for asset in assets],
                roles=[asset.get("roles") for asset in assets],
                tails=tails,
                head=_BEFORE_ANY_NAME if all(map(NAME.fullmatch, tails)) else _WITHIN_A_NAME,
                looks=plain.looks,
                pattern=pattern,
            )
        )


def _by_template(
    templates: list[_Template], assets: list[Any]
) -> tuple[PlainAssets, Pattern] | None:
    try:
        hrefs = [asset["href"] for asset in assets]
        types = [asset.get("type") for asset in assets]
        roles = [asset.get("roles") for asset in assets]
        for one in templates:
            if types != one.types or roles != one.roles:
                continue
            head = hrefs[0][: len(hrefs[0]) - len(one.tails[0])]
            if [head + tail for tail in one.tails] == hrefs and one.head.fullmatch(head):
                break
        else:
            return None
    except (KeyError, TypeError, AttributeError):
        return None
    sizes = _sizes(assets)
    if sizes is None:
        return None
    plain = PlainAssets(one.looks, hrefs, sizes, _checksums(assets), _updates(assets))
    return plain, one.pattern


def _sizes(assets: list[Any]) -> list[int | None] | None:
    """Sizes; None where one of them is odd."""
    sizes = [asset.get("file:size") for asset in assets]
    kinds = {*map(type, sizes)}
    if kinds == {int} and min(sizes) >= 0 and max(sizes) <= MAX_INT64:
        return sizes
    if kinds == {type(None)}:
        return sizes
    found = [*map(as_size, sizes)]
    return None if found.count(None) > sizes.count(None) else found


def _checksums(assets: list[Any]) -> list[str | None]:
    sums = [asset.get("file:checksum") or asset.get("checksum:multihash") for asset in assets]
    return [*map(as_told, sums)] if any(sums) else [None] * len(sums)


def _updates(assets: list[Any]) -> list[str | None]:
    return [as_told(asset.get("updated")) for asset in assets]


def _head_length(plain: PlainAssets) -> int:
    """How many characters to leave to the head: what all URLs begin with, short of any ending.

    None of it where they lie in several directories, or are none.
    """
    if not plain.hrefs:
        return 0
    lengths = [
        len(href) - len(look[1]) for href, look in zip(plain.hrefs, plain.looks, strict=True)
    ]
    first, last = min(plain.hrefs), max(plain.hrefs)
    pairs = enumerate(zip(first, last, strict=False))
    alike = next((at for at, (one, other) in pairs if one != other), len(first))
    cut = min(alike, *lengths)
    return 0 if any("/" in href[cut:] for href in plain.hrefs) else cut


def _decides(look: Look) -> bool:
    """Whether a URL has this ending whatever the tail, which holds it, comes after."""
    ending = look[1]
    last = ending[ending.rfind(".") :]
    return bool(ending) and (last not in COMPOUND or last != ending)
