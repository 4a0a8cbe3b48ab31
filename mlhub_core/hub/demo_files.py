"""Encodes the demo's little files, byte for byte the same with every version of every library."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt

_TIFF_TYPES = {"H": 3, "I": 4, "d": 12}
"""Numbers of TIFF's types by the letters of Python's."""
_GEO_KEYS = (
    *(1, 1, 0, 3),  # version 1.1.0, three keys
    *(1024, 0, 1, 2),  # GTModelType: geographic
    *(1025, 0, 1, 1),  # GTRasterType: a pixel is an area
    *(2048, 0, 1, 4326),  # GeographicType: WGS 84
)


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
    import numpy as np

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
