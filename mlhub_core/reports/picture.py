"""Draws footprints as an SVG: a frame with degrees, and inside it the grid as a small PNG.

Both are written here, because a drawing library would be one more thing to install for a raster of
a few colours. The picture needs nothing from elsewhere, so that it can travel as one text.
"""

from __future__ import annotations

import base64
import math
import struct
import zlib
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

import numpy as np

from mlhub_core.reports.footprints import Bounds, Footprints

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WIDTH = 720
_MARGIN = 44
_HEAD = 58
_FOOT = 30
_GREYS = ("#dfe4ea", "#c8d0da", "#aeb9c7", "#93a1b3")
_COLOURS = ("#f9c784", "#f5a94e", "#e8842a", "#c75f14")
_TICKS = 6


def draw(prints: Footprints, title: str, chosen: str, everything: str) -> str:
    """The picture as SVG.

    Args:
        prints: What to draw.
        title: Above it.
        chosen: What the chosen are, for the legend.
        everything: What all are, for the legend.
    """
    west, south, east, north = prints.bounds
    width = _WIDTH - 2 * _MARGIN
    height = round(width * (north - south) / (east - west))
    whole = _HEAD + height + _FOOT
    image = base64.b64encode(_png(_levels(prints))).decode()
    legend = ((_GREYS[2], everything), (_COLOURS[2], chosen))
    return "".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{whole}" '
            f'viewBox="0 0 {_WIDTH} {whole}" font-family="sans-serif" font-size="13">',
            f'<rect width="{_WIDTH}" height="{whole}" fill="#ffffff"/>',
            f'<text x="{_MARGIN}" y="22" font-size="16" font-weight="bold" fill="#222">'
            f"{escape(_short(title))}</text>",
            *_legend(legend),
            f'<image x="{_MARGIN}" y="{_HEAD}" width="{width}" height="{height}" '
            'preserveAspectRatio="none" style="image-rendering:pixelated" '
            f'href="data:image/png;base64,{image}"/>',
            *_frame(prints.bounds, width, height),
            "</svg>",
        ]
    )


def data_url(svg: str) -> str:
    """The picture as a URL that holds all of it."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def _legend(entries: tuple[tuple[str, str], ...]) -> list[str]:
    parts = []
    x = _MARGIN
    for colour, text in entries:
        parts.append(f'<rect x="{x}" y="34" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{x + 18}" y="45" fill="#444">{escape(text)}</text>')
        x += 40 + 8 * len(text)
    return parts


def _frame(bounds: Bounds, width: int, height: int) -> list[str]:
    """The frame, with lines and numbers at round degrees."""
    west, south, east, north = bounds
    parts = []
    step = _step(max(east - west, north - south) / _TICKS)
    for degree in _round_degrees(west, east, step):
        x = _MARGIN + (degree - west) / (east - west) * width
        parts.append(_line(x, _HEAD, x, _HEAD + height))
        parts.append(
            f'<text x="{x:.1f}" y="{_HEAD + height + 18}" text-anchor="middle" fill="#666">'
            f"{_degrees(degree, step, 'E', 'W')}</text>"
        )
    for degree in _round_degrees(south, north, step):
        y = _HEAD + (north - degree) / (north - south) * height
        parts.append(_line(_MARGIN, y, _MARGIN + width, y))
        parts.append(
            f'<text x="{_MARGIN - 5}" y="{y + 4:.1f}" text-anchor="end" font-size="11" '
            f'fill="#666">{_degrees(degree, step, "N", "S")}</text>'
        )
    parts.append(
        f'<rect x="{_MARGIN}" y="{_HEAD}" width="{width}" height="{height}" fill="none" '
        'stroke="#888"/>'
    )
    return parts


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#000" '
        'stroke-opacity="0.10"/>'
    )


def _step(least: float) -> float:
    """The round number of degrees that is not smaller."""
    if least > 10:
        return next(step for step in (15.0, 30.0, 45.0, 60.0, 90.0) if step >= least * 0.999)
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least * 0.999)


def _round_degrees(first: float, last: float, step: float) -> list[float]:
    start = math.ceil(first / step)
    return [number * step for number in range(start, math.floor(last / step) + 1)]


def _degrees(value: float, step: float, positive: str, negative: str) -> str:
    places = max(0, -math.floor(math.log10(step)))
    if round(value, places) == 0:
        return "0°"
    return f"{abs(value):.{places}f}°{positive if value > 0 else negative}"


def _short(text: str, limit: int = 70) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _levels(prints: Footprints) -> NDArray[np.uint8]:
    """A palette's number for each cell: 0 nothing, then greys for all, then colours for chosen."""
    radius = _radius(prints.everything)
    levels = _widened(_graded(prints.everything), radius)
    chosen = _widened(_graded(prints.chosen), radius)
    levels[chosen > 0] = chosen[chosen > 0] + len(_GREYS)
    return levels


def _graded(counts: NDArray[np.int64]) -> NDArray[np.uint8]:
    """0 where there is nothing, else 1 to 4 by the logarithm of the count."""
    most = max(int(counts.max(initial=0)), 1)
    graded = np.zeros(counts.shape, dtype=np.uint8)
    there = counts > 0
    share = np.log1p(counts[there]) / math.log1p(most)
    graded[there] = np.clip(np.ceil(share * len(_GREYS)), 1, len(_GREYS)).astype(np.uint8)
    return graded


def _radius(counts: NDArray[np.int64]) -> int:
    """How far to widen what is drawn: a few chips on a continent would else be specks of dust."""
    share = np.count_nonzero(counts) / counts.size
    return 2 if share < 0.01 else 1 if share < 0.05 else 0


def _widened(levels: NDArray[np.uint8], radius: int) -> NDArray[np.uint8]:
    """Each cell takes the highest level of its neighbours."""
    rows, columns = levels.shape
    around = np.pad(levels, radius)
    steps = range(2 * radius + 1)
    moved = [around[y : y + rows, x : x + columns] for y in steps for x in steps]
    widened: NDArray[np.uint8] = np.maximum.reduce(moved)
    return widened


def _png(levels: NDArray[np.uint8]) -> bytes:
    """A PNG with a palette."""
    rows, columns = levels.shape
    palette = b"".join(bytes.fromhex(colour[1:]) for colour in ("#fbfcfd", *_GREYS, *_COLOURS))
    # Each line begins with the number of its filter; 0 means none.
    lines = np.zeros((rows, columns + 1), dtype=np.uint8)
    lines[:, 1:] = levels
    head = struct.pack(">IIBBBBB", columns, rows, 8, 3, 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", head),
            _chunk(b"PLTE", palette),
            _chunk(b"IDAT", zlib.compress(lines.tobytes(), 9)),
            _chunk(b"IEND", b""),
        ]
    )


def _chunk(kind: bytes, content: bytes) -> bytes:
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))
