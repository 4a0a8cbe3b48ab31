"""What of a filter a STAC API is asked for: pure functions.

All that an API gives is filtered again, so what is asked may let through too much, and nothing that
is wanted may be lost on the way. Where an API would decide otherwise than the filter does, a
condition is left out of what is asked, or loosened. docs/sources.md has the one exception.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from mlhub_core.sources.base import Wanted

PAGE_LIMIT = 500
"""Items asked for per page at first."""
PAGE_LIMITS = (PAGE_LIMIT, 100, 20, 5)
"""What is asked for instead where a server cannot do so many."""
_MAX_SHAPE = 100_000
"""Characters of a shape that is sent; of a larger one it is the box around it."""
_MAX_SHAPE_IN_URL = 3_000
_MAX_IDS = 500
_MAX_IDS_IN_URL = 50
_MAX_LIST = 100

_BASIC, _ADVANCED = "basic-cql2", "advanced-comparison-operators"
_SPATIAL = ("basic-spatial-functions", "basic-spatial-operators", "basic-spatial-functions-plus")
_ORDER = frozenset({"<", "<=", ">", ">="})


@dataclass(frozen=True, slots=True)
class Abilities:
    """What an API can do, by its conformance classes and links.

    Attributes:
        searches: Whether it has a search over all collections.
        posts: Whether that takes POST.
        classes: The last parts of the conformance classes that are about filters.
    """

    searches: bool = False
    posts: bool = False
    classes: frozenset[str] = frozenset()

    def language(self, method: str) -> str | None:
        """How a condition is written for a method; None where none is taken."""
        wanted = "cql2-json" if method == "POST" else "cql2-text"
        return wanted if {"filter", _BASIC, wanted} <= self.classes else None


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked of an API.

    Attributes:
        collections: Ids of collections.
        ids: Ids of items; none means all.
        bbox: A box that does not cross the antimeridian.
        intersects: A GeoJSON geometry, as text.
        datetime: A moment or a range, as STAC APIs write it.
        where: A condition in CQL2, as JSON.
        limit: Items per page.
    """

    collections: tuple[str, ...]
    ids: tuple[str, ...] = ()
    bbox: tuple[float, float, float, float] | None = None
    intersects: str | None = None
    datetime: str | None = None
    where: str | None = None
    limit: int = PAGE_LIMIT

    def method(self, can: Abilities) -> str:
        """How to ask: by GET, which caches and proxies know, unless it would not fit a URL."""
        listed = (*self.collections, *self.ids)
        asks_much = self.intersects or self.where or len(self.ids) > _MAX_IDS_IN_URL
        has_comma = any("," in one for one in listed)
        return "POST" if can.posts and (asks_much or has_comma) else "GET"

    def parameters(self) -> dict[str, Any]:
        """As pystac-client takes it, without what is not asked."""
        given = {
            "limit": self.limit,
            "collections": list(self.collections),
            "ids": list(self.ids),
            "bbox": self.bbox,
            "intersects": self.intersects and json.loads(self.intersects),
            "datetime": self.datetime,
            "filter": self.where and json.loads(self.where),
        }
        return {name: value for name, value in given.items() if value}

    def describe(self) -> str:
        """What is asked for, for people; empty where it is all there is."""
        return ", ".join(self._conditions())

    def left_out(self, collections: tuple[str, ...]) -> str:
        """What is asked for, where all else is left out; empty where it is all there is.

        Args:
            collections: Those that were chosen among others.
        """
        chosen = {"collections": sorted(collections)} if collections else {}
        parts = {**chosen, **self._conditions()}
        return json.dumps(parts, sort_keys=True) if parts else ""

    def _conditions(self) -> dict[str, Any]:
        parts = {
            "ids": self.ids,
            "bbox": self.bbox,
            "intersects": self.intersects,
            "datetime": self.datetime,
            "where": self.where,
        }
        return {name: value for name, value in parts.items() if value}


def query_of(
    wanted: Wanted, collections: Iterable[str], can: Abilities, known: Iterable[str] | None = None
) -> Query:
    """What an API is asked for.

    Args:
        wanted: What is wanted.
        collections: Those that are asked for.
        can: What the API can do.
        known: Names of properties that it can compare; None for any.
    """
    ids, rest = _ids_and_rest(wanted.where, can)
    method = "POST" if can.posts else "GET"
    where = None
    if rest is not None and can.language(method):
        part = pushable(rest, can.classes, None if known is None else frozenset(known))
        where = None if part is None else json.dumps(part)
    bbox, shape = _place(wanted, can)
    return Query(
        tuple(collections), ids, bbox, shape, datetime_text(wanted.start, wanted.end), where
    )


def fewer(query: Query, *, is_overloaded: bool) -> Iterator[tuple[Query, str]]:
    """What to ask instead of what is refused: less and less of it, each with what it lacks.

    Args:
        query: What is refused.
        is_overloaded: Whether the server failed at it, rather than not understand it: then it is
            not asked for much more.
    """
    limits = [limit for limit in PAGE_LIMITS if limit < query.limit]
    if limits:
        query = replace(query, limit=min(limits[0], 100))
        yield query, ""
    if query.datetime and "." in query.datetime.replace("..", "") and not is_overloaded:
        query = replace(query, datetime=_in_seconds(query.datetime))
        yield query, ""
    names = ("where", "intersects", "datetime", "bbox", "ids")
    for name in names[:1] if is_overloaded else names:
        if getattr(query, name):
            nothing: Any = () if name == "ids" else None
            query = replace(query, **{name: nothing})
            yield query, name


def smaller(query: Query) -> Query | None:
    """The same with fewer items per page; None where there are no fewer."""
    limits = [limit for limit in PAGE_LIMITS if limit < query.limit]
    return replace(query, limit=limits[0]) if limits else None


def datetime_text(start: datetime | None, end: datetime | None) -> str | None:
    """A range of time as STAC APIs write it; None for none."""
    if start is None and end is None:
        return None
    return "/".join(".." if moment is None else _moment(moment) for moment in (start, end))


def _moment(moment: datetime) -> str:
    text = moment.astimezone(UTC).replace(tzinfo=None).isoformat()
    return f"{text}Z"


def _in_seconds(text: str) -> str:
    """A range in whole seconds, which all servers know: a little more than it was."""
    start, end = (one if one == ".." else one[:19] + "Z" for one in text.split("/"))
    if "." in text.partition("/")[2].replace("..", ""):
        with suppress(OverflowError):
            end = _moment(datetime.fromisoformat(end) + timedelta(seconds=1))
    return f"{start}/{end}"


# Places


def _place(
    wanted: Wanted, can: Abilities
) -> tuple[tuple[float, float, float, float] | None, str | None]:
    """The box, or else the shape, that is asked for."""
    if wanted.bbox is not None:
        west, south, east, north = wanted.bbox
        if west <= east:
            return wanted.bbox, None
        # What servers make of a box whose west is greater than its east is anybody's guess.
        rings = [_ring(west, south, 180.0, north), _ring(-180.0, south, east, north)]
        crossing = {"type": "MultiPolygon", "coordinates": [[ring] for ring in rings]}
        return None, json.dumps(crossing) if can.searches else None
    if wanted.intersects is None:
        return None, None
    most = _MAX_SHAPE if can.posts else _MAX_SHAPE_IN_URL
    if can.searches and len(wanted.intersects) <= most:
        return None, wanted.intersects
    return wanted.box, None


def _ring(west: float, south: float, east: float, north: float) -> list[list[float]]:
    return [[west, south], [east, south], [east, north], [west, north], [west, south]]


# Conditions


def _ids_and_rest(where: str | None, can: Abilities) -> tuple[tuple[str, ...], Any]:
    """The ids that a condition asks for, which every search takes, and the rest of it."""
    if where is None:
        return (), None
    import cql2  # here, because it takes long to import

    tree = cql2.parse_text(where).to_json()
    parts = tree["args"] if _operation(tree) == "and" else [tree]
    ids: tuple[str, ...] = ()
    rest = []
    for part in parts:
        found = _ids_in(part)
        fits = found and not ids and can.searches and len(found) <= _limit_of_ids(can)
        if fits and (can.posts or not any("," in one for one in found)):
            ids = found
        else:
            rest.append(part)
    return ids, {"op": "and", "args": rest} if rest else None


def _limit_of_ids(can: Abilities) -> int:
    return _MAX_IDS if can.posts else _MAX_IDS_IN_URL


def _ids_in(node: Any) -> tuple[str, ...]:
    """The ids of a condition that asks for ids alone."""
    operation, parts = _operation(node), _parts(node)
    if operation not in ("=", "in") or len(parts) != 2 or _name(parts[0]) != "id":
        return ()
    found = parts[1] if operation == "in" else [parts[1]]
    if isinstance(found, list) and all(isinstance(one, str) for one in found):
        return tuple(dict.fromkeys(found))
    return ()


def pushable(
    node: Any, classes: frozenset[str], known: frozenset[str] | None
) -> dict[str, Any] | None:
    """What of a condition an API may decide; None for nothing.

    Of parts that all have to hold, some may be left out. Left to us are: whether something is
    missing, as null is no text in some servers and is in others; the order of texts, which differs
    by language; times, which they compare as texts where they do not know them; patterns with
    escapes; and whatever they do not say that they can.

    Args:
        node: The condition, as JSON.
        classes: The last parts of the API's conformance classes.
        known: Names of properties that it can compare; None for any.
    """
    if _ADVANCED not in classes:
        node = _basic(node)
    can = _Decider(classes, known)
    if _operation(node) == "and":
        found = [pushable(part, classes, known) for part in _parts(node)]
        parts = [part for part in found if part is not None]
        return {"op": "and", "args": parts} if len(parts) > 1 else next(iter(parts), None)
    return node if can.decides(node) else None


def _basic(node: Any) -> Any:
    """A condition without lists and ranges, which are more than basic CQL2 has."""
    operation, parts = _operation(node), _parts(node)
    if operation in ("and", "or", "not"):
        return {"op": operation, "args": list(map(_basic, parts))}
    if operation == "between" and len(parts) == 3:
        ends = zip((">=", "<="), parts[1:], strict=True)
        return {"op": "and", "args": [{"op": one, "args": [parts[0], end]} for one, end in ends]}
    if operation == "in" and isinstance(parts[1], list) and 0 < len(parts[1]) <= _MAX_LIST:
        each = [{"op": "=", "args": [parts[0], one]} for one in parts[1]]
        return each[0] if len(each) == 1 else {"op": "or", "args": each}
    return node


@dataclass(frozen=True, slots=True)
class _Decider:
    """Whether an API decides conditions as the filter does, or in favour of an item."""

    classes: frozenset[str]
    known: frozenset[str] | None

    def decides(self, node: Any, is_negated: bool = False) -> bool:
        operation, parts = _operation(node), _parts(node)
        if operation in ("and", "or"):
            return all(self.decides(part, is_negated) for part in parts)
        if operation == "not":
            return self.decides(parts[0], True)
        if operation == "s_intersects":
            return not is_negated and self._intersects(parts)
        if not parts or not self._is_known(parts[0]):
            return False
        if operation in ("=", "<>"):
            return _is_plain(parts[1])
        if operation in _ORDER:
            return _is_number(parts[1])
        if _ADVANCED not in self.classes:
            return False
        if operation == "between":
            return all(map(_is_number, parts[1:]))
        if operation == "in":
            return isinstance(parts[1], list) and all(map(_is_plain, parts[1]))
        pattern = parts[1] if operation == "like" else None
        return isinstance(pattern, str) and "\\" not in pattern and not is_negated

    def _is_known(self, node: Any) -> bool:
        name = _name(node)
        if name is None or name in ("geometry", "datetime"):
            return False
        return self.known is None or name in self.known

    def _intersects(self, parts: list[Any]) -> bool:
        has_shape = len(parts) == 2 and isinstance(parts[1], dict) and "type" in parts[1]
        can = not self.classes.isdisjoint(_SPATIAL)
        return can and has_shape and _name(parts[0]) == "geometry"


def _operation(node: Any) -> str | None:
    found = node.get("op") if isinstance(node, dict) else None
    return found if isinstance(found, str) else None


def _parts(node: Any) -> list[Any]:
    found = node.get("args") if isinstance(node, dict) else None
    return found if isinstance(found, list) else []


def _name(node: Any) -> str | None:
    """The name of a property, None of anything else."""
    found = node.get("property") if isinstance(node, dict) else None
    return found.removeprefix("properties.") if isinstance(found, str) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | bool) or _is_number(value)
