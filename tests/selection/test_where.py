"""Conditions on properties."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlhub_core.exceptions import InvalidArgument
from mlhub_core.selection.cql2 import check_where, parse_where

POINT = {"type": "Point", "coordinates": [1.0, 2.0]}


@pytest.mark.parametrize(
    ("text", "properties", "holds"),
    [
        ("eo:cloud_cover < 10", {"eo:cloud_cover": 9.5}, True),
        ("eo:cloud_cover < 10", {"eo:cloud_cover": 10}, False),
        ("eo:cloud_cover < 10", {}, None),
        ("eo:cloud_cover < 10", {"eo:cloud_cover": "9"}, None),
        ("eo:cloud_cover < 10", {"eo:cloud_cover": True}, None),
        ("10 > a", {"a": 9}, True),
        ("a <> 1", {"a": 2}, True),
        ("a = true", {"a": True}, True),
        ("a = 1", {"a": True}, None),
        ("a IS NULL", {}, True),
        ("a IS NOT NULL", {"a": None}, False),
        ("a IN ('x', 'y')", {"a": "y"}, True),
        ("a NOT IN ('x', 'y')", {"a": "y"}, False),
        ("a NOT IN ('x', 'y')", {}, None),
        ("a BETWEEN 1 AND 3", {"a": 3}, True),
        ("a LIKE 'S2_\\%'", {"a": "S2A%"}, True),
        ("a LIKE 'S2%'", {"a": "S1"}, False),
        ("CASEI(a) = CASEI('ABC')", {"a": "aBc"}, True),
        ("a = 1 AND b = 2", {"a": 2}, False),
        ("a = 1 AND b = 2", {"a": 1}, None),
        ("a = 1 OR b = 2", {"b": 2}, True),
        ("NOT (a = 1 OR b = 2)", {"a": 3}, None),
        ("d = DATE('2020-02-29')", {"d": "2020-02-29T23:59:59.9Z"}, True),
        ("d > DATE('2020-02-29')", {"d": "2020-02-29T23:59:59.9Z"}, False),
        ("d >= TIMESTAMP('2020-01-01T00:00:00Z')", {"d": "2020-01-01T01:00:00+01:00"}, True),
        ("d < DATE('2020-01-01')", {"d": "no date"}, None),
        ("properties.a = 1", {"a": 1}, True),
        ("a.b = 1", {"a.b": 1}, True),
        ("a NOT IN ('x', 'y')", {"a": 3}, None),
        ("NOT a BETWEEN 1 AND 3", {"a": "2"}, None),
        ("CASEI(a) IN (CASEI('X'), CASEI('y'))", {"a": "Y"}, True),
        ("d <> DATE('2020-02-29')", {"d": "2020-02-29T12:00:00Z"}, False),
        ("DATE('2020-02-29') < d", {"d": "2020-03-01"}, True),
        ("T_AFTER(d, TIMESTAMP('2020-01-01T00:00:00Z'))", {"d": "2020-01-02"}, True),
        ("T_AFTER(d, TIMESTAMP('2020-01-01T00:00:00Z'))", {}, None),
        ("A_CONTAINS(a, ('x', 'y'))", {"a": ["y", "z", "x"]}, True),
        ("a + 1 > 2", {"a": 2}, True),
        ("S_INTERSECTS(geometry, POINT(1 2))", {"geometry": POINT}, True),
        ("S_INTERSECTS(geometry, POINT(1 2)) OR a = 1", {"a": 1}, True),
    ],
)
def test_what_holds(text: str, properties: dict[str, Any], holds: bool | None) -> None:
    assert parse_where(text).holds(properties) is holds


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "where is ''"),
        ("a <", "cannot be read at character"),
        ("UPPER(a) = 'X'", "uses 'UPPER'"),
        ("a = 1 AND FOO(a)", "uses 'FOO'"),
        ("d > DATE('2020-13-40')", "no date"),
        ("a", None),
        ("1", "no condition"),
        (7, "where is 7"),
    ],
)
def test_what_is_refused(text: Any, said: str | None) -> None:
    if said is None:
        assert parse_where(check_where(text) or "").holds({"a": True}) is True
        return
    with pytest.raises(InvalidArgument, match=said) as caught:
        check_where(text)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=40))
def test_no_text_brings_more_than_a_refusal(text: str) -> None:
    try:
        condition = parse_where(text)
    except InvalidArgument:
        return
    assert condition.holds({}) in (True, False, None)
