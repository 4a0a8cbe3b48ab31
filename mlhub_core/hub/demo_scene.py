"""What the demo shows: fields of crops in four places, through eight months of 2021.

Every number is drawn from a generator seeded by the place, so that the demo is the same
everywhere. ``RandomState`` is used on purpose: its streams are frozen, the newer generators' not.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

PIXEL = 0.0001
"""Width of a pixel in degrees: about ten metres, as Sentinel-2 has."""
MONTHS = tuple(range(3, 11))
"""March to October."""
BANDS = {
    "B02": (900.0, 400.0),
    "B03": (1100.0, 700.0),
    "B04": (1400.0, 400.0),
    "B08": (2200.0, 4500.0),
}
"""Reflectance of soil and of leaves, times 10,000."""
CROPS = {1: "maize", 2: "wheat", 3: "sugarcane", 4: "grassland"}
"""Names of the classes; 0 means that nobody has looked."""

_PIXELS = 48
"""Rows and columns of an image."""
_FIELDS = 4
"""Fields in a row and in a column of an image."""
_SIDE = _PIXELS // _FIELDS
"""Rows and columns of a field."""
_PEAK_MONTHS = np.array([7.0, 5.5, 8.5, 6.0])
"""When each crop is at its greenest."""
_PLACES = (
    ("kenya", 34.21, 0.52, 8),
    ("bavaria", 12.35, 48.83, 10),
    ("iowa", -93.46, 42.11, 17),
    ("fiji", 177.53, -17.61, 22),
)


@dataclass(frozen=True, slots=True)
class Tile:
    """A square of ground that is seen again and again.

    Attributes:
        place: Name of the place.
        number: From 1, within the place.
        west: Longitude of the left edge; the right one may lie beyond 180.
        north: Latitude of the upper edge.
        hour: Hour of the day, UTC, at which the satellite passes.
        months: The months in which it is seen.
    """

    place: str
    number: int
    west: float
    north: float
    hour: int
    months: tuple[int, ...] = MONTHS

    @property
    def name(self) -> str:
        """Such as ``kenya_01``."""
        return f"{self.place}_{self.number:02d}"

    @property
    def bbox(self) -> list[float]:
        """Where it lies."""
        return _bbox(self.west, self.north, _PIXELS * PIXEL)

    def field_bbox(self, row: int, column: int) -> list[float]:
        """Where one of its fields lies."""
        size = _PIXELS * PIXEL / _FIELDS
        return _bbox(self.west + column * size, self.north - row * size, size)


def tiles() -> Iterator[Tile]:
    """All tiles: three a place, and one across the antimeridian that is seen once, in July."""
    for place, west, north, hour in _PLACES:
        for number in (1, 2, 3):
            yield Tile(place, number, west + 0.01 * number, north, hour)
    yield Tile("fiji", 4, 180.0 - _PIXELS * PIXEL / 2, -16.78, 22, (7,))


def images() -> Iterator[tuple[Tile, int]]:
    """Each tile in each month in which it is seen."""
    return ((tile, month) for tile in tiles() for month in tile.months)


def plots() -> Iterator[tuple[Tile, int, list[float], npt.NDArray[np.uint16]]]:
    """The four fields in the first row of each tile that is seen all season.

    Yields:
        The tile, the field's number from 1, where it lies, and its near infrared in March.
    """
    for tile in tiles():
        if tile.months == MONTHS:
            pixels = np.hsplit(band(tile, MONTHS[0], "B08")[:_SIDE], _FIELDS)
            for column in range(_FIELDS):
                yield tile, column + 1, tile.field_bbox(0, column), pixels[column]


def random(*key: str | int) -> np.random.RandomState:
    """A generator of its own for each key, the same on every machine."""
    return np.random.RandomState(zlib.crc32(repr((2021, *key)).encode("ascii")))


@cache  # asked for by every band of every month
def crops(tile: Tile) -> npt.NDArray[np.uint8]:
    """The class of every pixel: what grows on each field the whole year."""
    fields = random("crops", tile.name).choice(
        5, size=(_FIELDS, _FIELDS), p=[0.15, 0.25, 0.25, 0.15, 0.2]
    )
    classes = np.kron(fields, np.ones((_SIDE, _SIDE), dtype=int)).astype(np.uint8)
    classes.setflags(write=False)
    return classes


def cloud_cover(tile: Tile, month: int) -> float:
    """Per cent of the image under clouds."""
    return float(random("clouds", tile.name, month).randint(0, 801)) / 10


def band(tile: Tile, month: int, name: str) -> npt.NDArray[np.uint16]:
    """Reflectance of one band, times 10,000: soil, leaves by the season, noise and clouds."""
    soil, leaves = BANDS[name]
    green = np.array([0.3, *np.exp(-(((month - _PEAK_MONTHS) / 2.0) ** 2))])
    share = green[crops(tile)]
    pixels = soil * (1 - share) + leaves * share
    pixels += random("noise", tile.name, month, name).normal(0.0, 60.0, size=pixels.shape)
    # The clouds come in from the north, in a bank.
    pixels[: round(_PIXELS * cloud_cover(tile, month) / 100)] += 5000.0
    return np.clip(pixels, 1, 10_000).astype(np.uint16)


def thumbnail(bands: dict[str, npt.NDArray[np.uint16]]) -> npt.NDArray[np.uint8]:
    """A natural-colour picture, half the size."""
    colours = np.stack([bands[name][::2, ::2] for name in ("B04", "B03", "B02")], axis=-1)
    return np.clip(colours / 12, 0, 255).astype(np.uint8)


def field_features(tile: Tile) -> list[dict[str, Any]]:
    """The labelled fields of a tile as GeoJSON features."""
    return [
        feature(
            tile.field_bbox(row, column),
            {"field": row * _FIELDS + column + 1, "class": int(crop), "crop": CROPS[int(crop)]},
        )
        for (row, column), crop in np.ndenumerate(crops(tile)[::_SIDE, ::_SIDE])
        if crop
    ]


def feature(bbox: list[float], properties: dict[str, Any]) -> dict[str, Any]:
    """A rectangle as a GeoJSON feature."""
    return {"type": "Feature", "geometry": geometry(bbox), "properties": properties}


def geometry(bbox: list[float]) -> dict[str, Any]:
    """A box as GeoJSON: cut in two at the antimeridian, as RFC 7946 asks."""
    west, south, east, north = bbox
    if west <= east:
        return {"type": "Polygon", "coordinates": [_ring(*bbox)]}
    halves = [_ring(west, south, 180.0, north), _ring(-180.0, south, east, north)]
    return {"type": "MultiPolygon", "coordinates": [[half] for half in halves]}


def _bbox(west: float, north: float, size: float) -> list[float]:
    """A square by its upper left corner; longitudes are brought back to -180 … 180."""
    west, south, east, north = (
        round(value, 7) for value in (west, north - size, west + size, north)
    )
    west, east = (west - 360 if west >= 180 else west), (east - 360 if east > 180 else east)
    return [round(west, 7), south, round(east, 7), north]


def _ring(west: float, south: float, east: float, north: float) -> list[list[float]]:
    return [[west, south], [east, south], [east, north], [west, north], [west, south]]
