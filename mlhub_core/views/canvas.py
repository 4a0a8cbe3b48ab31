"""Two kinds of paper for the same picture: SVG, written here, and PNG, which takes Pillow."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from mlhub_core.exceptions import InvalidArgument
from mlhub_core.png import png

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Points = NDArray[np.float64]
    Cells = NDArray[np.uint8]

Box = tuple[float, float, float, float]
"""Left, top, width, height, in pixels."""
_SHARP = 2
"""Pixels of a PNG for each of the SVG's."""


class Canvas(Protocol):
    """Something to draw on; lengths are pixels, colours ``#rrggbb``."""

    def rectangle(self, box: Box, fill: str | None = None, stroke: str | None = None) -> None:
        """Draw a rectangle."""

    def areas(self, rings: Sequence[Points], fill: str) -> None:
        """Fill rings."""

    def lines(
        self, lines: Iterable[Points], stroke: str, width: float = 1.0, opacity: float = 1.0
    ) -> None:
        """Draw lines."""

    def text(
        self, at: tuple[float, float], text: str, fill: str, size: int = 13, anchor: str = "start"
    ) -> None:
        """Write one line of text; anchors are those of SVG, a size of 16 and more is bold."""

    def cells(self, box: Box, cells: Cells, palette: bytes, opacity: float) -> None:
        """Draw a grid of cells; number 0 of its palette is not drawn."""


class SvgCanvas:
    """A picture as SVG that needs nothing else, so that it can travel as one text.

    Args:
        width: In pixels.
        height: In pixels.
        title: What screen readers say of it.
    """

    def __init__(self, width: int, height: int, title: str) -> None:
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13" '
            f'role="img" aria-label={quoteattr(title)}>'
        ]

    def rectangle(self, box: Box, fill: str | None = None, stroke: str | None = None) -> None:
        """As :class:`Canvas` says."""
        x, y, width, height = map(_number, box)
        line = f' stroke="{stroke}"' if stroke else ""
        self._parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="{fill or "none"}"'
            f"{line}/>"
        )

    def areas(self, rings: Sequence[Points], fill: str) -> None:
        """As :class:`Canvas` says."""
        if rings:
            path = "".join(f"{_path(ring[:-1])}z" for ring in rings)
            self._parts.append(f'<path d="{path}" fill="{fill}"/>')

    def lines(
        self, lines: Iterable[Points], stroke: str, width: float = 1.0, opacity: float = 1.0
    ) -> None:
        """As :class:`Canvas` says."""
        if path := "".join(map(_path, lines)):
            self._parts.append(
                f'<path d="{path}" fill="none" stroke="{stroke}" stroke-width="{width:g}" '
                f'stroke-opacity="{opacity:g}" stroke-linejoin="round"/>'
            )

    def text(
        self, at: tuple[float, float], text: str, fill: str, size: int = 13, anchor: str = "start"
    ) -> None:
        """As :class:`Canvas` says."""
        bold = ' font-weight="bold"' if size >= 16 else ""
        self._parts.append(
            f'<text x="{_number(at[0])}" y="{_number(at[1])}" font-size="{size}"{bold} '
            f'text-anchor="{anchor}" fill="{fill}">{escape(text)}</text>'
        )

    def cells(self, box: Box, cells: Cells, palette: bytes, opacity: float) -> None:
        """As :class:`Canvas` says."""
        x, y, width, height = map(_number, box)
        image = base64.b64encode(png(cells, palette, clear=True)).decode()
        self._parts.append(
            f'<image x="{x}" y="{y}" width="{width}" height="{height}" opacity="{opacity:g}" '
            'preserveAspectRatio="none" style="image-rendering:pixelated" '
            f'href="data:image/png;base64,{image}"/>'
        )

    def document(self) -> str:
        """All of it."""
        return "".join([*self._parts, "</svg>"])


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _path(points: Points) -> str:
    """A line as SVG writes it: the first point, then steps in tenths of a pixel."""
    tenths = np.rint(points * 10).astype(np.int64)
    steps = np.diff(tenths, axis=0)
    steps = steps[steps.any(axis=1)]
    (x, y), rest = tenths[0], steps / 10
    moves = " ".join(f"{a:g},{b:g}" for a, b in rest.tolist())
    return f"M{x / 10:g},{y / 10:g}l{moves}" if moves else ""


class PngCanvas:
    """A picture as PNG, twice as fine as the SVG.

    Args:
        width: In pixels of the SVG.
        height: Likewise.

    Raises:
        InvalidArgument: if Pillow is not installed.
    """

    def __init__(self, width: int, height: int) -> None:
        self._module, drawing, self._font = pillow()
        size = (width * _SHARP, height * _SHARP)
        self._image = self._module.new("RGB", size, "#ffffff")
        self._draw = drawing.Draw(self._image, "RGBA")

    def rectangle(self, box: Box, fill: str | None = None, stroke: str | None = None) -> None:
        """As :class:`Canvas` says."""
        left, top, width, height = (_SHARP * side for side in box)
        corners = (left, top, left + width - 1, top + height - 1)
        self._draw.rectangle(corners, fill=fill, outline=stroke, width=_SHARP)

    def areas(self, rings: Sequence[Points], fill: str) -> None:
        """As :class:`Canvas` says."""
        for ring in rings:
            self._draw.polygon(self._points(ring), fill)

    def lines(
        self, lines: Iterable[Points], stroke: str, width: float = 1.0, opacity: float = 1.0
    ) -> None:
        """As :class:`Canvas` says."""
        colour = f"{stroke}{round(opacity * 255):02x}"
        for line in lines:
            self._draw.line(self._points(line), colour, round(width * _SHARP), joint="curve")

    def text(
        self, at: tuple[float, float], text: str, fill: str, size: int = 13, anchor: str = "start"
    ) -> None:
        """As :class:`Canvas` says."""
        font = self._font.load_default(size * _SHARP)
        where = {"start": "ls", "middle": "ms", "end": "rs"}[anchor]
        bold = 1 if size >= 16 else 0
        place = (at[0] * _SHARP, at[1] * _SHARP)
        self._draw.text(place, text, fill, font, where, stroke_width=bold / 2, stroke_fill=fill)

    def cells(self, box: Box, cells: Cells, palette: bytes, opacity: float) -> None:
        """As :class:`Canvas` says."""
        colours = np.frombuffer(palette, np.uint8).reshape(-1, 3)[cells]
        alpha = np.where(cells > 0, round(opacity * 255), 0).astype(np.uint8)
        left, top, width, height = (round(_SHARP * side) for side in box)
        layer = self._module.fromarray(np.dstack([colours, alpha])).resize((width, height), 0)
        self._image.paste(layer, (left, top), layer)

    def document(self) -> bytes:
        """All of it."""
        file = io.BytesIO()
        self._image.save(file, "PNG")
        return file.getvalue()

    def _points(self, points: Points) -> list[tuple[float, float]]:
        return [(x, y) for x, y in (points * _SHARP).tolist()]


def pillow() -> tuple[Any, Any, Any]:
    """The modules of Pillow that draw.

    Raises:
        InvalidArgument: if it is not installed.
    """
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ImportError as error:
        raise InvalidArgument(
            "A map as PNG takes Pillow, which is not installed: pip install 'mlhub-flows[plot]', "
            "or name a file that ends in .svg."
        ) from error
    return Image, ImageDraw, ImageFont
