"""Places of items: bounding boxes and geometries, checked and brought onto the Earth.

Catalogs write longitudes from 0 to 360, below -180 and beyond 180, and polygons that jump from 179
to -179 in one step instead of ending at the antimeridian, as RFC 7946 asks. All of these lie
somewhere; filters and maps find them where: longitudes are brought within -180 to 180, and shapes
are cut at the antimeridian.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

Bounds = tuple[float, float, float, float]
"""West, south, east, north."""
AT_ONCE = 64
"""Items whose places are read together; more of them would take memory, and save nothing."""

_WEST, _EAST, _TURN, _HALF = -180.0, 180.0, 360.0, 180.0
FARTHEST = 540.0
"""A turn and a half: numbers beyond are metres, or something else that is no degree."""
_ROUNDING = 1e-6
_POLE = 90.0
_BEYOND_POLE = 1.0
"""Grids are named by the outer edges of their cells, half a cell beyond the poles."""
_POLAR = 45.0
"""Beyond this latitude a shape may go around a pole; nearer to the equator it is a wide one."""
_NARROW, _LOW = 90.0, 60.0
"""What is so narrow and so low when it goes on beyond 180 goes across the antimeridian; what is
wider or higher is meant to go the long way, as do grids of nearly the whole Earth."""
_ROUGHLY = 1.0
"""Boxes are rounded, or made of the scene rather than of its outline."""
_UNCUT = "geometry is not cut at the antimeridian, which it seems to cross"

_KINDS = (
    *("Point", "LineString", "LinearRing", "Polygon", "MultiPoint", "MultiLineString"),
    *("MultiPolygon", "GeometryCollection"),
)
"""GeoJSON's names of types, by their numbers in shapely."""

Position = list[Any]
Line = list[Position]


class InvalidPlace(ValueError):
    """A bounding box or geometry that is none; never leaves the package."""


class Shape(NamedTuple):
    """A geometry as it goes into the index.

    Attributes:
        wkb: ISO WKB, little-endian.
        bounds: Around all of its positions; None of an empty one.
        kind: GeoJSON's name of its type, with `` Z`` where it has heights.
    """

    wkb: bytes
    bounds: Bounds | None
    kind: str


class Placed(NamedTuple):
    """A geometry on the Earth.

    Attributes:
        shape: The geometry.
        box: The box around it, west > east across the antimeridian.
        told: What had to be decided, in words.
    """

    shape: Shape
    box: Bounds | None
    told: str = ""


class Place(NamedTuple):
    """Where an item lies.

    Attributes:
        bbox: As the item gives it, within -180 to 180; west > east across the antimeridian.
        cover: What no reader may prune on and lose the item.
        shape: Its geometry.
        told: What is wrong, in words.
    """

    bbox: Bounds | None
    cover: Bounds | None
    shape: Shape | None
    told: tuple[str, ...]


def read_places(items: Sequence[dict[str, Any]]) -> list[Place]:
    """The bounding boxes and geometries of parsed items, all on the Earth.

    GEOS reads and writes the geometries all at once: one by one took five times as long.
    """
    geometries = [item.get("geometry") for item in items]
    parsed = iter(parse_geometries([one for one in geometries if one is not None]))
    return [
        _read_place(item.get("bbox"), geometry, None if geometry is None else next(parsed))
        for item, geometry in zip(items, geometries, strict=True)
    ]


def _read_place(bbox: Any, geometry: Any, parsed: Shape | InvalidPlace | None) -> Place:
    box = shape = None
    told: list[str] = []
    try:
        box = _read_box(bbox)
    except InvalidPlace as error:
        told.append(str(error))
    try:
        if isinstance(parsed, InvalidPlace):
            raise parsed
        if parsed is not None:
            found = placed(geometry, parsed, box)
            shape = found.shape
            if found.told:
                told.append(found.told)
            if box != found.box:
                box = _agreed(box, found, told.append)
    except InvalidPlace as error:
        told.append(str(error))
    return Place(box, covering(box, shape), shape, tuple(told))


def parse_bbox(value: Any) -> Bounds:
    """Read a bounding box of four or six numbers; heights are dropped.

    West may be more than east: it then crosses the antimeridian.

    Raises:
        InvalidPlace: if it is anything else; says why.
    """
    if not isinstance(value, list) or len(value) not in (4, 6):
        raise InvalidPlace("bbox is not four or six numbers")
    half = len(value) // 2
    west, south = _number(value[0]), _number(value[1])
    east, north = _number(value[half]), _number(value[half + 1])
    if south > north:
        raise InvalidPlace("bbox has its south above its north")
    return west, south, east, north


def _number(value: Any) -> float:
    if isinstance(value, float) and math.isfinite(value):
        return value
    if type(value) is int and -(2**63) <= value < 2**64:
        return float(value)
    raise InvalidPlace(f"{str(value)[:20]!r} is not a number to place anything by")


def parse_geometry(value: Any) -> Shape:
    """Turn a GeoJSON geometry into WKB.

    Empty ones are allowed, rings that are not closed are not. Where some positions have no height,
    none keeps its own.

    Raises:
        InvalidPlace: if it is no geometry; says why.
    """
    (found,) = parse_geometries([value])
    if isinstance(found, InvalidPlace):
        raise found
    return found


def parse_geometries(values: Sequence[Any]) -> list[Shape | InvalidPlace]:
    """Turn GeoJSON geometries into WKB, and what is none into the error that says why."""
    import numpy as np
    import shapely

    texts = np.empty(len(values), dtype=object)
    found: list[Shape | InvalidPlace | None] = [None] * len(values)
    for at, value in enumerate(values):
        try:
            texts[at] = orjson.dumps(value)
        except TypeError as error:
            found[at] = _not_geojson(error)
    shapes = shapely.from_geojson(texts, on_invalid="ignore")
    for at, number in enumerate(shapely.get_type_id(shapes).tolist()):
        if found[at] is None:
            found[at] = _invalid(values[at], texts[at], number)
    fine = [at for at, error in enumerate(found) if error is None]
    for at, read in zip(fine, _as_shapes(shapes[fine]), strict=True):
        found[at] = read
    return [one for one in found if one is not None]


def _invalid(value: Any, text: bytes, number: int) -> InvalidPlace | None:
    """What is wrong with a geometry, which GEOS takes for one of a type, or -1 for none."""
    import shapely

    if number < 0:
        try:
            shapely.from_geojson(text)
        except shapely.errors.ShapelyError as error:
            return _not_geojson(error)
        return InvalidPlace("geometry is not as GeoJSON has it: null")
    kind = value["type"]
    if _KINDS[number] != kind:
        return InvalidPlace(f"geometry is of no known type: {kind[:40]!r}")
    # To ask GEOS for its rings takes as long as all else here.
    parts = {"Polygon": [value.get("coordinates")], "MultiPolygon": value.get("coordinates")}
    if any(len(ring) == 3 for polygon in parts.get(kind, ()) for ring in polygon):
        return InvalidPlace("geometry has a ring of three positions")
    return None


def _not_geojson(error: Exception) -> InvalidPlace:
    # "ParseException: Error parsing JSON: '[json.exception.type_error.302] type must be …'"
    why = str(error).strip().rpartition("] ")[2].rpartition("Exception: ")[2].rstrip("'")
    return InvalidPlace(f"geometry is not as GeoJSON has it: {why[:100]}")


def _as_shapes(shapes: Any) -> list[Shape]:
    """Geometries, as they go into the index."""
    import numpy as np
    import shapely

    shapes = np.asarray(shapes, dtype=object)
    positions, owners = shapely.get_coordinates(shapes, include_z=True, return_index=True)
    has_z = shapely.has_z(shapes)
    mixed = np.unique(owners[np.isnan(positions[:, 2]) & has_z[owners]])
    shapes[mixed], has_z[mixed] = shapely.force_2d(shapes[mixed]), False
    # All positions, of holes outside too; what is empty has none.
    owners, starts = np.unique(owners, return_index=True)
    boxes = np.full((len(shapes), 4), np.nan)
    if len(starts):
        boxes[owners, :2] = np.minimum.reduceat(positions[:, :2], starts)
        boxes[owners, 2:] = np.maximum.reduceat(positions[:, :2], starts)
    return [
        Shape(wkb, None if box[0] != box[0] else tuple(box), _KINDS[kind] + (" Z" if high else ""))
        for wkb, box, kind, high in zip(
            shapely.to_wkb(shapes, flavor="iso", byte_order=1, output_dimension=3),
            boxes.tolist(),
            shapely.get_type_id(shapes).tolist(),
            has_z.tolist(),
            strict=True,
        )
    ]


def covering(bbox: Bounds | None, shape: Shape | None) -> Bounds | None:
    """The box that no reader may prune on and lose the item.

    It covers the item's bounding box and its geometry, because filters test the one or the other.
    Whatever crosses the antimeridian, or has longitudes beyond 180, gets the whole width.

    Returns:
        West, south, east, north with west <= east; None for an item without a place.
    """
    boxes = [box for box in (bbox, shape.bounds if shape else None) if box is not None]
    if not boxes:
        return None
    south = min(box[1] for box in boxes)
    north = max(box[3] for box in boxes)
    if any(w > e or w < _WEST or e > _EAST for w, _, e, _ in boxes):
        return _WEST, south, _EAST, north
    return min(box[0] for box in boxes), south, max(box[2] for box in boxes), north


def _read_box(value: Any) -> Bounds | None:
    if value is None:
        return None
    west, south, east, north = parse_bbox(value)
    if west >= _WEST and east <= _EAST and south >= -_POLE and north <= _POLE:
        return west, south, east, north
    if not are_degrees(west, south, east, north):
        raise InvalidPlace("bbox is not in degrees of longitude and latitude")
    west, east = normal(west, east)
    return west, max(south, -_POLE), east, min(north, _POLE)


def _agreed(box: Bounds | None, found: Placed, complain: Callable[[str], None]) -> Bounds | None:
    """The box of an item whose geometry has another one."""
    own, drawn = box, found.box
    if drawn is None or own is None:
        # A shape that is all around the Earth by its numbers alone is not found everywhere.
        return own or (drawn if drawn and drawn[0] > drawn[2] else None)
    if own[0] > own[2] and own == (drawn[2], drawn[1], drawn[0], drawn[3]):
        complain("bbox has its west and its east swapped")
        return drawn
    if found.told and own[0] <= own[2] and drawn[0] > drawn[2]:
        return drawn  # made of the same numbers by who did not look
    if own == (drawn[1], drawn[0], drawn[3], drawn[2]):
        complain("bbox has its latitudes first")
        return drawn
    if _apart(own, drawn):
        complain("bbox and geometry have no point in common")
    return own


def _apart(one: Bounds, other: Bounds) -> bool:
    if one[1] > other[3] or one[3] < other[1]:
        return True
    if one[0] > one[2] or other[0] > other[2]:
        return False
    return one[0] > other[2] or one[2] < other[0]


def normal(west: float, east: float) -> tuple[float, float]:
    """The same stretch of longitudes within -180 to 180; west > east across the antimeridian."""
    if _WEST <= west <= _EAST and _WEST <= east <= _EAST:
        return west, east
    if east - west >= _TURN - _ROUNDING:
        return _WEST, _EAST
    return _wrapped(west), _wrapped(east)


def are_degrees(west: float, south: float, east: float, north: float) -> bool:
    """Whether a box can be meant in degrees."""
    pole = _POLE + _BEYOND_POLE
    return max(abs(west), abs(east)) <= FARTHEST and -pole <= south <= north <= pole


def may_jump(bounds: Bounds) -> bool:
    """Whether a shape is so wide that a part of it may jump over the antimeridian."""
    west, _, east, _ = bounds
    return east - west > _HALF and west >= _WEST and east <= _EAST


def placed(geometry: Any, shape: Shape, box: Bounds | None = None) -> Placed:
    """Bring a geometry onto the Earth.

    Args:
        geometry: GeoJSON.
        shape: The same, parsed.
        box: The item's bounding box, whose west > east says that it goes across the antimeridian.

    Raises:
        InvalidPlace: if it cannot be meant in degrees.
    """
    if shape.bounds is None:
        return Placed(shape, None)
    if not are_degrees(*shape.bounds):
        raise InvalidPlace("geometry is not in degrees of longitude and latitude")
    told = ""
    west, south, east, north = shape.bounds
    if may_jump(shape.bounds):
        geometry, told = unfolded(geometry, box)
        if not told:
            return Placed(shape, shape.bounds)
        shape = parse_geometry(geometry)
        west, south, east, north = shape.bounds or (west, south, east, north)
    elif west >= _WEST and east <= _EAST:
        return Placed(shape, shape.bounds)
    import shapely

    cut = cut_at_antimeridian(shapely.from_wkb(shape.wkb))
    west, east = normal(west, east)
    (shape,) = _as_shapes([cut])
    return Placed(shape, (west, south, east, north), told)


def unfolded(geometry: Any, box: Bounds | None = None) -> tuple[Any, str]:
    """A GeoJSON geometry whose parts go on beyond 180 where they jumped over the antimeridian.

    Returns:
        The geometry, and what was decided in words; empty where it is as it was.
    """
    notes: list[str] = []

    def part(lines: list[Line]) -> list[Line]:
        lines, told = _unfolded_part(lines, box)
        notes.extend([told] * bool(told))
        return lines

    def whole(one: Any) -> Any:
        kind, parts = one["type"], one.get("coordinates")
        if kind == "GeometryCollection":
            return {"type": kind, "geometries": [whole(member) for member in one["geometries"]]}
        if kind == "Polygon":
            parts = part(parts)
        elif kind == "MultiPolygon":
            parts = [part(polygon) for polygon in parts]
        elif kind == "LineString":
            (parts,) = part([parts])
        elif kind == "MultiLineString":
            parts = [part([line])[0] for line in parts]
        return {"type": kind, "coordinates": parts}

    found = whole(geometry)
    return (found, notes[0]) if notes else (geometry, "")


def cut_at_antimeridian(shape: BaseGeometry) -> BaseGeometry:
    """A shape that goes on beyond 180 degrees, cut there and moved onto the Earth."""
    import shapely

    west, _, east, _ = shape.bounds
    if west >= _WEST and east <= _EAST:
        return shape
    if not shape.is_valid:
        shape = shapely.make_valid(shape)
    pieces = [piece for part in shapely.get_parts(shape) for piece in _pieces(part)]
    return pieces[0] if len(pieces) == 1 else shapely.union_all(pieces)


def _pieces(part: BaseGeometry) -> Iterator[BaseGeometry]:
    """What of a point, line or polygon lies in each turn of the Earth, moved to the first one."""
    import shapely

    west, south, east, north = part.bounds
    for turn in range(math.floor((west + _HALF) / _TURN), math.floor((east + _HALF) / _TURN) + 1):
        by = turn * _TURN
        strip = shapely.box(_WEST + by, south - 1, _EAST + by, north + 1)
        piece = shapely.intersection(part, strip)
        # Of a polygon that ends at a strip's edge, that edge alone is no piece.
        if shapely.get_dimensions(piece) == shapely.get_dimensions(part):
            yield shapely.affinity.translate(piece, xoff=-by)


def _wrapped(longitude: float) -> float:
    if abs(abs(longitude) - _HALF) <= _ROUNDING:
        return math.copysign(_HALF, longitude)
    return longitude - _TURN * math.floor((longitude + _HALF) / _TURN)


def _unfolded_part(lines: list[Line], box: Bounds | None) -> tuple[list[Line], str]:
    """A polygon's rings, or a line."""
    step = max((abs(a[0] - b[0]) for line in lines for a, b in pairwise(line)), default=0.0)
    if not _HALF < step < _TURN - _ROUNDING:
        return lines, ""
    latitudes = [position[1] for line in lines for position in line]
    low, high = min(latitudes), max(latitudes)
    is_polar = low > _POLAR or high < -_POLAR
    if is_polar and lines[0][0] == lines[0][-1] and _goes_around(lines[0]):
        low, high = (low, _POLE) if low + high > 0 else (-_POLE, high)
        ring = [[x, y] for x, y in ((_WEST, low), (_EAST, low), (_EAST, high), (_WEST, high))]
        return [[*ring, ring[0]]], "geometry goes around a pole: all around it is taken"
    crosses = box is not None and box[0] > box[2]
    middle = (box[0] + box[2]) / 2 if box is not None and crosses else 0.0
    found = [[[x + _TURN if x < middle else x, *rest] for x, *rest in line] for line in lines]
    longitudes = [position[0] for line in found for position in line]
    west, east = min(longitudes), max(longitudes)
    if box is not None and crosses:
        across = west >= box[0] - _ROUGHLY and east <= box[2] + _TURN + _ROUGHLY
    else:
        across = east - west <= _NARROW and high - low <= _LOW
    return (found, _UNCUT) if across else (lines, "")


def _goes_around(ring: Line) -> bool:
    """Whether a ring, each step the short way, goes once around the Earth."""
    short = (math.remainder(b[0] - a[0], _TURN) for a, b in pairwise(ring))
    return abs(sum(short)) > _HALF
