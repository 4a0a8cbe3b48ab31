"""A map: how many footprints cover each cell of a grid, over land and borders.

What is held is two grids, whatever the number of footprints.
"""

from __future__ import annotations

import base64
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mlhub_core.exceptions import InvalidArgument, storage_errors
from mlhub_core.paths import user_path
from mlhub_core.redact import redact
from mlhub_core.views.canvas import Canvas, PngCanvas, SvgCanvas, pillow
from mlhub_core.views.coastlines import Land, land_in
from mlhub_core.views.extent import (
    WORLD,
    Bounds,
    aspect,
    degrees_text,
    round_degrees,
    step_of,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Grid = NDArray[np.int64]

COLUMNS = 240
"""Cells from west to east: each becomes some pixels, and more would not be seen."""
_WIDTH = 720
_MARGIN = 54
_HEAD = 62
_FOOT = 30
_GLOBE = 96
"""Width of the small map of the world that says where the large one is."""
_NEAR = 60.0
"""Degrees: what shows less of the world has one."""
_SEA = "#e6eff5"
_SOIL = "#fbfaf6"
_COAST = "#6b7f8f"
_BORDER = "#9aa5ae"
_GREYS = ("#ced6de", "#b5c0cc", "#98a6b6", "#7c8ca0")
_COLOURS = ("#f9c784", "#f5a94e", "#e8842a", "#c75f14")
_PALETTE = b"".join(bytes.fromhex(colour[1:]) for colour in ("#ffffff", *_GREYS, *_COLOURS))
_OPACITY = 0.85
_TICKS = 6


@dataclass(frozen=True, slots=True)
class Footprints:
    """Two grids over one extent, rows from north to south.

    Attributes:
        bounds: West, south, east, north, in degrees; see :data:`Bounds`.
        everything: How many items cover each cell; one whose rows a batch parts counts twice.
        chosen: How many of them were selected.
    """

    bounds: Bounds
    everything: Grid
    chosen: Grid


class Grids:
    """Counts boxes by their corners: sums over both axes then give what covers each cell."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._rows = max(1, round(COLUMNS * aspect(bounds)))
        self._corners = np.zeros((2, (self._rows + 1) * (COLUMNS + 1)), np.int64)

    def add(self, everything: Floats, chosen: Floats) -> None:
        """Take boxes in: rows of west, south, east, north; what lies elsewhere is left out."""
        west, south, east, north = self._bounds
        for corners, boxes in zip(self._corners, (everything, chosen), strict=True):
            beyond = np.where(boxes[:, 0] > boxes[:, 2], boxes[:, 2] + 360.0, boxes[:, 2])
            high = (boxes[:, 3] >= south) & (boxes[:, 1] <= north)
            for turn in (-360.0, 0.0, 360.0):
                x0, x1 = boxes[:, 0] + turn, beyond + turn
                # One that ends where another turn of the globe begins is not on that turn.
                there = (x1 > west) & (x0 < east) if turn else (x1 >= west) & (x0 <= east)
                there &= high
                sides = np.column_stack([x0, boxes[:, 1], x1, boxes[:, 3]])[there]
                self._count(corners, sides)

    def _count(self, corners: Grid, boxes: Floats) -> None:
        west, south, east, north = self._bounds
        x = (boxes[:, [0, 2]] - west) / (east - west) * COLUMNS
        y = (north - boxes[:, [3, 1]]) / (north - south) * self._rows
        x0, x1 = np.clip(x, 0, COLUMNS - 1).astype(np.int64).T
        y0, y1 = np.clip(y, 0, self._rows - 1).astype(np.int64).T
        for rows, columns, sign in (
            (y0, x0, 1),
            (y0, x1 + 1, -1),
            (y1 + 1, x0, -1),
            (y1 + 1, x1 + 1, 1),
        ):
            cells = rows * (COLUMNS + 1) + columns
            corners += sign * np.bincount(cells, minlength=len(corners))

    def result(self) -> Footprints:
        """What was counted."""
        cubes = self._corners.reshape(2, self._rows + 1, COLUMNS + 1)
        everything, chosen = cubes.cumsum(axis=1).cumsum(axis=2)[:, :-1, :-1]
        return Footprints(self._bounds, everything, chosen)


# The picture


def draw(prints: Footprints | None, title: str, chosen: str, everything: str) -> str:
    """The picture as SVG.

    Args:
        prints: What to draw; None draws the world, and says that nothing has a place.
        title: Above it.
        chosen: What the chosen are, for the legend.
        everything: What all are, for the legend.
    """
    canvas = SvgCanvas(_WIDTH, _height(prints), _short(redact(title)))
    _paint(canvas, prints, title, chosen, everything)
    return canvas.document()


def draw_png(prints: Footprints | None, title: str, chosen: str, everything: str) -> bytes:
    """The picture as PNG; arguments are those of :func:`draw`.

    Raises:
        InvalidArgument: if Pillow is not installed.
    """
    canvas = PngCanvas(_WIDTH, _height(prints))
    _paint(canvas, prints, title, chosen, everything)
    return canvas.document()


ENDINGS = (".png", ".svg")


def check_picture(option: str, given: str | Path) -> Path:
    """Where a picture is to go.

    Args:
        option: What asks for it, such as ``--plot``.
        given: The file.

    Raises:
        InvalidArgument: if it has no ending of a picture, lies in no directory, or is a PNG and
            Pillow is not installed.
    """
    path = user_path(given)
    if path.suffix not in ENDINGS or path.is_dir():
        raise InvalidArgument(f"{option} {given}: name a file that ends in .svg or .png.")
    if not path.parent.is_dir():
        raise InvalidArgument(f"{option} {given}: there is no directory {path.parent}; make it.")
    if path.suffix == ".png":
        pillow()
    return path


def save(path: Path, prints: Footprints | None, title: str, chosen: str, everything: str) -> None:
    """Write the picture, by the ending of its name; the other arguments are those of :func:`draw`.

    Raises:
        InvalidArgument: if Pillow is needed and not installed.
        StorageError: if the disk refuses.
    """
    if path.suffix == ".png":
        content = draw_png(prints, title, chosen, everything)
    else:
        content = draw(prints, title, chosen, everything).encode()
    part = path.with_name(f".{path.name}.part")
    with storage_errors(f"write {path}"):
        try:
            part.write_bytes(content)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)


def data_url(svg: str) -> str:
    """The picture as a URL that holds all of it."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where on the page which part of the Earth is."""

    bounds: Bounds
    left: float
    top: float
    width: float
    height: float

    @property
    def box(self) -> tuple[float, float, float, float]:
        return self.left, self.top, self.width, self.height

    @property
    def degrees_per_pixel(self) -> float:
        return (self.bounds[2] - self.bounds[0]) / self.width

    def place(self, points: Floats) -> Floats:
        """Pixels of degrees."""
        west, south, east, north = self.bounds
        x = self.left + (points[:, 0] - west) / (east - west) * self.width
        y = self.top + (north - points[:, 1]) / (north - south) * self.height
        return np.column_stack([x, y])


def _height(prints: Footprints | None) -> int:
    bounds = WORLD if prints is None else prints.bounds
    return _HEAD + round((_WIDTH - 2 * _MARGIN) * aspect(bounds)) + _FOOT


def _paint(
    canvas: Canvas, prints: Footprints | None, title: str, chosen: str, everything: str
) -> None:
    bounds = WORLD if prints is None else prints.bounds
    height = _height(prints)
    frame = _Frame(bounds, _MARGIN, _HEAD, _WIDTH - 2 * _MARGIN, height - _HEAD - _FOOT)
    near = bounds[2] - bounds[0] < _NEAR
    canvas.rectangle((0, 0, _WIDTH, height), fill="#ffffff")
    canvas.text((_MARGIN, 24), _short(redact(title), 58 if near else 72), "#222222", 16)
    _legend(canvas, prints, chosen, everything)
    if near:
        _globe(canvas, bounds)
    land = _ground(canvas, frame)
    if prints is not None:
        canvas.cells(frame.box, _levels(prints), _PALETTE, _OPACITY)
    # Over the footprints: where these are many, nothing else of the land is seen.
    canvas.lines((frame.place(line) for line in land.borders), _BORDER, 0.8)
    canvas.lines((frame.place(line) for line in land.coasts), _COAST, 0.9)
    _grid_of_degrees(canvas, frame)
    canvas.rectangle(frame.box, stroke="#888888")
    if prints is None:
        x, y = _WIDTH / 2, frame.top + frame.height / 2
        canvas.rectangle((x - 130, y - 24, 260, 48), fill="#ffffff", stroke="#888888")
        canvas.text((x, y + 5), "Nothing of it has a place.", "#444444", 14, "middle")


def _ground(canvas: Canvas, frame: _Frame, soil: str = _SOIL) -> Land:
    """Sea and land."""
    land = land_in(frame.bounds, frame.degrees_per_pixel)
    canvas.rectangle(frame.box, fill=_SEA)
    canvas.areas([frame.place(ring) for ring in land.shores], soil)
    canvas.areas([frame.place(ring) for ring in land.lakes], _SEA)
    return land


def _legend(canvas: Canvas, prints: Footprints | None, chosen: str, everything: str) -> None:
    x = float(_MARGIN)
    grids = (None, None) if prints is None else (prints.everything, prints.chosen)
    entries = ((_GREYS, everything, grids[0]), (_COLOURS, chosen, grids[1]))
    for colours, text, grid in entries:
        most = 0 if grid is None else int(grid.max(initial=0))
        shown = colours if most > 1 else colours[1:2]
        for number, colour in enumerate(shown):
            canvas.rectangle((x + 8 * number, 36, 8 if most > 1 else 12, 12), fill=colour)
        x += 8 * len(shown) + 8
        if most > 1:
            text = f"{text} (up to {most:,} at a spot)"
        canvas.text((x, 47), text, "#444444", 12)
        x += 16 + 6.4 * len(text)


def _globe(canvas: Canvas, bounds: Bounds) -> None:
    """The world, with a mark where the map is."""
    frame = _Frame(WORLD, _WIDTH - _MARGIN - _GLOBE, 7, _GLOBE, _GLOBE / 2)
    _ground(canvas, frame, _GREYS[1])
    canvas.rectangle(frame.box, stroke=_GREYS[1])
    middle = (bounds[0] + bounds[2]) / 2
    where = np.array([[(middle + 180.0) % 360.0 - 180.0, (bounds[1] + bounds[3]) / 2]])
    (x, y) = frame.place(where)[0].tolist()
    width = max((bounds[2] - bounds[0]) / frame.degrees_per_pixel, 5.0)
    height = max((bounds[3] - bounds[1]) / frame.degrees_per_pixel, 5.0)
    canvas.rectangle((x - width / 2, y - height / 2, width, height), stroke=_COLOURS[-1])


def _grid_of_degrees(canvas: Canvas, frame: _Frame) -> None:
    """Lines and numbers at round degrees."""
    west, south, east, north = frame.bounds
    steps = step_of((east - west) / _TICKS), step_of((north - south) / _TICKS)
    across = round_degrees(west, east, steps[0])
    upward = round_degrees(south, north, steps[1])
    meridians = [np.array([[degree, south], [degree, north]]) for degree in across]
    parallels = [np.array([[west, degree], [east, degree]]) for degree in upward]
    lines = [frame.place(line) for line in (*meridians, *parallels)]
    canvas.lines(lines, "#000000", 1.0, 0.10)
    bottom = frame.top + frame.height + 18
    for degree, line in zip(across, lines, strict=False):
        text = degrees_text(degree, steps[0], "E", "W")
        canvas.text((line[0, 0], bottom), text, "#666666", 12, "middle")
    for degree, line in zip(upward, lines[len(across) :], strict=True):
        at = (frame.left - 5, line[0, 1] + 4)
        canvas.text(at, degrees_text(degree, steps[1], "N", "S"), "#666666", 11, "end")


def _short(text: str, limit: int = 70) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _levels(prints: Footprints) -> NDArray[np.uint8]:
    """A palette's number for each cell: 0 nothing, then greys for all, then colours for chosen."""
    levels = _widened(_graded(prints.everything), _radius(prints.everything))
    chosen = _widened(_graded(prints.chosen), _radius(prints.chosen))
    levels[chosen > 0] = chosen[chosen > 0] + len(_GREYS)
    return levels


def _graded(counts: NDArray[np.int64]) -> NDArray[np.uint8]:
    """0 where there is nothing, else 1 to 4 by the logarithm of the count."""
    most = max(int(counts.max(initial=0)), 1)
    graded = np.zeros(counts.shape, dtype=np.uint8)
    there = counts > 0
    if most == 1:
        graded[there] = 2
        return graded
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
