"""Which rows of the asset index match: one boolean per row, a batch at a time.

Items are tested once, not once per asset: rows of one item stand together in the index, so a test
runs on the first of each run of equal rows and its result is repeated.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import shapely

from mlhub_core.selection.filters import AssetFilter
from mlhub_core.selection.spatial import bbox_geometry
from mlhub_core.selection.temporal import TimeRange

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    Mask = NDArray[np.bool_]

BOX_FIELDS = ("xmin", "ymin", "xmax", "ymax")


def collection_mask(frame: pd.DataFrame, wanted: tuple[tuple[str, tuple[str, ...]], ...]) -> Mask:
    """Rows whose collection and asset key are on the list."""
    mask = np.zeros(len(frame), dtype=bool)
    collections = frame["collection_id"].to_numpy()
    keys = frame["asset_key"]
    for collection, names in wanted:
        here = collections == collection
        if names:
            here &= keys.isin(names).to_numpy()
        mask |= here
    return mask


def time_mask(frame: pd.DataFrame, wanted: TimeRange) -> tuple[Mask, Mask]:
    """Rows whose item's time overlaps a range.

    An item with ``start_datetime`` or ``end_datetime`` is an interval, open where one is missing;
    any other is a moment, its ``datetime``.

    Returns:
        The rows that match, and those that have no time at all.
    """
    start, end = frame["start_datetime"], frame["end_datetime"]
    moment = frame["datetime"]
    is_interval = (start.notna() | end.notna()).to_numpy()
    timeless = ~is_interval & moment.isna().to_numpy()
    first, last = start.where(is_interval, moment), end.where(is_interval, moment)
    matches = ~timeless
    if wanted.end is not None:
        matches &= (first.isna() | (first <= _stamp(wanted.end))).to_numpy()
    if wanted.start is not None:
        matches &= (last.isna() | (last >= _stamp(wanted.start))).to_numpy()
    return matches, timeless


def _stamp(moment: datetime) -> Any:
    # Microseconds, as in the index: the default unit of nanoseconds ends in the year 2262.
    return pd.Timestamp(moment).as_unit("us")


def place_test(wanted: AssetFilter) -> Callable[[pd.DataFrame], tuple[Mask, Mask]] | None:
    """Make the spatial test of a filter, or None if it has none.

    The shape is prepared once. The test takes a frame with the columns ``item_bbox`` and ``bbox``
    flattened by :func:`boxes`, and ``geometry`` when that is what is tested.

    Returns:
        A function that gives the rows that match, and those that have no place.
    """
    if wanted.bbox is not None:
        shape = bbox_geometry(wanted.bbox)
    elif wanted.intersects is not None:
        shape = shapely.from_geojson(wanted.intersects)
    else:
        return None
    shapely.prepare(shape)
    use_geometry = wanted.intersects is not None and wanted.intersects_with == "geometry"

    def test(frame: pd.DataFrame) -> tuple[Mask, Mask]:
        numbers = boxes(frame)
        placeless: Mask = np.asarray(np.isnan(numbers).any(axis=1))
        geometry = frame["geometry"].to_numpy() if use_geometry else None
        starts = _run_starts(numbers, frame["item_id"].to_numpy(), geometry is not None)
        first = np.flatnonzero(starts)
        hits = _touches(numbers[first], None if geometry is None else geometry[first], shape)
        matches: Mask = hits[np.cumsum(starts) - 1] & ~placeless
        return matches, placeless

    return test


def boxes(frame: pd.DataFrame) -> NDArray[np.float64]:
    """Each row's bounding box: as the item gives it, else the one around its geometry.

    Returns:
        Array of shape (rows, 4): west, south, east, north in degrees; NaN without a place.
    """
    own = frame[[f"item_{name}" for name in BOX_FIELDS]].to_numpy(dtype=np.float64)
    around = frame[list(BOX_FIELDS)].to_numpy(dtype=np.float64)
    missing = np.isnan(own).any(axis=1, keepdims=True)
    return np.where(missing, around, own)


def _run_starts(numbers: NDArray[np.float64], items: NDArray[Any], by_item: bool) -> Mask:
    starts = np.ones(len(numbers), dtype=bool)
    if len(numbers) > 1:
        same = (numbers[1:] == numbers[:-1]) | (np.isnan(numbers[1:]) & np.isnan(numbers[:-1]))
        starts[1:] = ~same.all(axis=1)
        if by_item:
            starts[1:] |= items[1:] != items[:-1]
    return starts


def _touches(
    numbers: NDArray[np.float64], geometry: NDArray[Any] | None, shape: BaseGeometry
) -> Mask:
    import geopandas as gpd

    footprints = footprint(numbers)
    if geometry is not None:
        own = shapely.from_wkb(geometry, on_invalid="ignore")
        usable = ~(shapely.is_missing(own) | shapely.is_empty(own))
        footprints = np.where(usable, own, footprints)
    series = gpd.GeoSeries(footprints, crs="OGC:CRS84")
    result: Mask = series.intersects(shape).to_numpy(dtype=bool)
    return result


def footprint(numbers: NDArray[np.float64]) -> NDArray[Any]:
    """Bounding boxes as shapes; one that crosses the antimeridian becomes two, either side."""
    west, south, east, north = numbers.T
    crossing = west > east
    shapes: NDArray[Any] = shapely.box(west, south, np.where(crossing, 180.0, east), north)
    if crossing.any():
        west_end = np.full(int(crossing.sum()), -180.0)
        other = shapely.box(west_end, south[crossing], east[crossing], north[crossing])
        pairs = np.stack([shapes[crossing], np.asarray(other, dtype=object)], axis=1)
        shapes[crossing] = shapely.multipolygons(pairs)
    return shapes
