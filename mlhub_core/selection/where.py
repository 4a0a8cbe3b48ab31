"""Conditions on the properties of items, in CQL2 text: ``eo:cloud_cover < 10 AND NOT gsd IS NULL``.

The ``cql2`` library parses; what it gives is turned into functions here. As in SQL, a comparison
with something that is not there is neither true nor false, and only what is true matches.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any

from mlhub_core.exceptions import InvalidArgument
from mlhub_core.index.datetimes import microseconds

Properties = Mapping[str, Any]
_Value = Callable[[Properties], Any]
_Truth = Callable[[Properties], bool | None]

_HOW = (
    "compare properties of items with numbers, texts, true, false, DATE('2020-01-31') or "
    "TIMESTAMP('2020-01-31T12:00:00Z') by =, <>, <, <=, >, >=, IN, BETWEEN, LIKE, IS NULL, and "
    "join with AND, OR, NOT, as in \"eo:cloud_cover < 10 AND platform = 'sentinel-2a'\""
)
_ORDER: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_MAX_CHARACTERS = 10_000
_MAX_DEPTH = 50
_DAY = timedelta(days=1) // timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class _Moments:
    """A literal of time: a moment, or a whole day. Microseconds since 1970."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition, ready to be asked.

    Attributes:
        names: The properties that it looks at.
        holds: Whether it holds for the properties of an item; None where they do not say.
    """

    names: frozenset[str]
    holds: _Truth


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
def parse_where(text: str) -> Condition:
    """Turn the text of a condition into functions.

    Raises:
        InvalidArgument: if it is none, or asks for what is not offered.
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
    return Condition(frozenset(builder.names), holds)


class _Builder:
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
            value = self.value(node)
            return lambda found: known if isinstance(known := value(found), bool) else None
        name, parts = self._operation(node)
        if name in ("and", "or"):
            return _joined([self.truth(part, depth + 1) for part in parts], name == "or")
        if name == "not":
            return _negated(self.truth(parts[0], depth + 1))
        if name == "isNull":
            value = self.value(parts[0])
            return lambda found: value(found) is None
        if name in ("=", "<>", *_ORDER):
            return _compared(name, self.value(parts[0]), self.value(parts[1]))
        if name == "between":
            value, low, high = map(self.value, parts)
            return _joined([_compared(">=", value, low), _compared("<=", value, high)], False)
        if name == "in":
            value = self.value(parts[0])
            return _joined([_compared("=", value, self.value(one)) for one in parts[1]], True)
        if name == "like":
            return self._like(parts)
        raise self._refused(f"uses {name!r}")

    def value(self, node: Any) -> _Value:
        """A part that has a value: a property, a literal, or one of these without case."""
        if node is None or isinstance(node, bool | int | float | str):
            return lambda _: node
        if isinstance(node, dict) and isinstance(node.get("property"), str):
            wanted: str = node["property"].removeprefix("properties.")
            self.names.add(wanted)
            return lambda found: found.get(wanted)
        if isinstance(node, dict) and ("timestamp" in node or "date" in node):
            moments = self._moments(node)
            return lambda _: moments
        name, parts = self._operation(node)
        if name == "casei":
            value = self.value(parts[0])
            return lambda found: _casefolded(value(found))
        raise self._refused(f"uses {name!r} where a value belongs")

    def _like(self, parts: list[Any]) -> _Truth:
        value, node = self.value(parts[0]), parts[1]
        folded = isinstance(node, dict) and node.get("op") == "casei"
        text = node["args"][0] if folded else node
        if not isinstance(text, str):
            raise self._refused("uses LIKE without a text")
        pattern = re.compile(_like_pattern(text.casefold() if folded else text), re.DOTALL)
        return lambda found: (
            bool(pattern.fullmatch(known)) if isinstance(known := value(found), str) else None
        )

    def _moments(self, node: dict[str, Any]) -> _Moments:
        text = node.get("timestamp") or node.get("date")
        first = microseconds(text) if isinstance(text, str) else None
        if first is None:
            raise self._refused(f"holds {text!r}, which is no date")
        return _Moments(first, first + (_DAY - 1 if "date" in node else 0))

    def _operation(self, node: Any) -> tuple[str, list[Any]]:
        if not isinstance(node, dict) or not isinstance(node.get("op"), str):
            raise self._refused(f"holds {json.dumps(node)[:60]}, which is no condition")
        return node["op"], node.get("args") or []

    def _refused(self, why: str) -> InvalidArgument:
        return InvalidArgument(f"where {self._text!r} {why}: {_HOW}.")


def _joined(parts: list[_Truth], wins: bool) -> _Truth:
    """Parts of which one that is ``wins`` decides: OR with True, AND with False."""

    def holds(found: Properties) -> bool | None:
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


def _compared(name: str, left: _Value, right: _Value) -> _Truth:
    return lambda found: compare(name, left(found), right(found))


def compare(name: str, left: Any, right: Any) -> bool | None:
    """Compare two values; None where they cannot be: one is missing, or of another kind."""
    if isinstance(left, _Moments):
        turned = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
        return compare(turned.get(name, name), right, left)
    if isinstance(right, _Moments):
        return _compare_moment(name, left, right)
    kinds = _kind(left), _kind(right)
    if kinds[0] is None or kinds[0] != kinds[1]:
        return None
    if name in ("=", "<>"):
        return bool(left == right) is (name == "=")
    return None if kinds[0] == "truth" else bool(_ORDER[name](left, right))


def _compare_moment(name: str, value: Any, wanted: _Moments) -> bool | None:
    moment = microseconds(value) if isinstance(value, str) else None
    if moment is None:
        return None
    if name in ("=", "<>"):
        return (wanted.first <= moment <= wanted.last) is (name == "=")
    # Before a day is before its beginning; after it, behind its end.
    edge = wanted.first if name in ("<", ">=") else wanted.last
    return bool(_ORDER[name](moment, edge))


def _kind(value: Any) -> str | None:
    if isinstance(value, bool):
        return "truth"
    if isinstance(value, int | float):
        return "number"
    return "text" if isinstance(value, str) else None


def _casefolded(value: Any) -> Any:
    return value.casefold() if isinstance(value, str) else value


def _like_pattern(text: str) -> str:
    """A regular expression of a LIKE pattern: ``%`` is anything, ``_`` one character."""
    parts = re.split(r"(\\.|%|_)", text, flags=re.DOTALL)
    special = {"%": ".*", "_": "."}
    return "".join(
        special.get(part) or re.escape(part[1:] if part[:1] == "\\" and len(part) == 2 else part)
        for part in parts
    )
