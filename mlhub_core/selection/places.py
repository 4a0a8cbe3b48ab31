"""The spatial filters on bounding boxes: comparisons of numbers, in degrees.

A box whose west is greater than its east crosses the antimeridian: it is two boxes, one on either
side. Boxes that touch match.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from mlhub_core.index.schema import BOX_FIELDS
from mlhub_core.selection.rowgroup import RowGroup
from mlhub_core.selection.spatial import BBox

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlhub_core.selection.rowgroup import Sides

    Mask = NDArray[np.bool_]
    Boxes = NDArray[np.float64]


_ORDER = (0, 2, 1, 3)
"""Sides in the order in which they are looked at: most of the Earth lies west or east."""


class InBox:
    """Rows whose item's bounding box touches a box."""

    name = "after the bbox filter"
    about_items = True

    def __init__(self, wanted: BBox) -> None:
        self._parts = split(wanted)

    def verdict(self, group: RowGroup) -> bool | None:
        """By the box around all boxes, side after side; only where every row has a place."""
        around = [-math.inf, -math.inf, math.inf, math.inf]
        for side in _ORDER:
            span = group.span(f"bbox.{BOX_FIELDS[side]}")
            if span.nulls != 0 or span.low is None:
                return None
            around[side] = span.low if side < 2 else span.high
            west, south, east, north = around
            if all(apart((west, south, east, north), part) for part in self._parts):
                return False if group.is_full("item_id") else None
        return (
            True if self._holds((west, south, east, north)) and group.is_full("item_id") else None
        )

    def _holds(self, around: BBox) -> bool:
        """Whether one part holds everything; what crosses the antimeridian is as wide as Earth."""
        return any(
            part[0] <= around[0]
            and part[1] <= around[1]
            and part[2] >= around[2]
            and part[3] >= around[3]
            for part in self._parts
        )

    def column(self, group: RowGroup) -> str | None:
        """One of the two boxes."""
        return group.box_column("item_bbox" if group.is_full("item_bbox.xmin") else "bbox")

    def mask(self, group: RowGroup, among: Mask) -> tuple[Mask, Mask | None]:
        """The items' own boxes; where not all have one, those only that the covering leaves."""
        if group.is_full("item_bbox.xmin"):
            return touching(group.sides("item_bbox"), self._parts), None
        cover = group.sides("bbox")
        lacking = None if group.is_full("bbox.xmin") else np.isnan(cover[0])
        mask = touching(cover, self._parts)
        rows = np.flatnonzero(mask & among)
        if len(rows) and not group.is_void("item_bbox.xmin"):
            mask[rows] = touching(item_boxes(group, rows), self._parts)
        return mask, lacking


def split(box: BBox) -> list[BBox]:
    """A box as boxes that do not cross the antimeridian."""
    west, south, east, north = box
    if west <= east:
        return [box]
    return [(west, south, 180.0, north), (-180.0, south, east, north)]


def apart(one: BBox, other: BBox) -> bool:
    """Whether two boxes have no point in common."""
    return one[0] > other[2] or one[2] < other[0] or one[1] > other[3] or one[3] < other[1]


def group_box(group: RowGroup) -> BBox | None:
    """The box around all of a row group; None where that is not known, or a row has no place."""
    if not group.is_full("item_id"):
        return None
    spans = [group.span(f"bbox.{name}") for name in BOX_FIELDS]
    if any(span.nulls != 0 or span.low is None for span in spans):
        return None
    return spans[0].low, spans[1].low, spans[2].high, spans[3].high


def item_boxes(group: RowGroup, rows: Any) -> Boxes:
    """The boxes of some rows: as the item gives it, else the covering; NaN without a place."""
    own, cover = group.boxes("item_bbox", rows), group.boxes("bbox", rows)
    lacking = np.isnan(own[0])
    return np.where(lacking, cover, own) if lacking.any() else own


def touching(boxes: Boxes | Sides, parts: list[BBox]) -> Mask:
    """Boxes of shape (4, rows) that touch one of some boxes; NaN touches nothing."""
    west, south, east, north = boxes
    crossing = west > east
    mask = np.zeros(len(west), bool)
    for w, s, e, n in parts:
        beside = (west <= e) & (east >= w)
        if crossing.any():
            beside |= crossing & ((west <= e) | (east >= w))
        mask |= beside & (south <= n) & (north >= s)
    return mask
