"""The spatial filter by a shape: GeoPandas decides which items it touches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import geopandas
import numpy as np
import pyarrow.compute as pc
import shapely

from mlhub_core.buffers import valid, values
from mlhub_core.index.schema import BOX_FIELDS

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    Boxes = NDArray[np.float64]
    Shapes = NDArray[Any]


class ItemsInShape:
    """Items whose bounding box, or geometry, intersects a shape.

    Args:
        geojson: The shape.
        tested: ``bbox`` or ``geometry`` of the item.

    Attributes:
        bounds: The box around the shape.
        columns: What is looked at.
    """

    def __init__(self, geojson: str, tested: str) -> None:
        self._shape = shapely.from_geojson(geojson)
        self._by_geometry = tested == "geometry"
        self.bounds = self._shape.bounds
        self.columns = ("item_bbox", "bbox", *(["geometry"] if self._by_geometry else []))

    def __call__(self, items: pa.RecordBatch) -> NDArray[np.bool_]:
        """Which of some items, all of which have a place."""
        places = footprints(item_boxes(items))
        if self._by_geometry:
            wkb = np.array(items.column("geometry").to_pylist(), dtype=object)
            own = shapely.from_wkb(wkb, on_invalid="ignore")
            is_place = ~(shapely.is_missing(own) | shapely.is_empty(own))
            places = np.where(is_place, own, places)
        hits = np.zeros(len(places), bool)
        # The index prepares the shape once for all of them; GeoSeries.intersects does not.
        index = geopandas.GeoSeries(places).sindex
        hits[index.query(self._shape, predicate="intersects")] = True
        return hits


def item_boxes(items: pa.RecordBatch) -> Boxes:
    """West, south, east, north as the item gives them, else of the box that covers it."""
    own, cover = (_sides(items.column(name)) for name in ("item_bbox", "bbox"))
    return np.where(np.isnan(own[0]), cover, own)


def _sides(column: pa.StructArray) -> Boxes:
    sides = [pc.struct_field(column, name) for name in BOX_FIELDS]
    return np.stack([np.where(valid(side), values(side), np.nan) for side in sides])


def footprints(boxes: Boxes) -> Shapes:
    """Boxes as shapes; one that crosses the antimeridian becomes two, either side."""
    west, south, east, north = boxes
    crossing = west > east
    shapes: Shapes = shapely.box(west, south, np.where(crossing, 180.0, east), north)
    if crossing.any():
        west_end = np.full(int(crossing.sum()), -180.0)
        other = shapely.box(west_end, south[crossing], east[crossing], north[crossing])
        pairs = np.stack([shapes[crossing], np.asarray(other, dtype=object)], axis=1)
        shapes[crossing] = shapely.multipolygons(pairs)
    return shapes
