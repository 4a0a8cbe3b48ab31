"""What of a filter an API is asked for: never less than what is wanted."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import cql2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlhub_core.selection.cql2 import parse_where
from mlhub_core.sources.api_pages import Ask, smaller_page
from mlhub_core.sources.api_query import Abilities, Query, datetime_text, fewer, query_of
from mlhub_core.sources.base import Wanted

ALL = frozenset(
    {
        "filter",
        "basic-cql2",
        "advanced-comparison-operators",
        "basic-spatial-functions",
        "cql2-json",
        "cql2-text",
    }
)
CAN = Abilities(searches=True, posts=True, classes=ALL)
BASIC = Abilities(searches=True, posts=True, classes=ALL - {"advanced-comparison-operators"})
VALUES = st.sampled_from([None, 1, 2.5, 7, "a", "ab", "A", True, False, "2020-01-01T00:00:00Z"])
ITEMS = st.fixed_dictionaries({}, optional=dict.fromkeys("xyz", VALUES) | {"id": st.just("i")})
LITERALS = st.sampled_from(["1", "2.5", "7", "'a'", "'ab'", "TRUE", "DATE('2020-01-01')"])

SIGNS = ["<", "<=", ">", ">=", "=", "<>"]


@st.composite
def conditions(draw: st.DrawFn, depth: int = 3) -> str:
    if depth and draw(st.booleans()):
        parts = [draw(conditions(depth=depth - 1)) for _ in range(draw(st.integers(1, 3)))]
        joined = f" {draw(st.sampled_from(['AND', 'OR']))} ".join(f"({part})" for part in parts)
        return f"NOT ({joined})" if draw(st.booleans()) else joined
    name = draw(st.sampled_from("xyz"))
    kind = draw(st.sampled_from(["compare", "in", "between", "like", "null", "id"]))
    if kind == "id":
        return f"id IN ('i', '{draw(st.sampled_from('ij'))}')"
    return {
        "compare": f"{name} {draw(st.sampled_from(SIGNS))} {draw(LITERALS)}",
        "in": f"{name} IN ({draw(LITERALS)}, {draw(LITERALS)})",
        "between": f"{name} BETWEEN 1 AND {draw(st.integers(1, 9))}",
        "like": f"{name} LIKE '{draw(st.sampled_from(['a%', '%b', '_', 'a!%']))}'",
        "null": f"{name} IS {draw(st.sampled_from(['', 'NOT ']))}NULL",
    }[kind]


@given(conditions(), ITEMS, st.sampled_from([CAN, BASIC]))
def test_what_is_asked_lets_through_all_that_is_wanted(
    where: str, item: dict[str, Any], can: Abilities
) -> None:
    query = query_of(Wanted(where=where), ["c"], can)
    whole = {"id": "i", **item}
    if parse_where(where).holds(whole) is not True:
        return
    assert not query.ids or "i" in query.ids
    if query.where is not None:
        pushed = cql2.Expr(json.loads(query.where)).to_text()
        assert parse_where(pushed).holds(whole) is True


@pytest.mark.parametrize(
    ("where", "asked"),
    [
        ("x < 1 AND y IS NULL", "x < 1"),
        ("x < 1 OR y IS NULL", None),
        ("x < 'a'", None),
        ("x = 'a' AND datetime > TIMESTAMP('2020-01-01T00:00:00Z')", "x = 'a'"),
        ("NOT x LIKE 'a%'", None),
        ("x LIKE 'a%'", "x LIKE 'a%'"),
        ("properties.x = 1 AND CASEI(y) = CASEI('A')", "properties.x = 1"),
        ("S_INTERSECTS(geometry, POINT(1 2))", "S_INTERSECTS(geometry, POINT(1 2))"),
        ("NOT S_INTERSECTS(geometry, POINT(1 2))", None),
        ("S_WITHIN(geometry, POINT(1 2))", None),
        ("x = y", None),
    ],
)
def test_conditions(where: str, asked: str | None) -> None:
    found = query_of(Wanted(where=where), ["c"], CAN).where
    wanted = None if asked is None else cql2.parse_text(asked).to_json()
    assert (found and json.loads(found)) == wanted


@pytest.mark.parametrize(
    ("classes", "asked"),
    [
        (frozenset(), None),
        (ALL - {"filter"}, None),
        (ALL - {"basic-cql2"}, None),
        (ALL - {"cql2-json"}, None),
        (ALL - {"advanced-comparison-operators"}, "x < 1 AND (x = 1 OR x = 2)"),
    ],
)
def test_only_what_it_says_that_it_can(classes: frozenset[str], asked: str | None) -> None:
    can = Abilities(searches=True, posts=True, classes=classes)
    found = query_of(Wanted(where="x < 1 AND x IN (1, 2)"), ["c"], can).where
    assert (found and json.loads(found)) == (asked and cql2.parse_text(asked).to_json())


def test_only_properties_that_it_knows() -> None:
    found = query_of(Wanted(where="x < 1 AND y < 2"), ["c"], CAN, known=["y"]).where
    assert found
    assert json.loads(found) == cql2.parse_text("y < 2").to_json()


def test_places() -> None:
    def asked(can: Abilities = CAN, **wanted: Any) -> Query:
        return query_of(Wanted(**wanted), ["c"], can)

    assert asked(bbox=(1.0, 2.0, 3.0, 4.0)).bbox == (1.0, 2.0, 3.0, 4.0)
    crossing = asked(bbox=(170.0, -5.0, -170.0, 5.0))
    assert crossing.bbox is None
    shape = json.loads(crossing.intersects or "")
    assert [ring[0][0][0] for ring in shape["coordinates"]] == [170.0, -180.0]
    features = Abilities()
    assert asked(features, bbox=(170.0, -5.0, -170.0, 5.0)).intersects is None
    line = json.dumps({"type": "LineString", "coordinates": [[3.0, 1.0], [1.0, 5.0, 9.0]]})
    assert asked(intersects=line).intersects == line
    assert asked(features, intersects=line).bbox == (1.0, 1.0, 3.0, 5.0)
    points = [[n * 0.001, 1.0] for n in range(20_000)]
    long = json.dumps({"type": "LineString", "coordinates": points})
    assert asked(intersects=long).bbox == (0.0, 1.0, 19.999, 1.0)


@pytest.mark.parametrize(
    ("start", "end", "text"),
    [
        (None, None, None),
        ((2020, 1, 1), None, "2020-01-01T00:00:00Z/.."),
        (None, (2020, 1, 1, 23, 59, 59, 999_999), "../2020-01-01T23:59:59.999999Z"),
        ((1, 1, 1), (9999, 12, 31), "0001-01-01T00:00:00Z/9999-12-31T00:00:00Z"),
    ],
)
def test_times(start: Any, end: Any, text: str | None) -> None:
    ends = (None if one is None else datetime(*one, tzinfo=UTC) for one in (start, end))
    assert datetime_text(*ends) == text


@pytest.mark.parametrize(
    ("exact", "seconds"),
    [
        ("../2020-01-01T23:59:59.999999Z", "../2020-01-02T00:00:00Z"),
        ("2020-01-01T00:00:00.500000Z/..", "2020-01-01T00:00:00Z/.."),
        (
            "2020-01-01T00:00:00.5Z/2020-01-01T00:00:01Z",
            "2020-01-01T00:00:00Z/2020-01-01T00:00:01Z",
        ),
        ("../9999-12-31T23:59:59.999999Z", "../9999-12-31T23:59:59Z"),
    ],
)
def test_times_for_servers_that_know_no_fractions(exact: str, seconds: str) -> None:
    found = [one.datetime for one, _ in fewer(Query(("c",), datetime=exact), is_overloaded=False)]
    assert found == [exact, seconds, None]


def test_less_and_less() -> None:
    query = Query(("c",), ("i",), (1.0, 2.0, 3.0, 4.0), None, "2020-01-01T00:00:00Z/..", "{}")
    names = [name for _, name in fewer(query, is_overloaded=False)]
    assert names == ["", "where", "datetime", "bbox", "ids"]
    assert [name for _, name in fewer(query, is_overloaded=True)] == ["", "where"]
    *_, (last, _) = fewer(query, is_overloaded=False)
    assert last == Query(("c",), limit=100)


@pytest.mark.parametrize(
    ("ask", "smaller"),
    [
        (Ask("https://a.b/s?limit=500&token=x%2F"), Ask("https://a.b/s?limit=20&token=x%2F")),
        (Ask("https://a.b/s?limit=500&page=2"), None),
        (Ask("https://a.b/s?token=2"), None),
        (
            Ask("https://a.b/s", "POST", {"limit": 500, "token": 1}),
            Ask("https://a.b/s", "POST", {"limit": 20, "token": 1}),
        ),
        (Ask("https://a.b/s", "POST", {"limit": 500, "offset": 1}), None),
    ],
)
def test_smaller_pages(ask: Ask, smaller: Ask | None) -> None:
    assert smaller_page(ask, 20) == smaller
