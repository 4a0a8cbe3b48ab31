"""Encodes the demo's little files: GeoTIFF, PNG, NPY, CSV, GeoJSON and tar.gz.

The few dozen bytes of header that each format needs are written here, byte for byte the same with
every version of every library; tests read them back with readers of others.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import tarfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_SHORT, _LONG, _DOUBLE = 3, 4, 12
_TIFF_CODES = {_SHORT: "H", _LONG: "I", _DOUBLE: "d"}

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
    strip_offset = 8  # right behind the file header
    tags: list[tuple[int, int, Sequence[float]]] = [
        (256, _LONG, [width]),
        (257, _LONG, [height]),
        (258, _SHORT, [pixels.dtype.itemsize * 8]),
        (259, _SHORT, [1]),  # no compression
        (262, _SHORT, [1]),  # black is zero
        (273, _LONG, [strip_offset]),
        (277, _SHORT, [1]),  # samples in a pixel
        (278, _LONG, [height]),  # rows in the strip
        (279, _LONG, [len(body)]),
        (339, _SHORT, [1]),  # unsigned integers
        (33550, _DOUBLE, [pixel, pixel, 0.0]),  # ModelPixelScale
        (33922, _DOUBLE, [0.0, 0.0, 0.0, west, north, 0.0]),  # ModelTiepoint
        (34735, _SHORT, _GEO_KEYS),
    ]
    padding = len(body) % 2  # a directory begins at an even byte
    directory_offset = strip_offset + len(body) + padding
    header = struct.pack("<2sHI", b"II", 42, directory_offset)
    return header + body + b"\0" * padding + _tiff_directory(tags, directory_offset)


def _tiff_directory(tags: list[tuple[int, int, Sequence[float]]], offset: int) -> bytes:
    """One image file directory; values of more than four bytes follow behind it."""
    behind = offset + 2 + 12 * len(tags) + 4
    entries, values = struct.pack("<H", len(tags)), b""
    for tag, kind, content in tags:
        value = struct.pack(f"<{len(content)}{_TIFF_CODES[kind]}", *content)
        if len(value) > 4:
            place = struct.pack("<I", behind + len(values))
            values += value
        else:
            place = value.ljust(4, b"\0")
        entries += struct.pack("<HHI", tag, kind, len(content)) + place
    return entries + struct.pack("<I", 0) + values


def png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Encode an RGB image, rows by columns by three."""
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)  # 0: no filter
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
            _png_chunk(b"IDAT", zlib.compress(rows)),
            _png_chunk(b"IEND", b""),
        )
    )


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def npy(array: npt.NDArray[Any]) -> bytes:
    """Encode an array as NPY."""
    import numpy as np

    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """Encode a table whose values need no quotes."""
    return "".join(",".join(map(str, row)) + "\n" for row in (header, *rows)).encode("utf-8")


def geojson(features: list[dict[str, Any]]) -> bytes:
    """Encode features as a FeatureCollection."""
    return orjson.dumps({"type": "FeatureCollection", "features": features})


def multihash(data: bytes) -> str:
    """``file:checksum`` of some bytes: SHA-256 as a multihash."""
    return "1220" + hashlib.sha256(data).hexdigest()


def tar_gz(members: Mapping[str, bytes]) -> bytes:
    """An archive with its directories, whose bytes depend on nothing but the members."""
    packed = io.BytesIO()
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        made: set[str] = set()
        for name, data in members.items():
            for parent in reversed(PurePosixPath(name).parents[:-1]):
                if str(parent) not in made:
                    made.add(str(parent))
                    directory = tarfile.TarInfo(str(parent))
                    directory.type, directory.mode = tarfile.DIRTYPE, 0o755
                    archive.addfile(directory)
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))
    return packed.getvalue()
