"""JSON read piece by piece: the same values as read whole, wherever it is cut."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlhub_core.exceptions import ArchiveCorrupt, ArchiveLimitExceeded
from mlhub_core.sources.json_stream import JsonText, lines, values

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
CODINGS = st.sampled_from(["utf-8", "utf-8-sig", "utf-16"])


def cut(data: bytes, size: int) -> list[bytes]:
    # What tells one coding from another is read in one piece.
    return [data[:8], *(data[at : at + size] for at in range(8, len(data), size))]


def read(data: bytes, size: int = 3, most: int = 10_000) -> list[Any]:
    return list(values(JsonText(cut(data, size), "it", most)))


@settings(max_examples=30)
@given(st.lists(JSON, max_size=4), JSON, CODINGS, st.integers(1, 40), st.booleans())
def test_features_come_one_by_one(
    features: list[Any], more: Any, coding: str, size: int, ascii_only: bool
) -> None:
    whole = {"type": "FeatureCollection", "a": more, "features": features, "b": more}
    text = json.dumps(whole, ensure_ascii=ascii_only, indent=size % 2 or None)
    data = text.encode(coding, "surrogatepass" if coding != "utf-16" else "replace")
    if "\\ud" not in text and coding != "utf-16":
        assert read(data, size) == features
    assert len(read(data, size)) == len(features)
    assert len(read(json.dumps(features).encode())) == len(features)


@settings(max_examples=30)
@given(st.dictionaries(st.text(max_size=3).filter(lambda name: name != "features"), JSON))
def test_an_object_without_features_is_a_value(value: dict[str, Any]) -> None:
    data = json.dumps(value).encode()
    assert len(read(data + b"\n" + data)) == 2


@pytest.mark.parametrize(
    ("data", "error", "told"),
    [
        (b'{"features": [{"a": 1}, {"b": "cut of', ArchiveCorrupt, "breaks off"),
        (b'{"features": [{"a": 1} {"b": 2}]}', ArchiveCorrupt, "']' is missing"),
        (b'{"features": [{"a": 1}, {b: 2}, {"c": 3}, {"d": 4}]}', ArchiveCorrupt, "property name"),
        (b"<html></html>", ArchiveCorrupt, "no JSON"),
        (b'{"features": [' + b"[" * 200_000, ArchiveCorrupt, "nested too deeply"),
        (b'{"features": ["' + b"x" * 20_000 + b'"]}', ArchiveLimitExceeded, "--max-json-bytes"),
    ],
)
def test_what_is_wrong_is_one_line(data: bytes, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told) as raised:
        read(data, 1000, 500_000 if b"[[" in data else 10_000)
    assert "\n" not in str(raised.value)


def test_what_neither_json_nor_arrow_holds_becomes_null() -> None:
    data = b'[{"a": NaN, "b": -Infinity}, {"c": "\\ud800"}, ' + b"9" * 5000 + b"]"
    assert read(data) == [{"a": None, "b": None}, {"c": "?"}, None]


def test_lines() -> None:
    assert list(lines([b"a\nb", b"c\n\nd"], "it", 5)) == [b"a", b"bc", b"", b"d"]
    with pytest.raises(ArchiveLimitExceeded, match="it, line 2 has more than 5 bytes"):
        list(lines([b"a\n123", b"456"], "it", 5))
