"""A map of a selection: how many footprints cover each cell of a grid, drawn as a picture.

The index is read a batch at a time, and what is held is two grids and a hash of each chosen item.
The picture is an SVG that needs nothing else, so that it can travel as one text.
"""

from __future__ import annotations

import base64
import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

import numpy as np

from mlhub_core.index.findings import membership
from mlhub_core.png import png
from mlhub_core.selection.conditions import first_rows, item_boxes
from mlhub_core.selection.index_reader import open_index
from mlhub_core.selection.partition import Partition
from mlhub_core.threads import open_parquet

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Grid = NDArray[np.int64]

Bounds = tuple[float, float, float, float]

_IDS = ["collection_id", "item_id"]
_COLUMNS = 240
"""Cells from west to east: each becomes some pixels, and more would not be seen."""
_LEAST_DEGREES = 0.02
"""The smallest extent shown: a single chip would else be a picture of itself."""
_WIDTH = 720
_MARGIN = 44
_HEAD = 58
_FOOT = 30
_GREYS = ("#dfe4ea", "#c8d0da", "#aeb9c7", "#93a1b3")
_COLOURS = ("#f9c784", "#f5a94e", "#e8842a", "#c75f14")
_PALETTE = b"".join(bytes.fromhex(colour[1:]) for colour in ("#fbfcfd", *_GREYS, *_COLOURS))
_TICKS = 6
_STEPS = (*(factor * 10.0**power for power in range(-6, 1) for factor in (1, 2, 5)), 10.0)
_LARGE_STEPS = (15.0, 30.0, 45.0, 60.0, 90.0)
"""Round numbers of degrees."""


@dataclass(frozen=True, slots=True)
class Footprints:
    """Two grids over one extent, rows from north to south.

    Attributes:
        bounds: West, south, east, north, in degrees.
        everything: How many items cover each cell; one whose rows a batch parts counts twice.
        chosen: How many of them were selected.
    """

    bounds: Bounds
    everything: Grid
    chosen: Grid


def count_footprints(
    index: Path, partitions: tuple[Partition, ...], *, all_chosen: bool
) -> Footprints | None:
    """Count the footprints of a dataset's items, cell by cell.

    Args:
        index: The asset index, GeoParquet.
        partitions: What was selected.
        all_chosen: Whether that is everything, which saves the comparison.

    Returns:
        None if nothing in the index has a place.

    Raises:
        InvalidArgument: if there is no such index.
        StorageError: if a file cannot be read.
    """
    with open_index(index) as reader:
        bounds = _bounds(reader.noted("geo"))
        if bounds is None:
            return None
        is_chosen = None if all_chosen else membership(_chosen_items(partitions))
        grids = _Grids(bounds)
        for _, rows in reader.scan([*_IDS, "item_bbox", "bbox"]):
            items = first_rows(rows)
            boxes = item_boxes(items).T
            there = np.isfinite(boxes).all(axis=1)
            picked = there
            if is_chosen is not None:
                picked = there & np.fromiter(map(is_chosen, _hashes(items)), bool, len(items))
            grids.add(boxes[there], boxes[picked])
        return grids.result()


def _hashes(items: pa.RecordBatch) -> Iterator[int]:
    return map(hash, zip(*(items.column(name).to_pylist() for name in _IDS), strict=True))


def _chosen_items(partitions: tuple[Partition, ...]) -> array[int]:
    hashes = array("q")
    for partition in partitions:
        with open_parquet(partition.path) as file:
            for rows in file.iter_batches(columns=_IDS, use_threads=False):
                items = rows.filter(rows.column("item_id").is_valid())
                hashes.extend(_hashes(first_rows(items)))
    return hashes


class _Grids:
    """Counts boxes by their corners: sums over both axes then give what covers each cell."""

    def __init__(self, bounds: Bounds) -> None:
        west, south, east, north = bounds
        self._bounds = bounds
        self._rows = max(1, round(_COLUMNS * (north - south) / (east - west)))
        self._corners = np.zeros((2, (self._rows + 1) * (_COLUMNS + 1)), np.int64)

    def add(self, everything: Floats, chosen: Floats) -> None:
        for corners, boxes in zip(self._corners, (everything, chosen), strict=True):
            # One that crosses the antimeridian has its west in the east: it is two boxes.
            crossing = boxes[:, 0] > boxes[:, 2]
            left, right = boxes[crossing].copy(), boxes[crossing].copy()
            left[:, 2] = 180.0
            right[:, 0] = -180.0
            self._count(corners, np.concatenate([boxes[~crossing], left, right]))

    def _count(self, corners: Grid, boxes: Floats) -> None:
        west, south, east, north = self._bounds
        x = (boxes[:, [0, 2]] - west) / (east - west) * _COLUMNS
        y = (north - boxes[:, [3, 1]]) / (north - south) * self._rows
        x0, x1 = np.clip(x, 0, _COLUMNS - 1).astype(np.int64).T
        y0, y1 = np.clip(y, 0, self._rows - 1).astype(np.int64).T
        for rows, columns, sign in (
            (y0, x0, 1),
            (y0, x1 + 1, -1),
            (y1 + 1, x0, -1),
            (y1 + 1, x1 + 1, 1),
        ):
            cells = rows * (_COLUMNS + 1) + columns
            corners += sign * np.bincount(cells, minlength=len(corners))

    def result(self) -> Footprints:
        cubes = self._corners.reshape(2, self._rows + 1, _COLUMNS + 1)
        everything, chosen = cubes.cumsum(axis=1).cumsum(axis=2)[:, :-1, :-1]
        return Footprints(self._bounds, everything, chosen)


def _bounds(geo: Any) -> Bounds | None:
    """What to show: around everything that has a place, with a margin, in an agreeable shape."""
    try:
        box = geo["columns"][geo["primary_column"]]["bbox"]
        west, south, east, north = (float(number) for number in box)
    except (KeyError, TypeError, ValueError):
        return None
    if not all(map(math.isfinite, (west, south, east, north))):
        return None
    if west > east:
        west, east = -180.0, 180.0
    width, height = (max(side * 1.1, _LEAST_DEGREES) for side in (east - west, north - south))
    width, height = max(width, height / 1.2), max(height, width / 3)
    middle_x, middle_y = (west + east) / 2, (south + north) / 2
    return (
        max(middle_x - width / 2, -180.0),
        max(middle_y - height / 2, -90.0),
        min(middle_x + width / 2, 180.0),
        min(middle_y + height / 2, 90.0),
    )


# The picture


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
    image = base64.b64encode(png(_levels(prints), _PALETTE)).decode()
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
    return next(step for step in (*_STEPS, *_LARGE_STEPS) if step >= least * 0.999)


def _round_degrees(first: float, last: float, step: float) -> list[float]:
    return [number * step for number in range(math.ceil(first / step), math.floor(last / step) + 1)]


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
