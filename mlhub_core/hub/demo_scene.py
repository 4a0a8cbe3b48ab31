"""What the demo shows: fields of crops in four places, through eight months of 2021.

Every number is drawn from a generator seeded by the place, so that the demo is the same
everywhere. ``RandomState`` is used on purpose: its streams are frozen, the newer generators' not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

PIXELS = 48
"""Rows and columns of an image."""
PIXEL = 0.0001
"""Width of a pixel in degrees: about ten metres, as Sentinel-2 has."""
FIELDS = 4
"""Fields in a row and in a column of an image."""
MONTHS = tuple(range(3, 11))
"""March to October."""
BANDS = ("B02", "B03", "B04", "B08")
CROPS = {1: "maize", 2: "wheat", 3: "sugarcane", 4: "grassland"}
"""Names of the classes; 0 means that nobody has looked."""

_SEED = 2021
_SOIL = (900.0, 1100.0, 1400.0, 2200.0)
_LEAVES = (400.0, 700.0, 400.0, 4500.0)
_CLOUD = 5000.0
_PEAK_MONTH = {1: 7.0, 2: 5.5, 3: 8.5, 4: 6.0}
_DECIMALS = 7


@dataclass(frozen=True, slots=True)
class Box:
    """A bounding box in degrees; ``west > east`` where it crosses the antimeridian."""

    west: float
    south: float
    east: float
    north: float

    @property
    def bbox(self) -> list[float]:
        """As STAC writes it."""
        return [self.west, self.south, self.east, self.north]

    @property
    def geometry(self) -> dict[str, Any]:
        """As GeoJSON: cut in two at the antimeridian, as RFC 7946 asks."""
        if self.west <= self.east:
            return {"type": "Polygon", "coordinates": [_ring(*self.bbox)]}
        halves = [
            _ring(self.west, self.south, 180.0, self.north),
            _ring(-180.0, self.south, self.east, self.north),
        ]
        return {"type": "MultiPolygon", "coordinates": [[half] for half in halves]}


@dataclass(frozen=True, slots=True)
class Tile:
    """A square of ground that is seen again and again.

    Attributes:
        place: Name of the place.
        number: From 1, within the place.
        west: Longitude of the left edge; the right one may lie beyond 180.
        north: Latitude of the upper edge.
        months: The months in which it is seen.
        hour: Hour of the day, UTC, at which the satellite passes.
    """

    place: str
    number: int
    west: float
    north: float
    months: tuple[int, ...]
    hour: int

    @property
    def name(self) -> str:
        """Such as ``kenya_01``."""
        return f"{self.place}_{self.number:02d}"

    @property
    def box(self) -> Box:
        """Where it lies."""
        size = PIXELS * PIXEL
        return _box(self.west, self.north - size, self.west + size, self.north)


def tiles() -> Iterator[Tile]:
    """All tiles: three a place, and one across the antimeridian that is seen once, in July."""
    for place, west, north, hour in (
        ("kenya", 34.21, 0.52, 8),
        ("bavaria", 12.35, 48.83, 10),
        ("iowa", -93.46, 42.11, 17),
        ("fiji", 177.53, -17.61, 22),
    ):
        for number in (1, 2, 3):
            yield Tile(place, number, west + 0.01 * number, north, MONTHS, hour)
    yield Tile("fiji", 4, 180.0 - PIXELS * PIXEL / 2, -16.78, (7,), 22)


def images() -> Iterator[tuple[Tile, int]]:
    """Each tile in each month in which it is seen."""
    return ((tile, month) for tile in tiles() for month in tile.months)


def plots() -> Iterator[tuple[Tile, int, Box]]:
    """The four fields in the first row of each tile that is seen all season, numbered from 1."""
    for tile in tiles():
        if tile.months == MONTHS:
            for column in range(FIELDS):
                yield tile, column + 1, _field_box(tile, 0, column)


def plot_pixels(tile: Tile, number: int) -> npt.NDArray[np.uint16]:
    """Near infrared of one plot, in the first month."""
    side = PIXELS // FIELDS
    return band(tile, MONTHS[0], "B08")[:side, (number - 1) * side : number * side]


def random(*key: str | int) -> np.random.RandomState:
    """A generator of its own for each key, the same on every machine."""
    import zlib

    import numpy as np

    return np.random.RandomState(zlib.crc32(repr((_SEED, *key)).encode("ascii")))


@cache  # asked for by every band of every month
def crops(tile: Tile) -> npt.NDArray[np.uint8]:
    """The class of every pixel: what grows on each field the whole year."""
    import numpy as np

    fields = random("crops", tile.name).choice(
        [0, 1, 2, 3, 4], size=(FIELDS, FIELDS), p=[0.15, 0.25, 0.25, 0.15, 0.2]
    )
    side = PIXELS // FIELDS
    classes = np.kron(fields, np.ones((side, side), dtype=int)).astype(np.uint8)
    classes.setflags(write=False)
    return classes


def cloud_cover(tile: Tile, month: int) -> float:
    """Per cent of the image under clouds."""
    return float(random("clouds", tile.name, month).randint(0, 801)) / 10


def band(tile: Tile, month: int, name: str) -> npt.NDArray[np.uint16]:
    """Reflectance of one band, times 10,000: soil, leaves by the season, noise and clouds."""
    import numpy as np

    index = BANDS.index(name)
    green = np.full(5, 0.3)
    for crop, peak in _PEAK_MONTH.items():
        green[crop] = math.exp(-(((month - peak) / 2.0) ** 2))
    share = green[crops(tile)]
    pixels = _SOIL[index] * (1 - share) + _LEAVES[index] * share
    pixels += random("noise", tile.name, month, name).normal(0.0, 60.0, size=pixels.shape)
    # The clouds come in from the north, in a bank.
    pixels[: round(PIXELS * cloud_cover(tile, month) / 100)] += _CLOUD
    return np.clip(pixels, 1, 10_000).astype(np.uint16)


def thumbnail(bands: dict[str, npt.NDArray[np.uint16]]) -> npt.NDArray[np.uint8]:
    """A natural-colour picture, half the size."""
    import numpy as np

    colours = np.stack([bands[name][::2, ::2] for name in ("B04", "B03", "B02")], axis=-1)
    return np.clip(colours / 12, 0, 255).astype(np.uint8)


def field_features(tile: Tile) -> list[dict[str, Any]]:
    """The labelled fields of a tile as GeoJSON features."""
    classes = crops(tile)
    side = PIXELS // FIELDS
    features = []
    for row in range(FIELDS):
        for column in range(FIELDS):
            crop = int(classes[row * side, column * side])
            if crop:
                box = _field_box(tile, row, column)
                properties = {"field": row * FIELDS + column + 1, "class": crop}
                features.append(feature(box, {**properties, "crop": CROPS[crop]}))
    return features


def feature(box: Box, properties: dict[str, Any]) -> dict[str, Any]:
    """A rectangle as a GeoJSON feature."""
    return {"type": "Feature", "geometry": box.geometry, "properties": properties}


def _field_box(tile: Tile, row: int, column: int) -> Box:
    size = PIXELS * PIXEL / FIELDS
    west, north = tile.west + column * size, tile.north - row * size
    return _box(west, north - size, west + size, north)


def _box(west: float, south: float, east: float, north: float) -> Box:
    """A box with longitudes brought back to -180 … 180."""
    west, south, east, north = (round(value, _DECIMALS) for value in (west, south, east, north))
    if west >= 180:
        west -= 360
    if east > 180:
        east -= 360
    return Box(round(west, _DECIMALS), south, round(east, _DECIMALS), north)


def _ring(west: float, south: float, east: float, north: float) -> list[list[float]]:
    return [[west, south], [east, south], [east, north], [west, north], [west, south]]
