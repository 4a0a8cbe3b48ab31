"""Conditions on items, in CQL2 text: ``eo:cloud_cover < 10 AND NOT gsd IS NULL``.

The ``cql2`` library reads them and decides each comparison. As in SQL, a comparison with something
that is not there is neither true nor false, and only what is true matches: AND, OR, NOT and IS NULL
are joined here, because the library knows no third value and raises instead.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import orjson

from mlhub_core.exceptions import InvalidArgument
from mlhub_core.index.datetimes import microseconds, moment_text

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

_Truth = Callable[[Mapping[str, Any]], bool | None]

_HOW = (
    "compare properties of items with numbers, texts, true, false, DATE('2020-01-31') or "
    "TIMESTAMP('2020-01-31T12:00:00Z') by =, <>, <, <=, >, >=, IN, BETWEEN, LIKE, IS NULL, and "
    "join with AND, OR, NOT, as in \"eo:cloud_cover < 10 AND platform = 'sentinel-2a'\""
)
_TURNED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_COMPARISONS = {"=", "<>", *_TURNED}
_SPATIAL = "intersects equals disjoint touches within overlaps crosses contains"
_TEMPORAL = (
    "after before contains disjoint during equals finishedBy finishes intersects meets metBy "
    "overlappedBy overlaps startedBy starts"
)
_OF_ARRAYS = "contains containedBy equals overlaps"
_TESTS = {
    "like",
    *("s_" + name for name in _SPATIAL.split()),
    *("t_" + name for name in _TEMPORAL.split()),
    *("a_" + name for name in _OF_ARRAYS.split()),
}
_FUNCTIONS = {"casei", "accenti", "+", "-", "*", "/", "%", "^", "div"}
_MAX_CHARACTERS = 10_000
_MAX_DEPTH = 50
_DAY = timedelta(days=1) // timedelta(microseconds=1)
_OF_ITEM = frozenset({"id", "collection", "geometry"})
"""Names that stand for something of the item that is not among its properties."""


@dataclass(frozen=True, slots=True)
class Where:
    """A condition, ready to be asked.

    Attributes:
        names: The properties that it looks at.
        holds: Whether it holds for the properties of an item; None where they do not say.
    """

    names: frozenset[str]
    holds: _Truth


class ItemsThatFulfil:
    """Items that fulfil a condition.

    Args:
        text: The condition, CQL2 text.

    Attributes:
        columns: What is looked at.
    """

    def __init__(self, text: str) -> None:
        self._where = parse_where(text)
        self._unseen = set(self._where.names - _OF_ITEM)
        self._known: set[str] = set()
        self._has_shape = "geometry" in self._where.names
        self.columns = ("properties", *(["geometry"] if self._has_shape else []))

    def __call__(self, items: pa.RecordBatch) -> NDArray[np.bool_]:
        """Which of some items."""
        import numpy as np

        found = map(self._properties, items.to_pylist())
        return np.array([self._where.holds(properties) is True for properties in found], bool)

    def _properties(self, item: dict[str, Any]) -> dict[str, Any]:
        properties = _parsed(item["properties"])
        if self._unseen:
            self._unseen.difference_update(properties)
            if len(self._known) < 1000:
                self._known.update(properties)
        own = {"id": item["item_id"], "collection": item["collection_id"]}
        if self._has_shape and item["geometry"] is not None:
            import shapely

            shape = shapely.from_wkb(item["geometry"], on_invalid="ignore")
            own["geometry"] = shape and json.loads(shapely.to_geojson(shape))
        return {**own, **properties}

    def complaint(self) -> str:
        """What to say when nothing matched: names that no item has, and what they may have been."""
        said = ""
        for name in sorted(self._unseen) if self._known else ():
            near = difflib.get_close_matches(name, self._known, n=2)
            hint = f": did you mean {' or '.join(map(repr, near))}?" if near else "."
            said += f" No item has a property {name!r}{hint}"
        return said


def _parsed(text: str | None) -> dict[str, Any]:
    try:
        found = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def check_where(text: Any) -> str | None:
    """Check a condition.

    Returns:
        The text as it was, without blanks around it.

    Raises:
        InvalidArgument: if it is none; the message points at what is wrong.
    """
    if text is None:
        return None
    if not isinstance(text, str) or not text.strip():
        raise InvalidArgument(f"where is {text!r}: {_HOW}.")
    parse_where(text.strip())
    return text.strip()


@lru_cache(maxsize=16)
def parse_where(text: str) -> Where:
    """Read a condition.

    Raises:
        InvalidArgument: if it is none, or asks for what no item can have.
    """
    if len(text) > _MAX_CHARACTERS:
        raise InvalidArgument(f"where has {len(text):,} characters: {_MAX_CHARACTERS:,} at most.")
    import cql2

    try:
        tree = cql2.parse_text(text).to_json()
    except (cql2.ParseError, ValueError) as error:
        column = re.search(r"-->\s*\d+:(\d+)", str(error))
        at = f" at character {column[1]}" if column else ""
        raise InvalidArgument(f"where {text!r} cannot be read{at}: {_HOW}.") from error
    builder = _Builder(text)
    holds = builder.truth(tree, 0)
    return Where(frozenset(builder.names), holds)


class _Builder:
    """Turns a tree of CQL2 into functions, and refuses what the library would raise for."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.names: set[str] = set()

    def truth(self, node: Any, depth: int) -> _Truth:
        """A part that is true, false or unknown."""
        if depth > _MAX_DEPTH:
            raise self._refused("is nested too deeply")
        if isinstance(node, bool):
            return lambda _: node
        if isinstance(node, dict) and "property" in node:
            name = self._name(node)
            return lambda found: known if isinstance(known := found.get(name), bool) else None
        operation, parts = self._operation(node)
        if operation in ("and", "or"):
            return _joined([self.truth(part, depth + 1) for part in parts], operation == "or")
        if operation == "not":
            return _negated(self.truth(parts[0], depth + 1))
        if operation == "isNull":
            name = self._name(parts[0])
            return lambda found: found.get(name) is None
        return self._test(node, operation, parts)

    def _test(self, node: dict[str, Any], operation: str, parts: list[Any]) -> _Truth:
        """A part that asks something of values."""
        if operation == "between":
            value, low, high = parts
            ends = [self._compared(">=", value, low), self._compared("<=", value, high)]
            return _joined(ends, False)
        if operation == "in":
            return self._among(*parts)
        if operation in _COMPARISONS:
            return self._compared(operation, *parts)
        if operation in _TESTS:
            return self._decided(node)
        raise self._refused(f"uses {operation!r}")

    def _compared(self, name: str, left: Any, right: Any) -> _Truth:
        """A comparison; with a date, which is the whole day."""
        if isinstance(left, dict) and "date" in left:
            return self._compared(_TURNED.get(name, name), right, left)
        if not (isinstance(right, dict) and "date" in right):
            return self._decided({"op": name, "args": [left, right]})
        first = self._moment(right)
        ends = {"timestamp": moment_text(first)}, {"timestamp": moment_text(first + _DAY - 1)}
        if name in ("=", "<>"):
            sides = zip((">=", "<="), ends, strict=True)
            inside = _joined([self._compared(side, left, end) for side, end in sides], False)
            return inside if name == "=" else _negated(inside)
        # Before a day is before its beginning; after it, behind its end.
        return self._compared(name, left, ends[name in (">", "<=")])

    def _among(self, value: Any, wanted: list[Any]) -> _Truth:
        """One of a list, which may be long: what is plain is looked up."""
        kinds = {_kind(one) for one in wanted}
        if not (isinstance(value, dict) and "property" in value) or kinds - {"number", "text"}:
            return _joined([self._compared("=", value, one) for one in wanted], True)
        name, values = self._name(value), frozenset(wanted)

        def holds(found: Mapping[str, Any]) -> bool | None:
            kind = _kind(found.get(name))
            if kind in kinds and found[name] in values:
                return True
            return False if kinds == {kind} else None

        return holds

    def _decided(self, node: dict[str, Any]) -> _Truth:
        """A comparison that the library decides."""
        import cql2

        own: dict[str, str] = {}
        expression = cql2.Expr(self._renamed(node, own))
        text = json.dumps(node)
        has_moment = any(f'"{name}":' in text for name in ("timestamp", "date", "interval"))

        def holds(found: Mapping[str, Any]) -> bool | None:
            known = {}
            for name, renamed in own.items():
                value = found.get(name)
                if has_moment and isinstance(value, str):
                    moment = microseconds(value)
                    value = None if moment is None else moment_text(moment)
                if value is None:
                    return None
                known[renamed] = value
            try:
                return expression.matches({"properties": known})
            except Exception:  # noqa: BLE001 - the library's only one: what is there is of another kind
                return None

        return holds

    def _renamed(self, node: Any, own: dict[str, str], depth: int = 0) -> Any:
        """A value with properties under names of our own: dots in theirs lead nowhere else."""
        if depth > _MAX_DEPTH:
            raise self._refused("is nested too deeply")
        if isinstance(node, list):
            return [self._renamed(part, own, depth + 1) for part in node]
        if not isinstance(node, dict):
            return node
        if "property" in node:
            return {"property": own.setdefault(self._name(node), f"p{len(own)}")}
        if "timestamp" in node or "date" in node:
            moment = self._moment(node)
            return {"timestamp": moment_text(moment)} if "timestamp" in node else node
        if "op" in node:
            operation, parts = self._operation(node)
            if operation not in _FUNCTIONS | _COMPARISONS | _TESTS:
                raise self._refused(f"uses {operation!r} where a value belongs")
            return {"op": operation, "args": self._renamed(parts, own, depth + 1)}
        return {name: self._renamed(part, own, depth + 1) for name, part in node.items()}

    def _name(self, node: Any) -> str:
        if not isinstance(node, dict) or not isinstance(node.get("property"), str):
            raise self._refused(f"holds {json.dumps(node)[:60]}, which is no property")
        name: str = node["property"].removeprefix("properties.")
        self.names.add(name)
        return name

    def _moment(self, node: dict[str, Any]) -> int:
        text = node.get("timestamp") or node.get("date")
        moment = microseconds(text) if isinstance(text, str) else None
        if moment is None:
            raise self._refused(f"holds {text!r}, which is no date")
        return moment

    def _operation(self, node: Any) -> tuple[str, list[Any]]:
        if not isinstance(node, dict) or not isinstance(node.get("op"), str):
            raise self._refused(f"holds {json.dumps(node)[:60]}, which is no condition")
        return node["op"], node.get("args") or []

    def _refused(self, why: str) -> InvalidArgument:
        return InvalidArgument(f"where {self._text!r} {why}: {_HOW}.")


def _joined(parts: list[_Truth], wins: bool) -> _Truth:
    """Parts of which one that is ``wins`` decides: OR with True, AND with False."""

    def holds(found: Mapping[str, Any]) -> bool | None:
        unknown = False
        for part in parts:
            known = part(found)
            if known is wins:
                return wins
            unknown = unknown or known is None
        return None if unknown else not wins

    return holds


def _negated(part: _Truth) -> _Truth:
    return lambda found: None if (known := part(found)) is None else not known


def _kind(value: Any) -> str | None:
    if isinstance(value, bool):
        return "truth"
    if isinstance(value, int | float):
        return "number"
    return "text" if isinstance(value, str) else None
