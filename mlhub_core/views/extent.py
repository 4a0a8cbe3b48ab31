"""The part of the Earth that a map shows: around some boxes, the short way round the globe."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Bounds = tuple[float, float, float, float]
"""West, south, east, north, in degrees; an east above 180 lies beyond the antimeridian."""

WORLD: Bounds = (-180.0, -90.0, 180.0, 90.0)
LEAST_DEGREES = 0.02
"""The smallest extent shown: a single chip would else be a picture of itself."""
_MARGIN = 1.25
_SHORTER = 1.25
"""A map across the antimeridian has to be so much narrower than one that is not."""
_FLATTEST = 0.2
"""How far degrees of longitude are narrowed towards the poles."""


class Extent:
    """What some boxes cover, taken in a few at a time: a bit for each degree of longitude."""

    def __init__(self) -> None:
        self._ends = np.zeros(721, np.int64)
        self._west = np.full(360, math.inf)
        self._east = np.full(360, -math.inf)
        self._south, self._north = math.inf, -math.inf

    def add(self, boxes: Floats) -> None:
        """Take boxes in: rows of west, south, east, north; west > east crosses the antimeridian."""
        if not len(boxes):
            return
        west, south, east, north = boxes.T
        beyond = np.where(west > east, east + 360.0, east)
        first = np.clip(np.floor(west + 180.0), 0, 359).astype(np.int64)
        last = np.clip(np.ceil(beyond + 180.0) - 1, first, 719).astype(np.int64)
        self._ends += np.bincount(first, minlength=721) - np.bincount(last + 1, minlength=721)
        np.minimum.at(self._west, first, west)
        np.maximum.at(self._east, last % 360, np.where(last >= 360, beyond - 360.0, beyond))
        self._south = min(self._south, float(south.min()))
        self._north = max(self._north, float(north.max()))

    def box(self) -> Bounds | None:
        """The box around all of them, across the antimeridian where that is much shorter."""
        covered = np.cumsum(self._ends)[:720] > 0
        around = covered[:360] | covered[360:]
        if not around.any():
            return None
        there = np.flatnonzero(around)
        if around.all():
            return (-180.0, self._south, 180.0, self._north)
        gaps = np.diff([*there, there[0] + 360])
        widest = int(gaps.argmax())
        west = float(self._west[there[(widest + 1) % len(there)]])
        east = float(self._east[there[widest]])
        east += 360.0 if east < west else 0.0
        if not covered[360:].any():
            straight = float(self._west.min()), float(self._east.max())
            if straight[1] - straight[0] <= _SHORTER * (east - west):
                west, east = straight
        return (west, self._south, east, self._north)


def around(box: Bounds) -> Bounds:
    """What to show of a box: with a margin, and in an agreeable shape."""
    west, south, east, north = box
    middle_x, middle_y = (west + east) / 2, (south + north) / 2
    narrowed = _narrowed(south, north)
    width = max((east - west) * _MARGIN, LEAST_DEGREES)
    height = max((north - south) * _MARGIN, LEAST_DEGREES * narrowed)
    # No higher than 0.8 of its width on the page, no lower than a third of it.
    width, height = max(width, height / narrowed / 0.8), max(height, width * narrowed / 3)
    if width >= 360.0:
        west, east = WORLD[0], WORLD[2]
    else:
        west, east = middle_x - width / 2, middle_x + width / 2
    return (west, max(middle_y - height / 2, -90.0), east, min(middle_y + height / 2, 90.0))


def aspect(bounds: Bounds) -> float:
    """Height by width on the page: a degree of longitude is shorter away from the equator."""
    west, south, east, north = bounds
    return (north - south) / (east - west) / _narrowed(south, north)


def _narrowed(south: float, north: float) -> float:
    if north - south > 60.0:
        return 1.0
    return max(math.cos(math.radians((south + north) / 2)), _FLATTEST)


# Round numbers of degrees

_STEPS = (*(factor * 10.0**power for power in range(-6, 1) for factor in (1, 2, 5)), 10.0)
_LARGE_STEPS = (15.0, 30.0, 45.0, 60.0, 90.0)


def step_of(least: float) -> float:
    """The round number of degrees that is not smaller."""
    return next(step for step in (*_STEPS, *_LARGE_STEPS) if step >= least * 0.999)


def round_degrees(first: float, last: float, step: float) -> list[float]:
    """The multiples of a step between two numbers."""
    return [number * step for number in range(math.ceil(first / step), math.floor(last / step) + 1)]


def degrees_text(value: float, step: float, positive: str, negative: str) -> str:
    """Such as ``10°W``, as exact as the step."""
    places = max(0, -math.floor(math.log10(step)))
    if positive == "E":
        value = (value + 180.0) % 360.0 - 180.0
    if round(value, places) == 0:
        return "0°"
    if positive == "E" and round(abs(value), places) == 180:
        return "180°"
    return f"{abs(value):.{places}f}°{positive if value > 0 else negative}"
