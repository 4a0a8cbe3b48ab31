"""Bounding boxes and geometries of items: what the index keeps of them.

Geometries are turned into WKB here rather than by shapely: an item's geometry is parsed already,
writing it out as JSON again for shapely to parse costs more than packing its numbers, and the
bounds fall off on the way.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

Numbers = list[float]
Bounds = tuple[float, float, float, float]

_POINT, _LINE, _POLYGON = 1, 2, 3
_MULTI = {"MultiPoint": ("Point", 4), "MultiLineString": ("LineString", 5)}
_MULTI["MultiPolygon"] = ("Polygon", 6)
_COLLECTION = 7
_Z = 1000
"""Added to the type code by ISO WKB, the one that GeoParquet wants."""
_MAX_DEPTH = 8
"""Geometry collections within geometry collections."""
_WORLD_WEST, _WORLD_EAST = -180.0, 180.0


class InvalidPlace(ValueError):
    """A bounding box or geometry that is none; never leaves the package."""


class Shape(NamedTuple):
    """A geometry as it goes into the index.

    Attributes:
        wkb: ISO WKB, little-endian.
        bounds: West, south, east, north; None of an empty one.
        kind: GeoJSON's name of its type, with `` Z`` where it has heights.
    """

    wkb: bytes
    bounds: Bounds | None
    kind: str


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


def parse_geometry(value: Any) -> Shape:
    """Turn a GeoJSON geometry into WKB.

    Empty ones are allowed, rings that are not closed are not.

    Raises:
        InvalidPlace: if it is no geometry; says why.
    """
    builder = _Builder(_has_heights(value))
    kind = builder.geometry(value, 0)
    wkb = b"".join(builder.parts)
    return Shape(wkb, builder.bounds(), kind + (" Z" if builder.heights else ""))


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
    if any(w > e or w < _WORLD_WEST or e > _WORLD_EAST for w, _, e, _ in boxes):
        return _WORLD_WEST, south, _WORLD_EAST, north
    return min(box[0] for box in boxes), south, max(box[2] for box in boxes), north


def _number(value: Any) -> float:
    if isinstance(value, float) and math.isfinite(value):
        return value
    if type(value) is int and -(2**63) <= value < 2**64:
        return float(value)
    raise InvalidPlace(f"{str(value)[:20]!r} is not a number to place anything by")


def _has_heights(geometry: Any) -> bool:
    """Whether all positions have a height; where some have not, none is kept."""
    found = [len(position) > 2 for position in _positions(geometry, 0)]
    return bool(found) and all(found)


def _positions(value: Any, depth: int) -> Iterator[list[Any]]:
    if depth > _MAX_DEPTH:
        raise InvalidPlace("geometry is nested too deeply")
    if isinstance(value, dict):
        parts = value.get("coordinates", value.get("geometries"))
        yield from _positions(parts, depth + 1)
    elif isinstance(value, list) and value and isinstance(value[0], int | float):
        yield value
    elif isinstance(value, list):
        for part in value:
            yield from _positions(part, depth + 1)


class _Builder:
    """Packs one geometry and keeps its bounds."""

    def __init__(self, heights: bool) -> None:
        self.heights = heights
        self.parts: list[bytes] = []
        self._dimensions = 3 if heights else 2
        self._x: Numbers = []
        self._y: Numbers = []

    def bounds(self) -> Bounds | None:
        if not self._x:
            return None
        return min(self._x), min(self._y), max(self._x), max(self._y)

    def geometry(self, value: Any, depth: int) -> str:
        """Pack a geometry of any type; returns the name of the type."""
        if depth > _MAX_DEPTH:
            raise InvalidPlace("geometry is nested too deeply")
        if not isinstance(value, dict):
            raise InvalidPlace("geometry is not an object")
        kind = str(value.get("type"))
        if kind == "GeometryCollection":
            members = _list(value.get("geometries"), "geometries")
            self._head(_COLLECTION)
            self._count(len(members))
            for member in members:
                self.geometry(member, depth + 1)
            return kind
        coordinates = _list(value.get("coordinates"), "coordinates")
        if kind == "Polygon":
            self._polygon(coordinates)
        elif kind == "Point":
            self._point(coordinates)
        elif kind == "LineString":
            self._line(coordinates)
        elif kind in _MULTI:
            single, code = _MULTI[kind]
            self._head(code)
            self._count(len(coordinates))
            pack = {"Point": self._point, "LineString": self._line, "Polygon": self._polygon}
            for part in coordinates:
                pack[single](_list(part, "coordinates"))
        else:
            raise InvalidPlace(f"geometry is of no known type: {kind[:40]!r}")
        return kind

    def _head(self, code: int) -> None:
        self.parts.append(struct.pack("<BI", 1, code + _Z if self.heights else code))

    def _count(self, count: int) -> None:
        self.parts.append(struct.pack("<I", count))

    def _point(self, position: list[Any]) -> None:
        self._head(_POINT)
        if position:
            self._positions([position])
        else:  # how WKB says empty
            self.parts.append(struct.pack("<d", math.nan) * self._dimensions)

    def _line(self, positions: list[Any]) -> None:
        if len(positions) == 1:
            raise InvalidPlace("geometry has a line of one position")
        self._head(_LINE)
        self._count(len(positions))
        self._positions(positions)

    def _polygon(self, rings: list[Any]) -> None:
        self._head(_POLYGON)
        self._count(len(rings))
        for ring in rings:
            positions = _list(ring, "ring")
            if positions and (len(positions) < 4 or positions[0] != positions[-1]):
                raise InvalidPlace("geometry has a ring that is not closed")
            self._count(len(positions))
            self._positions(positions)

    def _positions(self, positions: list[Any]) -> None:
        flat: Numbers = []
        for position in positions:
            if not isinstance(position, list) or len(position) < self._dimensions:
                raise InvalidPlace("geometry has a position that is not two or three numbers")
            x, y = _number(position[0]), _number(position[1])
            self._x.append(x)
            self._y.append(y)
            flat += (x, y, _number(position[2])) if self.heights else (x, y)
        self.parts.append(struct.pack(f"<{len(flat)}d", *flat))


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise InvalidPlace(f"geometry has no list of {what}")
    return value
