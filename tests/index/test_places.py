from __future__ import annotations

import json
import math
from typing import Any

import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import shape

from mlhub_core.index.places import (
    InvalidPlace,
    covering,
    parse_bbox,
    parse_geometries,
    parse_geometry,
)

number = st.floats(-180, 180, allow_nan=False) | st.integers(-180, 180)


def geometries(positions: st.SearchStrategy[list[float]]) -> st.SearchStrategy[dict[str, Any]]:
    lines = st.lists(positions, min_size=2, max_size=5)
    rings = st.lists(positions, min_size=3, max_size=6).map(lambda ring: [*ring, ring[0]])
    polygons = st.lists(rings, min_size=1, max_size=3)

    def of(kind: str, coordinates: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
        return st.fixed_dictionaries({"type": st.just(kind), "coordinates": coordinates})

    single = (
        of("Point", positions)
        | of("LineString", lines)
        | of("Polygon", polygons)
        | of("MultiPoint", st.lists(positions, max_size=3))
        | of("MultiLineString", st.lists(lines, max_size=3))
        | of("MultiPolygon", st.lists(polygons, max_size=3))
    )
    return single | st.fixed_dictionaries(
        {"type": st.just("GeometryCollection"), "geometries": st.lists(single, max_size=3)}
    )


flat = geometries(st.lists(number, min_size=2, max_size=2))
high = geometries(st.lists(number, min_size=3, max_size=3))


@settings(max_examples=settings.default.max_examples // 2)
@given(flat | high)
def test_wkb_is_what_shapely_makes_of_it(geometry: dict[str, Any]) -> None:
    got = parse_geometry(geometry)
    read = shapely.from_wkb(got.wkb)
    wanted = shape(geometry)
    assert read.geom_type == geometry["type"] == got.kind.removesuffix(" Z")
    assert shapely.get_coordinates(read).tolist() == shapely.get_coordinates(wanted).tolist()
    assert read.wkt == wanted.wkt or read.is_empty
    if got.kind.endswith(" Z"):
        heights = shapely.get_coordinates(read, include_z=True)[:, 2].tolist()
        assert heights == shapely.get_coordinates(wanted, include_z=True)[:, 2].tolist()
    if got.bounds is None:
        assert read.is_empty
    else:
        # Not read.bounds: those leave out holes that stick out of their polygon.
        x, y = shapely.get_coordinates(read).T
        assert got.bounds == (x.min(), y.min(), x.max(), y.max())


@pytest.mark.parametrize(
    "geometry",
    [
        {"type": "Point", "coordinates": []},
        {"type": "Polygon", "coordinates": []},
        {"type": "LineString", "coordinates": []},
        {"type": "GeometryCollection", "geometries": []},
        {"type": "Polygon", "coordinates": [[]]},
    ],
)
def test_empty_geometries(geometry: dict[str, Any]) -> None:
    got = parse_geometry(geometry)
    assert got.bounds is None
    assert shapely.from_wkb(got.wkb).is_empty


def test_heights_are_dropped_where_some_are_missing() -> None:
    got = parse_geometry({"type": "LineString", "coordinates": [[1, 2, 3], [4, 5]]})
    assert got.kind == "LineString"
    assert shapely.from_wkb(got.wkb).wkt == "LINESTRING (1 2, 4 5)"


SQUARE = [[0, 0], [1, 0], [1, 1], [0, 0]]


@pytest.mark.parametrize(
    "geometry",
    [
        {},
        [],
        "POINT (1 2)",
        {"type": "Circle", "coordinates": [1, 2]},
        {"type": "Point"},
        {"type": "Point", "coordinates": [1]},
        {"type": "Point", "coordinates": ["1", "2"]},
        {"type": "Point", "coordinates": [True, False]},
        {"type": "Point", "coordinates": [math.nan, 1]},
        {"type": "Point", "coordinates": [10**400, 1]},
        {"type": "Point", "coordinates": {"x": 1}},
        {"type": "LineString", "coordinates": [[1, 2]]},
        {"type": "LineString", "coordinates": [[1, 2], None]},
        {"type": "Polygon", "coordinates": [SQUARE[:-1]]},
        {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [0, 0]]]},
        {"type": "Polygon", "coordinates": SQUARE},
        {"type": "MultiPolygon", "coordinates": [SQUARE]},
        {"type": "GeometryCollection", "geometries": [None]},
        {"type": ["Point"], "coordinates": [1, 2]},
    ],
)
def test_invalid_geometries(geometry: Any) -> None:
    with pytest.raises(InvalidPlace):
        parse_geometry(geometry)


def test_nesting_ends() -> None:
    nested: dict[str, Any] = {"type": "Point", "coordinates": [1, 2]}
    for _ in range(200):
        nested = {"type": "GeometryCollection", "geometries": [nested]}
    with pytest.raises(InvalidPlace, match="Recursion"):
        parse_geometry(nested)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["type", "coordinates", "geometries"]), inner)
    ),
    max_leaves=12,
)


@given(json_values)
def test_nothing_else_comes_out(value: Any) -> None:
    for parse in (parse_geometry, parse_bbox):
        try:
            parse(value)
        except InvalidPlace as error:
            assert len(str(error)) < 200  # noqa: PT017


@settings(max_examples=settings.default.max_examples // 4)
@given(st.lists(flat | high | json_values, max_size=6))
def test_each_of_many_is_what_it_is_alone(values: list[Any]) -> None:
    def told(found: Any) -> Any:
        return str(found) if isinstance(found, InvalidPlace) else found

    alone = [told(found) for value in values for found in parse_geometries([value])]
    assert list(map(told, parse_geometries(values))) == alone


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ([1, 2, 3, 4], (1, 2, 3, 4)),
        ([1, 2, 99, 3, 4, 100], (1, 2, 3, 4)),
        ([170, -5, -170, 5], (170, -5, -170, 5)),
        ([1, 2, None, 3, 4, None], (1, 2, 3, 4)),
    ],
)
def test_bbox(value: list[Any], wanted: tuple[float, ...]) -> None:
    assert parse_bbox(value) == wanted


@pytest.mark.parametrize(
    "value",
    [[], [1, 2, 3], [1, 2, 3, 4, 5], [1, None, 3, 4], [1, 4, 3, 2], "1,2,3,4", {}, [True] * 4],
)
def test_bad_bbox(value: Any) -> None:
    with pytest.raises(InvalidPlace):
        parse_bbox(value)


def points(*positions: list[float]) -> Any:
    return parse_geometry({"type": "MultiPoint", "coordinates": list(positions)})


def test_covering() -> None:
    assert covering(None, None) is None
    assert covering((1, 2, 3, 4), None) == (1, 2, 3, 4)
    assert covering(None, points([1, 2], [3, 4])) == (1, 2, 3, 4)
    assert covering((0, 3, 2, 5), points([1, 2], [3, 4])) == (0, 2, 3, 5)
    assert covering((170, -5, -170, 5), None) == (-180, -5, 180, 5)
    assert covering((170, -5, -170, 5), points([175, 0])) == (-180, -5, 180, 5)
    assert covering(None, points([175, 0], [185, 1])) == (-180, 0, 180, 1)
    assert covering(None, points()) is None


@settings(max_examples=settings.default.max_examples // 2)
@given(flat, st.tuples(number, number, number, number))
def test_covering_covers_both(geometry: dict[str, Any], box: tuple[float, ...]) -> None:
    west, south, east, north = box[0], min(box[1], box[3]), box[2], max(box[1], box[3])
    got = covering((west, south, east, north), shape_of := parse_geometry(geometry))
    assert got is not None
    assert -180 <= got[0] <= got[2] <= 180
    assert got[1] <= south <= north <= got[3]
    if west <= east:
        assert got[0] <= west <= east <= got[2]
    else:
        assert (got[0], got[2]) == (-180, 180)
    if shape_of.bounds:
        assert got[0] <= shape_of.bounds[0]
        assert got[2] >= shape_of.bounds[2]


def test_json_numbers_survive() -> None:
    text = '{"type": "Point", "coordinates": [0.1, -0.30000000000000004]}'
    read = shapely.from_wkb(parse_geometry(json.loads(text)).wkb)
    assert (read.x, read.y) == (0.1, -0.30000000000000004)
