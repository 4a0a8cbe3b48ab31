"""Writes pictures as PNG: a few dozen bytes of header, the same with every library's version."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt


def png(pixels: npt.NDArray[Any], palette: bytes = b"", *, clear: bool = False) -> bytes:
    """Encode a picture.

    Args:
        pixels: ``uint8``: rows by columns by three colours, or rows by columns of a palette.
        palette: Three bytes for each of its colours.
        clear: Whether nothing is seen where the palette's first colour is.
    """
    rows, columns = pixels.shape[:2]
    # Each line begins with the number of its filter; 0 means none.
    lines = np.pad(pixels.reshape(rows, -1), ((0, 0), (1, 0)))
    kind = 3 if palette else 2
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", columns, rows, 8, kind, 0, 0, 0)),
        *([(b"PLTE", palette)] if palette else []),
        *([(b"tRNS", b"\0")] if clear else []),
        (b"IDAT", zlib.compress(lines.tobytes())),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
