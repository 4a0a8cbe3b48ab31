"""Places as people give them: bounding boxes and GeoJSON, checked and made canonical.

Coordinates are degrees of longitude and latitude, EPSG:4326 in the axis order of GeoJSON.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from mlhub_core.exceptions import InvalidArgument
from mlhub_core.index.places import FARTHEST, cut_at_antimeridian, may_jump, normal, unfolded

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

log = logging.getLogger(__name__)

BBox = tuple[float, float, float, float]
"""West, south, east, north. West greater than east: the box crosses the antimeridian."""

_LONGEST_EDGE = 120.0
_ROUNDING = 0.001
"""So many degrees beyond the edge of the Earth, some 100 m, are left by reprojection, single
precision, and grids that are named by the edges of their cells."""

_BBOX_HOW = "use four numbers W,S,E,N (or six with heights), in degrees, such as 34.0,-1.5,35.2,0.5"
_GEOJSON_HOW = "give a GeoJSON geometry, Feature or FeatureCollection with at least one shape"
_CRS84 = ("CRS84", "EPSG::4326", "EPSG:4326", "WGS84")


def parse_bbox(value: Any) -> BBox | None:
    """Read a bounding box: four or six numbers, or text with commas between them.

    Heights of a six-number box are not compared: items seldom have any.

    Raises:
        InvalidArgument: if it is no box on Earth; the message says what is wrong.
    """
    if value is None:
        return None
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, Iterable):
        raise InvalidArgument(f"bbox is {value!r}: {_BBOX_HOW}.")
    numbers = [_number(part, value) for part in parts]
    if len(numbers) not in (4, 6):
        raise InvalidArgument(f"bbox {value!r} has {len(numbers)} numbers: {_BBOX_HOW}.")
    half = len(numbers) // 2
    west, east = (_on_earth(number, 180) for number in (numbers[0], numbers[half]))
    south, north = (_on_earth(number, 90) for number in (numbers[1], numbers[half + 1]))
    for label, longitude in (("west", west), ("east", east)):
        if abs(longitude) > FARTHEST:
            raise InvalidArgument(
                f"bbox {value!r}: {label} is {longitude:g}, and longitudes go from -180 to 180. "
                "A box across the antimeridian has its west greater than its east."
            )
    for label, latitude in (("south", south), ("north", north)):
        if not -90 <= latitude <= 90:
            raise InvalidArgument(
                f"bbox {value!r}: {label} is {latitude:g}, and latitudes go from -90 to 90. "
                "The order is W,S,E,N: longitude before latitude."
            )
    if south > north:
        raise InvalidArgument(f"bbox {value!r}: south is greater than north; swap the two.")
    west, east = normal(west, east)
    return west, south, east, north


def _number(part: Any, whole: Any) -> float:
    try:
        if isinstance(part, bool):
            raise TypeError("a truth value is no coordinate")
        number = float(part)
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"bbox {whole!r} holds {part!r}: {_BBOX_HOW}.") from error
    if not math.isfinite(number):
        raise InvalidArgument(f"bbox {whole!r} holds {part!r}: {_BBOX_HOW}.")
    return number


def _on_earth(degrees: float, most: float) -> float:
    """A coordinate, back on the edge where rounding has brought it beyond."""
    beyond = abs(degrees) - most
    return math.copysign(most, degrees) if 0 < beyond <= _ROUNDING else degrees


def parse_geojson(value: Any) -> str | None:
    """Read whatever has a geometry.

    Args:
        value: Parsed GeoJSON or its text, a mapping with a ``geometry``, an object with a
            ``__geo_interface__`` or ``geometry`` (a shape, an item, a table of GeoPandas, which is
            brought into longitude and latitude), or several of these.

    Returns:
        The geometry (of a collection: all of them in one) as canonical GeoJSON text.

    Raises:
        InvalidArgument: if it holds no shape, or one that is not on Earth.
    """
    if value is None:
        return None
    try:
        shapes = [_shape(geometry) for geometry in _geometries(value)]
    except RecursionError as error:
        raise InvalidArgument(f"intersects is nested too deeply: {_GEOJSON_HOW}.") from error
    shapes = [shape for shape in shapes if not shape.is_empty]
    if not shapes:
        raise InvalidArgument(f"intersects holds no shape: {_GEOJSON_HOW}.")
    import shapely

    whole = shapes[0] if len(shapes) == 1 else shapely.union_all(shapes)
    west, south, east, north = whole.bounds
    if west < -FARTHEST or east > FARTHEST or south < -90 or north > 90:
        raise InvalidArgument(
            f"intersects reaches from {west:g},{south:g} to {east:g},{north:g}: longitudes go "
            "from -180 to 180 and latitudes from -90 to 90, longitude first. Cut a shape across "
            "the antimeridian in two, as RFC 7946 asks, or go on beyond 180."
        )
    whole = cut_at_antimeridian(whole)
    if may_jump(whole.bounds):
        # Read again, such as from the parameters of a flow, no long edge is taken for a jump.
        whole = shapely.segmentize(whole, _LONGEST_EDGE)
    return shapely.to_geojson(whole)


def _geometries(value: Any) -> Iterator[dict[str, Any]]:
    """The GeoJSON geometries in whatever has some."""
    value = _plain(value)
    if isinstance(value, list | tuple):
        for part in value:
            if part is not None:
                yield from _geometries(part)
        return
    if not isinstance(value, dict):
        raise InvalidArgument(f"intersects is a {type(value).__name__}: {_GEOJSON_HOW}.")
    _refuse_other_crs(value)
    if value.get("type") == "FeatureCollection":
        features = value.get("features")
        if not isinstance(features, list | tuple):
            raise InvalidArgument(f"intersects is a FeatureCollection of nothing: {_GEOJSON_HOW}.")
        yield from _geometries(features)
    elif "geometry" in value:
        yield from _geometries([value["geometry"]])
    elif value.get("type") == "LinearRing":  # shapely's, not GeoJSON's
        yield {**value, "type": "LineString"}
    elif isinstance(value.get("type"), str):
        yield value
    else:
        raise InvalidArgument(f"intersects is an object without a type: {_GEOJSON_HOW}.")


def _plain(value: Any) -> Any:
    """Parsed GeoJSON, or what may hold some, of text, shapes, tables and items of other libraries.

    Tables know which coordinates theirs are, and GeoJSON has one kind only.
    """
    if isinstance(value, str | bytes):
        try:
            return json.loads(value)
        except (ValueError, RecursionError) as error:
            raise InvalidArgument(f"intersects is not JSON ({error}): {_GEOJSON_HOW}.") from error
    if getattr(value, "crs", None) is not None and hasattr(value, "to_crs"):
        value = value.to_crs(4326)
    if hasattr(value, "__geo_interface__"):
        return value.__geo_interface__
    if not isinstance(value, dict) and hasattr(value, "geometry"):
        return {"geometry": value.geometry}
    return value


def _refuse_other_crs(document: dict[str, Any]) -> None:
    crs = document.get("crs")
    properties = crs.get("properties") if isinstance(crs, dict) else None
    name = properties.get("name") if isinstance(properties, dict) else None
    if isinstance(name, str) and not name.upper().endswith(_CRS84):
        raise InvalidArgument(
            f"intersects is in {name}: GeoJSON is in longitude and latitude (EPSG:4326); "
            "reproject it first."
        )


def _shape(geometry: dict[str, Any]) -> BaseGeometry:
    import shapely

    try:
        text = json.dumps(geometry, allow_nan=False, default=_as_list)
        shape = shapely.from_geojson(text)
        if may_jump(shape.bounds):
            geometry, told = unfolded(json.loads(text))
            if told:
                log.warning("intersects: %s; it is taken so", told)
                shape = shapely.from_geojson(json.dumps(geometry))
        shape = shapely.force_2d(shape)
        if _reaches(shape.bounds, 0) and not _reaches(shape.bounds, _ROUNDING):
            shape = shapely.transform(shape, _moved_on_earth)
        # A polygon that touches itself breaks the predicates; its repaired form covers the same.
        return shape if shape.is_valid else shapely.make_valid(shape)
    except (ValueError, TypeError, shapely.errors.ShapelyError) as error:
        raise InvalidArgument(
            f"intersects holds a {geometry.get('type', 'shape')} that is no GeoJSON geometry "
            f"({str(error).splitlines()[0]}): {_GEOJSON_HOW}."
        ) from error


def _reaches(bounds: tuple[float, ...], beyond: float) -> bool:
    """Whether a shape goes so far beyond the edge of the Earth."""
    west, south, east, north = bounds
    return max(-180 - west, -90 - south, east - 180, north - 90) > beyond


def _moved_on_earth(coordinates: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    return np.array([(_on_earth(x, 180), _on_earth(y, 90)) for x, y in coordinates.tolist()])


def _as_list(array: Any) -> Any:
    """What a library's array or number holds."""
    if not hasattr(array, "tolist"):
        raise TypeError(f"a {type(array).__name__} is no coordinate")
    return array.tolist()
