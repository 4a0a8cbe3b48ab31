"""What the demo shows: fields of crops in four places, through eight months of 2021, as files.

Every number is drawn from a generator seeded by the place, so that the demo is the same
everywhere. ``RandomState`` is used on purpose: its streams are frozen, the newer generators' not.
"""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath
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

_TIFF_TYPES = {"H": 3, "I": 4, "d": 12}
"""Numbers of TIFF's types by the letters of Python's."""
_GEO_KEYS = (
    *(1, 1, 0, 3),  # version 1.1.0, three keys
    *(1024, 0, 1, 2),  # GTModelType: geographic
    *(1025, 0, 1, 1),  # GTRasterType: a pixel is an area
    *(2048, 0, 1, 4326),  # GeographicType: WGS 84
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


# Files, byte for byte the same with every version of every library


def geotiff(pixels: npt.NDArray[Any], west: float, north: float, pixel: float) -> bytes:
    """Encode a band as GeoTIFF in EPSG:4326, uncompressed, in one strip.

    Args:
        pixels: Rows from north to south, ``uint8`` or ``uint16``.
        west: Longitude of the left edge.
        north: Latitude of the upper edge.
        pixel: Width and height of a pixel, in degrees.
    """
    height, width = pixels.shape
    body = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    tags: list[tuple[int, str, Sequence[float]]] = [
        (256, "I", [width]),
        (257, "I", [height]),
        (258, "H", [pixels.dtype.itemsize * 8]),
        (259, "H", [1]),  # no compression
        (262, "H", [1]),  # black is zero
        (273, "I", [8]),  # the strip begins behind the header
        (277, "H", [1]),  # samples in a pixel
        (278, "I", [height]),  # rows in the strip
        (279, "I", [len(body)]),
        (339, "H", [1]),  # unsigned integers
        (33550, "d", [pixel, pixel, 0.0]),  # ModelPixelScale
        (33922, "d", [0.0, 0.0, 0.0, west, north, 0.0]),  # ModelTiepoint
        (34735, "H", _GEO_KEYS),
    ]
    body += b"\0" * (len(body) % 2)  # a directory begins at an even byte
    directory, behind = struct.pack("<H", len(tags)), b""
    first_behind = 8 + len(body) + 2 + 12 * len(tags) + 4
    for tag, letter, content in tags:
        value = struct.pack(f"<{len(content)}{letter}", *content)
        if len(value) > 4:
            place = struct.pack("<I", first_behind + len(behind))
            behind += value
        else:
            place = value.ljust(4, b"\0")
        directory += struct.pack("<HHI", tag, _TIFF_TYPES[letter], len(content)) + place
    header = struct.pack("<2sHI", b"II", 42, 8 + len(body))
    return header + body + directory + struct.pack("<I", 0) + behind


def npy(array: npt.NDArray[Any]) -> bytes:
    """Encode an array as NPY."""
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """Encode a table whose values need no quotes."""
    return "".join(",".join(map(str, row)) + "\n" for row in (header, *rows)).encode("utf-8")


def tar_gz(members: Mapping[str, bytes]) -> bytes:
    """An archive with its directories, whose bytes depend on nothing but the members."""
    packed = io.BytesIO()
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        made: set[PurePosixPath] = set()
        for name, data in members.items():
            for parent in reversed(PurePosixPath(name).parents[:-1]):
                if parent not in made:
                    made.add(parent)
                    directory = tarfile.TarInfo(str(parent))
                    directory.type, directory.mode = tarfile.DIRTYPE, 0o755
                    archive.addfile(directory)
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))
    return packed.getvalue()
