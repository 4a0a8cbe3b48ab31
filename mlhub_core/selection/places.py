"""The spatial filters on bounding boxes: comparisons of numbers, in degrees.

A box whose west is greater than its east crosses the antimeridian: it is two boxes, one on either
side. Boxes that touch match.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlhub_core.catalog.schema import BOX_FIELDS
from mlhub_core.selection.rowgroup import RowGroup
from mlhub_core.selection.spatial import BBox

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]
    Boxes = NDArray[np.float64]


class InBox:
    """Rows whose item's bounding box touches a box."""

    name = "after the bbox filter"
    about_items = True

    def __init__(self, wanted: BBox) -> None:
        self._parts = split(wanted)

    def verdict(self, group: RowGroup) -> bool | None:
        """By the box around all boxes; only where every row has a place."""
        around = group_box(group)
        if around is None:
            return None
        if all(apart(around, part) for part in self._parts):
            return False
        return True if self._holds(group, around) else None

    def _holds(self, group: RowGroup, around: BBox) -> bool:
        """Whether one part holds everything; what crosses the antimeridian is as wide as Earth."""
        return any(
            part[0] <= around[0]
            and part[1] <= around[1]
            and part[2] >= around[2]
            and part[3] >= around[3]
            for part in self._parts
        )

    def mask(self, group: RowGroup, among: Mask) -> tuple[Mask, Mask | None]:
        """The covering first: where it touches nowhere, the items' own boxes stay unread."""
        cover = group.boxes("bbox")
        lacking = np.isnan(cover[0])
        mask = touching(cover, self._parts)
        if (mask & among).any() and not group.is_void("item_bbox.xmin"):
            mask = touching(item_boxes(group), self._parts)
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


def item_boxes(group: RowGroup) -> Boxes:
    """Each row's box: as the item gives it, else the covering; NaN without a place."""
    own, cover = group.boxes("item_bbox"), group.boxes("bbox")
    return np.where(np.isnan(own[0]), cover, own)


def touching(boxes: Boxes, parts: list[BBox]) -> Mask:
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
