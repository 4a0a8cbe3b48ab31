"""STAC collections as old and careless hubs give them, made into what PySTAC can read."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from mlhub_core.index.datetimes import edges, microseconds

log = logging.getLogger(__name__)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_VERSION = "1.0.0"
_WORLD = [-180.0, -90.0, 180.0, 90.0]
_ALWAYS: list[str | None] = [None, None]
_REQUIRED = ("id", "description", "license", "links")


def complete_collection(given: dict[str, Any]) -> dict[str, Any]:
    """Fill in required fields that are missing, and leave out what is of a wrong type.

    Before 1.0.0 collections had no ``type``, which PySTAC then forbids, and boxes and intervals
    that stood by themselves; they become collections of 1.0.0. What is left out is logged.
    """
    found = {name: value for name, value in given.items() if value is not None}
    before = {name: found.get(name) for name in _USABLE}
    for name, usable in _USABLE.items():
        if name in found or name in _REQUIRED:
            found[name] = usable(found.get(name))
    changed = [name for name, value in before.items() if value is not None and found[name] != value]
    if changed:
        log.warning("collection %r: read in part: %s", found["id"][:80], ", ".join(changed))
    extent = _fields(found.get("extent"))
    spatial, temporal = extent.get("spatial"), extent.get("temporal")
    found["extent"] = {
        **extent,
        "spatial": {**_fields(spatial), "bbox": _boxes(spatial)},
        "temporal": {**_fields(temporal), "interval": _intervals(temporal)},
    }
    version = found.get("stac_version")
    if not isinstance(version, str) or not version[:1].isdecimal() or _is_old(version):
        found["stac_version"] = _VERSION
    return found | {"type": "Collection"}


def _is_old(version: str) -> bool:
    return version.startswith("0.") or version.startswith("1.0.0-beta")


def _boxes(spatial: Any) -> list[list[float]]:
    boxes = spatial.get("bbox") if isinstance(spatial, dict) else spatial
    if _is_box(boxes):
        boxes = [boxes]
    return [box for box in _listed(boxes) if _is_box(box)] or [_WORLD]


def _is_box(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) in (4, 6)
        and all(isinstance(number, int | float) for number in value)
    )


def _intervals(temporal: Any) -> list[list[str | None]]:
    intervals = temporal.get("interval") if isinstance(temporal, dict) else temporal
    if isinstance(intervals, list) and intervals and not isinstance(intervals[0], list):
        intervals = [intervals]
    pairs = [pair for pair in _listed(intervals) if isinstance(pair, list) and len(pair) == 2]
    return [[_moment(pair[0], 0), _moment(pair[1], 1)] for pair in pairs] or [_ALWAYS]


def _moment(value: Any, side: int) -> str | None:
    """A moment as RFC 3339; of a year or month its first or last one, None of what is none."""
    if not isinstance(value, str):
        return None
    found = microseconds(value)
    if found is None:
        sides = edges(value)
        found = None if sides is None else sides[side]
    return None if found is None else (_EPOCH + timedelta(microseconds=found)).isoformat()


def _fields(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _links(value: Any) -> list[Any]:
    return [
        link
        for link in _listed(value)
        if isinstance(link, dict)
        and isinstance(link.get("rel"), str)
        and isinstance(link.get("href"), str)
    ]


def _providers(value: Any) -> list[Any]:
    return [one for one in _listed(value) if isinstance(one, dict) and "name" in one]


def _assets(value: Any) -> dict[str, Any]:
    return {
        key: asset
        for key, asset in _fields(value).items()
        if isinstance(asset, dict) and isinstance(asset.get("href"), str)
    }


_USABLE: dict[str, Callable[[Any], Any]] = {
    "id": lambda value: "" if value is None else str(value),
    "description": lambda value: value if isinstance(value, str) else "",
    "license": lambda value: value if isinstance(value, str) else "other",
    "links": _links,
    "providers": _providers,
    "assets": _assets,
    "summaries": _fields,
    "stac_extensions": lambda value: [one for one in _listed(value) if isinstance(one, str)],
}
