"""JSON as others write it: whatever a parser can take, and nothing that we could not write again.

The standard is strict and hubs are not: NaN, integers of thousands of digits, lone surrogates, byte
order marks and UTF-16 all occur. What neither JSON nor Arrow can hold becomes null, or U+FFFD.
"""

from __future__ import annotations

import json
import math
from typing import Any

import orjson

_MOST_DIGITS = 4_000
"""Python refuses to read integers of more than 4,300."""


def parse_json(data: bytes, *, max_depth: int | None = None) -> Any:
    """Read JSON.

    Args:
        data: Its bytes, in UTF-8, or UTF-16 or UTF-32 by its first bytes.
        max_depth: Lists and objects within each other at most; None for what the parser takes.

    Raises:
        ValueError: if it is no JSON, or nested too deeply.
    """
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        value = _parse_leniently(data)
    if max_depth is not None and _is_deeper(value, max_depth):
        raise ValueError(f"nested more than {max_depth} deep")
    return value


def _parse_leniently(data: bytes) -> Any:
    text = data.decode(json.detect_encoding(data)).removeprefix("\ufeff")
    try:
        return clean(json.loads(text, parse_int=_integer))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _integer(digits: str) -> int | None:
    return int(digits) if len(digits) <= _MOST_DIGITS else None


def clean(value: Any) -> Any:
    """Replace what neither JSON nor Arrow can hold."""
    if isinstance(value, dict):
        cleaned: dict[str, Any] = {}
        for key, part in value.items():
            name = clean(key)
            while name in cleaned:  # keys that differed in what is replaced
                name += "?"
            cleaned[name] = clean(part)
        return cleaned
    if isinstance(value, list):
        return [clean(part) for part in value]
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _is_deeper(value: Any, most: int) -> bool:
    level = [value]
    for _ in range(most + 1):
        level = [part for one in level for part in _parts(one) if isinstance(part, dict | list)]
        if not level:
            return False
    return True


def _parts(value: Any) -> Any:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
