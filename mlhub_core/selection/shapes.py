"""The spatial filter by a shape: shapely decides on what boxes leave undecided.

The shape is prepared once, however many corners it has. Rows that stand together lie together, so
blocks of items are tested first, by the box around them: most lie wholly inside or wholly outside,
and only the items of the blocks that the shape's edge cuts are tested one by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from mlhub_core.buffers import number_array
from mlhub_core.selection.places import group_box, item_boxes
from mlhub_core.selection.rowgroup import RowGroup

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]
    Boxes = NDArray[np.float64]

_BLOCK = 32
"""Items whose boxes are tested as one: few enough to lie together, many enough to save work."""


class InShape:
    """Rows whose item's bounding box, or geometry, intersects a shape.

    Args:
        geojson: The shape.
        tested: ``bbox`` or ``geometry`` of the item.
    """

    name = "after the intersects filter"
    about_items = True

    def __init__(self, geojson: str, tested: str) -> None:
        self._shape = shapely.from_geojson(geojson)
        shapely.prepare(self._shape)
        self._bounds = self._shape.bounds
        self._use_geometry = tested == "geometry"

    def verdict(self, group: RowGroup) -> bool | None:
        """By the box around all boxes, which holds all geometries too."""
        around = group_box(group)
        if around is None:
            return None
        box = shapely.box(*around)
        if not shapely.intersects(self._shape, box):
            return False
        return True if shapely.covers(self._shape, box) else None

    def column(self, group: RowGroup) -> str | None:
        """The boxes that cover the items."""
        return group.box_column("bbox")

    def mask(self, group: RowGroup, among: Mask) -> tuple[Mask, Mask | None]:
        """Each item once; those first that the box around the shape leaves."""
        cover = group.sides("bbox")
        lacking = np.isnan(cover[0])
        west, south, east, north = self._bounds
        near = (cover[0] <= east) & (cover[2] >= west) & (cover[1] <= north) & (cover[3] >= south)
        rows = np.flatnonzero(near & among)
        mask = np.zeros(group.rows, bool)
        if len(rows):
            boxes = item_boxes(group, rows)
            starts = _run_starts(boxes)
            if self._use_geometry:
                owners = group.owners.numbers[rows]
                starts[1:] |= owners[1:] != owners[:-1]
            first = np.flatnonzero(starts)
            if self._use_geometry:
                hits = self._geometries_hit(group, rows[first], boxes[:, first])
            else:
                hits = self._boxes_hit(boxes[:, first])
            mask[rows] = hits[np.cumsum(starts) - 1]
        return mask, lacking

    def _boxes_hit(self, boxes: Boxes) -> Mask:
        """Whether boxes touch the shape: blocks first, then those that blocks do not decide."""
        crossing = boxes[0] > boxes[2]
        hits = np.zeros(boxes.shape[1], bool)
        if crossing.any():
            hits[crossing] = shapely.intersects(self._shape, footprints(boxes[:, crossing]))
        plain = np.flatnonzero(~crossing)
        if len(plain):
            hits[plain] = self._plain_hit(boxes[:, plain])
        return hits

    def _plain_hit(self, boxes: Boxes) -> Mask:
        count = boxes.shape[1]
        starts = np.arange(0, count, _BLOCK)
        around = shapely.box(
            np.minimum.reduceat(boxes[0], starts),
            np.minimum.reduceat(boxes[1], starts),
            np.maximum.reduceat(boxes[2], starts),
            np.maximum.reduceat(boxes[3], starts),
        )
        outside = ~shapely.intersects(self._shape, around)
        inside = np.zeros(len(starts), bool)
        inside[~outside] = shapely.covers(self._shape, around[~outside])
        block = np.arange(count) // _BLOCK
        hits: Mask = inside[block]
        open_ones = np.flatnonzero(~(inside | outside)[block])
        hits[open_ones] = shapely.intersects(self._shape, footprints(boxes[:, open_ones]))
        return hits

    def _geometries_hit(self, group: RowGroup, rows: NDArray[Any], boxes: Boxes) -> Mask:
        """As for boxes, with the items' geometries where they have one that is not empty."""
        wkb = group.column("geometry").take(number_array(rows)).to_pylist()
        own = shapely.from_wkb(np.array(wkb, dtype=object), on_invalid="ignore")
        usable = ~(shapely.is_missing(own) | shapely.is_empty(own))
        hits = np.zeros(len(rows), bool)
        hits[usable] = shapely.intersects(self._shape, own[usable])
        if not usable.all():
            hits[~usable] = self._boxes_hit(boxes[:, ~usable])
        return hits


def _run_starts(boxes: Boxes) -> Mask:
    """Where a box is another one than the one before."""
    starts = np.ones(boxes.shape[1], bool)
    starts[1:] = (boxes[:, 1:] != boxes[:, :-1]).any(axis=0)
    return starts


def footprints(boxes: Boxes) -> NDArray[Any]:
    """Boxes as shapes; one that crosses the antimeridian becomes two, either side."""
    west, south, east, north = boxes
    crossing = west > east
    shapes: NDArray[Any] = shapely.box(west, south, np.where(crossing, 180.0, east), north)
    if crossing.any():
        west_end = np.full(int(crossing.sum()), -180.0)
        other = shapely.box(west_end, south[crossing], east[crossing], north[crossing])
        pairs = np.stack([shapes[crossing], np.asarray(other, dtype=object)], axis=1)
        shapes[crossing] = shapely.multipolygons(pairs)
    return shapes
