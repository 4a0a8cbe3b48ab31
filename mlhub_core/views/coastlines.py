"""Land and borders of the Earth, as coarse as a map of the world needs them.

Natural Earth at 1:110 million; ``COASTLINES.txt`` says where they are from.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from functools import cache, partial
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from mlhub_core.views.extent import Bounds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Line = NDArray[np.float64]

_TURNS = (-360.0, 0.0, 360.0)


@dataclass(frozen=True, slots=True)
class Land:
    """What a map shows of the land, in degrees.

    Attributes:
        shores: Rings of land.
        lakes: Rings of water in it.
        coasts: Lines of coasts.
        borders: Lines of borders.
    """

    shores: list[Line]
    lakes: list[Line]
    coasts: list[Line]
    borders: list[Line]


def land_in(bounds: Bounds, detail: float) -> Land:
    """The land in a part of the Earth.

    Args:
        bounds: The part of the Earth.
        detail: How many degrees cannot be told apart.
    """
    import shapely

    land, coasts, borders = (
        shapely.simplify(_clipped(shape, bounds), 0.7 * detail) for shape in _shapes()
    )
    polygons = _parts(land, "Polygon")
    return Land(
        [np.asarray(one.exterior.coords) for one in polygons],
        [np.asarray(ring.coords) for one in polygons for ring in one.interiors],
        _lines(coasts),
        _lines(borders),
    )


@cache
def _shapes() -> tuple[Any, Any, Any]:
    import shapely

    packed = files("mlhub_core.views").joinpath("coastlines.wkt.gz").read_bytes()
    land, borders = map(shapely.from_wkt, gzip.decompress(packed).decode().splitlines())
    # Where the map of the world ends the land is cut off: that is no coast.
    edge = shapely.box(-180.0, -90.0, 180.0, 90.0).boundary
    return land, shapely.difference(land.boundary, edge), borders


def _clipped(shape: Any, bounds: Bounds) -> Any:
    """A shape within bounds that may reach beyond the antimeridian."""
    import shapely

    west, south, east, north = bounds
    found = []
    for turn in _TURNS:
        part = shapely.clip_by_rect(shape, west - turn, south, east - turn, north)
        if not part.is_empty:
            found.append(shapely.transform(part, partial(np.add, (turn, 0.0))))
    return found[0] if len(found) == 1 else shapely.GeometryCollection(found)


def _lines(shape: Any) -> list[Line]:
    return [np.asarray(line.coords) for line in _parts(shape, "LineString")]


def _parts(shape: Any, kind: str) -> list[Any]:
    """The single shapes of a kind that something is made of."""
    import shapely

    parts = [shape]
    while any(hasattr(part, "geoms") for part in parts):
        parts = list(shapely.get_parts(parts))
    return [part for part in parts if part.geom_type == kind and not part.is_empty]
