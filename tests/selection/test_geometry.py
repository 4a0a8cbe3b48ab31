from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import geopandas
import numpy
import pystac
import pytest
import shapely
from hypothesis import assume, given
from hypothesis import strategies as st

from mlhub_core.exceptions import InvalidArgument
from mlhub_core.selection.geometry import parse_bbox, parse_geojson

LONGITUDES = st.floats(-180, 180)
LATITUDES = st.floats(-90, 90)
Json = dict[str, Any]
T = TypeVar("T")


def _shape_of(bbox: Any) -> Any:
    """A box as a shape; one that crosses the antimeridian becomes two, either side of it."""
    west, south, east, north = bbox
    if west <= east:
        return shapely.box(west, south, east, north)
    return shapely.multipolygons(
        [shapely.box(west, south, 180.0, north), shapely.box(-180.0, south, east, north)]
    )


@st.composite
def bboxes(draw: st.DrawFn) -> tuple[float, float, float, float]:
    south, north = sorted((draw(LATITUDES), draw(LATITUDES)))
    return draw(LONGITUDES), south, draw(LONGITUDES), north


def _read(parse: Callable[[Any], T | None], value: Any) -> tuple[T | None, str]:
    """What it means, or the complaint."""
    try:
        return parse(value), ""
    except InvalidArgument as error:
        return None, str(error)


# Bounding boxes


@given(bboxes(), st.floats(-500, 9000), st.floats(-500, 9000))
def test_every_form_of_a_box_is_that_box(
    box: tuple[float, float, float, float], low: float, high: float
) -> None:
    west, south, east, north = box
    text = ",".join(map(repr, box))
    for form in (box, list(box), text, text.replace(",", " , "), iter(box), map(str, box)):
        assert parse_bbox(form) == box
    assert parse_bbox((west, south, low, east, north, high)) == box


@given(
    st.one_of(
        st.text(),
        st.text("0123456789.,-+e nai", max_size=30),
        st.lists(st.one_of(st.floats(), st.integers(), st.text(), st.booleans()), max_size=7),
        st.integers(),
        st.booleans(),
    )
)
def test_anything_else_is_a_box_on_earth_or_refused(value: Any) -> None:
    found, complaint = _read(parse_bbox, value)
    if found is None:
        assert complaint.startswith("bbox ")
        return
    west, south, east, north = found
    assert -180 <= west <= 180
    assert -180 <= east <= 180
    assert -90 <= south <= north <= 90


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("1,2,3", "has 3 numbers"),
        ("1,2,3,4,5", "has 5 numbers"),
        ("", "holds ''"),
        (",1,2,3", "holds ''"),
        ("1,2,3,x", "holds 'x'"),
        ("1,2,3,inf", "holds 'inf'"),
        ([1, 2, 3, None], "holds None"),
        ([1, 2, 3, True], "holds True"),
        ([541, 0, 1, 1], "west is 541"),
        ([0, 0, -541, 1], "east is -541"),
        ([0, -91, 1, 1], "south is -91"),
        ([0, 50, 1, 40], "south is greater than north"),
        (7, "bbox is 7"),
    ],
)
def test_what_is_no_box(value: Any, why: str) -> None:
    with pytest.raises(InvalidArgument, match=why):
        parse_bbox(value)


@pytest.mark.parametrize(
    ("box", "wanted"),
    [
        ([290, -1, 300, 1], (-70, -1, -60, 1)),
        ([0, -1, 359.75, 1], (0, -1, -0.25, 1)),
        ([-181.5, -1, -178.5, 1], (178.5, -1, -178.5, 1)),
        ([170, -1, 190, 1], (170, -1, -170, 1)),
        ([180, -1, 190, 1], (180, -1, -170, 1)),
        ([350, -1, 10, 1], (-10, -1, 10, 1)),
        ([0, -1, 360, 1], (-180, -1, 180, 1)),
        ([-180.125, -1, 179.875, 1], (-180, -1, 180, 1)),
        ([-180.0000001, -1, 10, 1], (-180, -1, 10, 1)),
    ],
)
def test_boxes_beyond_180_degrees(box: list[float], wanted: tuple[float, ...]) -> None:
    assert parse_bbox(box) == wanted


@given(bboxes(), st.sampled_from([-360, 360]), st.integers(-180, 179))
def test_a_box_a_turn_further_is_the_same(
    box: tuple[float, float, float, float], turn: int, longitude: int
) -> None:
    west, south, east, north = (round(side) for side in box)
    assume(max(abs(west + turn), abs(east + turn)) <= 540)
    point = shapely.Point(longitude + 0.5, (south + north) / 2)
    found = [parse_bbox((west + by, south, east + by, north)) for by in (0, turn)]
    inside = [_shape_of(one).intersects(point) for one in found if one]
    assert inside[0] == inside[1]


def _ring(*places: tuple[float, float]) -> Json:
    return {"type": "Polygon", "coordinates": [[list(place) for place in (*places, places[0])]]}


@pytest.mark.parametrize(
    ("geometry", "inside", "outside"),
    [
        (_ring((179, 5), (-179, 5), (-179, 6), (179, 6)), (179.5, 5.5), (0, 5.5)),
        (_ring((160, 5), (-170, 5), (-170, 6), (160, 6)), (-175, 5.5), (-160, 5.5)),
        (_ring((179, 5), (181, 5), (181, 6), (179, 6)), (-179.5, 5.5), (0, 5.5)),
        (_ring((-181, 5), (-179, 5), (-179, 6), (-181, 6)), (179.5, 5.5), (0, 5.5)),
        (_ring((290, -1), (300, -1), (300, 1), (290, 1)), (-65, 0), (65, 0)),
        (_ring((0, -1), (359.5, -1), (359.5, 1), (0, 1)), (-60, 0), (-0.25, 0)),
        (_ring((-180, -60), (180, -60), (180, 60), (-180, 60)), (0, 0), (0, 61)),
        (_ring((-175, -40), (175, -40), (175, 40), (-175, 40)), (0, 0), (179, 0)),
        (_ring((-135, 80), (-45, 80), (45, 80), (135, 80)), (10, 89), (10, 79)),
        (_ring((-130, -80), (130, -70), (0, -75)), (10, -89), (10, -60)),
        (_ring((-180, -5), (100, -5), (100, 5), (0, 5), (-180, 5)), (0, 0), (110, 0)),
        ({"type": "Point", "coordinates": [190, 0]}, (-170, 0), (170, 0)),
        ({"type": "LineString", "coordinates": [[179, 0], [-179, 0]]}, (180, 0), (0, 0)),
        ({"type": "MultiPoint", "coordinates": [[179, 0], [-179, 0]]}, (-179, 0), (0, 0)),
    ],
)
def test_shapes_lie_where_they_do_on_the_earth(
    geometry: Json, inside: tuple[float, float], outside: tuple[float, float]
) -> None:
    for form in (geometry, {"type": "GeometryCollection", "geometries": [geometry]}):
        found = parse_geojson(form)
        assert found is not None
        shape = shapely.from_geojson(found)
        assert parse_geojson(found) == found
        assert -180 <= shape.bounds[0] <= shape.bounds[2] <= 180
        assert shape.intersects(shapely.Point(*inside))
        assert not shape.intersects(shapely.Point(*outside))


def test_a_wide_shape_is_the_same_when_read_again() -> None:
    halves = [
        _ring((-180, 0), (0, 0), (0, 5), (-180, 5)),
        _ring((-9, 0), (170, 0), (170, 5), (-9, 5)),
    ]
    found = parse_geojson({"type": "GeometryCollection", "geometries": halves})
    assert parse_geojson(found) == found
    assert shapely.from_geojson(found).intersects(shapely.Point(5, 2))


@given(bboxes(), LONGITUDES, LATITUDES)
def test_the_shape_of_a_box_covers_what_the_box_does(
    box: tuple[float, float, float, float], longitude: float, latitude: float
) -> None:
    west, south, east, north = box
    assume(south < north)
    assume(west != east)
    between = west <= longitude <= east
    if west > east:
        between = longitude >= west or longitude <= east
    inside = between and south <= latitude <= north
    # A point a hair from an edge may be on either side of it.
    near = any(abs(longitude - x) < 1e-9 for x in (west, east)) or any(
        abs(latitude - y) < 1e-9 for y in (south, north)
    )
    assume(not near)
    assert _shape_of(box).intersects(shapely.Point(longitude, latitude)) == inside


# GeoJSON


@st.composite
def _rings(draw: st.DrawFn) -> list[list[float]]:
    west, east = sorted((draw(st.integers(-180, 179)), draw(st.integers(-180, 179))))
    assume(east + 1 - west <= 270)  # else it may be meant to go the other way
    south, north = sorted((draw(st.integers(-90, 89)), draw(st.integers(-90, 89))))
    ring = shapely.box(west, south, east + 1, north + 1).exterior.coords
    return [list(position) for position in ring]


POSITIONS = st.tuples(LONGITUDES, LATITUDES).map(list)
GEOMETRIES: st.SearchStrategy[Json] = st.one_of(
    POSITIONS.map(lambda place: {"type": "Point", "coordinates": place}),
    st.lists(POSITIONS, min_size=1, max_size=4).map(
        lambda places: {"type": "MultiPoint", "coordinates": places}
    ),
    _rings().map(lambda ring: {"type": "Polygon", "coordinates": [ring]}),
    st.lists(_rings(), min_size=1, max_size=3).map(
        lambda rings: {"type": "MultiPolygon", "coordinates": [[ring] for ring in rings]}
    ),
)


@given(GEOMETRIES)
def test_a_geometry_and_what_is_around_it(geometry: Json) -> None:
    found = parse_geojson(geometry)
    assert found is not None
    feature = {"type": "Feature", "properties": None, "geometry": geometry}
    collection = {"type": "FeatureCollection", "features": [feature]}
    for form in (feature, collection, json.dumps(geometry), json.dumps(collection).encode()):
        assert parse_geojson(form) == found
    assert parse_geojson(found) == found  # canonical
    own = shapely.make_valid(shapely.from_geojson(json.dumps(geometry)))
    assert shapely.from_geojson(found).equals(own)


# Never on an edge of a polygon above, where rounding would decide.
HALVES = st.tuples(st.integers(-180, 179), st.integers(-90, 89)).map(
    lambda place: [place[0] + 0.5, place[1] + 0.5]
)


@given(st.lists(GEOMETRIES, min_size=1, max_size=4), HALVES)
def test_a_collection_is_all_of_its_shapes(geometries: list[Json], place: list[float]) -> None:
    features = [{"type": "Feature", "geometry": geometry} for geometry in geometries]
    nothing = {"type": "Feature", "geometry": None}
    found = parse_geojson({"type": "FeatureCollection", "features": [*features, nothing]})
    point = shapely.Point(*place)
    each = [shapely.make_valid(shapely.from_geojson(json.dumps(g))) for g in geometries]
    assert found is not None
    assert shapely.from_geojson(found).intersects(point) == any(s.intersects(point) for s in each)


_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.floats(), st.integers(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
_TYPES = st.sampled_from(
    ["Point", "Polygon", "MultiPolygon", "GeometryCollection", "Feature", "FeatureCollection"]
)


@given(
    st.one_of(
        _JSON,
        st.text(),
        st.binary(),
        st.fixed_dictionaries(
            {"type": st.one_of(_TYPES, _JSON)},
            optional={
                "coordinates": st.one_of(_JSON, st.lists(POSITIONS, max_size=4)),
                "geometry": st.one_of(_JSON, GEOMETRIES),
                "geometries": st.one_of(_JSON, st.lists(GEOMETRIES, max_size=2)),
                "features": _JSON,
                "crs": _JSON,
            },
        ),
    )
)
def test_anything_else_is_a_shape_or_refused(value: Any) -> None:
    found, complaint = _read(parse_geojson, value)
    if found is not None:
        assert not shapely.from_geojson(found).is_empty
    elif value is not None:
        assert complaint.startswith("intersects ")
        assert "\n" not in complaint


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("{", "is not JSON"),
        ([1, 2], "is a int"),
        ({"type": "Feature", "geometry": None}, "no shape"),
        ({"type": "FeatureCollection", "features": []}, "no shape"),
        ({"type": "FeatureCollection"}, "FeatureCollection of nothing"),
        ({"type": "Polygon", "coordinates": []}, "no shape"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}, "no GeoJSON geometry"),
        ({"type": "Point", "coordinates": [float("nan"), 0]}, "no GeoJSON geometry"),
        ({"type": "Point", "coordinates": [500000, 4000000]}, "longitudes go from -180"),
        ({"type": "Point", "coordinates": [541, 0]}, "Cut a shape across the antimeridian"),
        (
            {
                "type": "Point",
                "coordinates": [1, 1],
                "crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}},
            },
            "EPSG::32633.*reproject",
        ),
    ],
)
def test_what_is_no_shape(value: Any, why: str) -> None:
    with pytest.raises(InvalidArgument, match=why):
        parse_geojson(value)


def test_a_polygon_that_crosses_itself_is_repaired() -> None:
    bow = {"type": "Polygon", "coordinates": [[[0, 0], [2, 2], [2, 0], [0, 2], [0, 0]]]}
    shape = shapely.from_geojson(parse_geojson(bow))
    assert shape.is_valid
    assert shape.intersects(shapely.Point(0.25, 1))
    assert not shape.intersects(shapely.Point(1, 0.25))


class _Feature:
    """As of libraries that have a geometry, and no GeoJSON."""

    def __init__(self, geometry: Any) -> None:
        self.geometry = geometry


class _Interface:
    def __init__(self, value: Any) -> None:
        self.__geo_interface__ = value


SQUARE = shapely.box(1, 2, 3, 4)
WHATEVER: dict[str, Callable[[], Any]] = {
    "a shape": lambda: SQUARE,
    "its ring": lambda: SQUARE.exterior,
    "a mapping with a geometry": lambda: {"geometry": SQUARE.__geo_interface__},
    "a mapping with a shape": lambda: {"id": 3, "geometry": SQUARE},
    "a mapping with text": lambda: {"geometry": shapely.to_geojson(SQUARE)},
    "an interface to a geometry": lambda: _Interface(SQUARE.__geo_interface__),
    "an interface to a feature": lambda: _Interface({"type": "Feature", "geometry": SQUARE}),
    "an object with a geometry": lambda: _Feature(SQUARE),
    "an object with an object": lambda: _Feature(_Interface(SQUARE.__geo_interface__)),
    "an item": lambda: pystac.Item("x", SQUARE.__geo_interface__, None, datetime.now(UTC), {}),
    "a list": lambda: [SQUARE, None, _Feature(SQUARE)],
    "a collection of shapes": lambda: {"type": "FeatureCollection", "features": (SQUARE,)},
    "a series": lambda: geopandas.GeoSeries([SQUARE, None]),
    "a table": lambda: geopandas.GeoDataFrame({"when": [datetime.now(UTC)]}, geometry=[SQUARE]),
    "a row": lambda: geopandas.GeoDataFrame({"a": [1]}, geometry=[SQUARE]).iloc[0],
    "metres": lambda: geopandas.GeoSeries([SQUARE], crs=4326).to_crs(3857),
    "arrays": lambda: {"type": "Polygon", "coordinates": [numpy.array(SQUARE.exterior.coords)]},
}


@pytest.mark.parametrize("form", WHATEVER)
def test_whatever_has_a_geometry(form: str) -> None:
    found = shapely.from_geojson(parse_geojson(WHATEVER[form]()))
    assert found.hausdorff_distance(SQUARE) < 1e-9
    assert found.geom_type == ("LineString" if form == "its ring" else "Polygon")


@pytest.mark.parametrize("value", [3, b"[", "[" * 100_000, {"geometry": 3}, {"crs": {}}, object()])
def test_what_has_none(value: Any) -> None:
    with pytest.raises(InvalidArgument, match="intersects"):
        parse_geojson(value)


OVERSHOT = st.sampled_from([0.0, 1e-13, 1e-7, 1.3888e-4, 9e-4])


@given(bboxes(), st.tuples(OVERSHOT, OVERSHOT, OVERSHOT, OVERSHOT))
def test_rounding_beyond_the_edge_is_the_edge(
    box: tuple[float, float, float, float], by: tuple[float, float, float, float]
) -> None:
    edges = (-180.0, -90.0, 180.0, 90.0)
    signs = (-1, -1, 1, 1)
    moved = [edge + sign * far for edge, sign, far in zip(edges, signs, by, strict=True)]
    assert parse_bbox(moved) == edges
    shape = shapely.from_geojson(parse_geojson(shapely.box(*moved)))
    assert shape.bounds == edges
    assert parse_bbox((box[0], moved[1], box[2], moved[3])) == (box[0], -90.0, box[2], 90.0)


@pytest.mark.parametrize("box", [[0, -90.01, 1, 0], [0, 0, 1, 90.01], [0, 0, 1, 91]])
def test_what_is_no_rounding(box: list[float]) -> None:
    with pytest.raises(InvalidArgument, match="latitudes go from -90"):
        parse_bbox(box)
    with pytest.raises(InvalidArgument, match="latitudes from -90"):
        parse_geojson(shapely.box(*box))
