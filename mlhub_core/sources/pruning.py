"""What may be left out of a table of items, as expressions of Arrow over its columns.

The columns are those of stac-geoparquet, ``collection``, ``datetime``, ``start_datetime``,
``end_datetime`` and ``bbox``, of which a table may lack some, or have them in types that say
nothing here. What an item lacks is for the filter to count: items without time or box are kept.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from datetime import datetime
from functools import reduce

import pyarrow as pa
import pyarrow.compute as pc

from mlhub_core.sources.base import Wanted

Box = tuple[float, float, float, float]
_SIDES = ("xmin", "ymin", "xmax", "ymax")
_TIMES = ("datetime", "start_datetime", "end_datetime")


def left_in(
    wanted: Wanted, schema: pa.Schema, box: Box | None, collection: str = "collection"
) -> pc.Expression | None:
    """What rows have to fulfil; None where all are wanted.

    Args:
        wanted: What is wanted.
        schema: Of the table.
        box: Around all places that are wanted; None for any place.
        collection: The column of collections' ids.
    """
    found = [
        condition
        for condition in (
            _of_collections(wanted.collections, schema, collection),
            _in_time(wanted.start, wanted.end, schema),
            None if box is None else _touches(box, schema),
        )
        if condition is not None
    ]
    return reduce(operator.and_, found) if found else None


def split(box: Box) -> list[Box]:
    """A box as boxes that do not cross the antimeridian."""
    west, south, east, north = box
    if west <= east:
        return [box]
    return [(west, south, 180.0, north), (-180.0, south, east, north)]


def _of_collections(ids: tuple[str, ...], schema: pa.Schema, name: str) -> pc.Expression | None:
    if not ids or name not in schema.names:
        return None
    column = pc.field(name)
    return column.cast(pa.string()).isin(pa.array(sorted(ids), pa.string())) | column.is_null()


def _in_time(
    first: datetime | None, last: datetime | None, schema: pa.Schema
) -> pc.Expression | None:
    """Items whose time overlaps a range, and those that have none.

    An item with a start or an end is an interval, open where one is missing; any other a moment.
    """
    there = [name for name in _TIMES if name in schema.names]
    kinds = {schema.field(name).type for name in there}
    if (first, last) == (None, None) or not all(pa.types.is_timestamp(kind) for kind in kinds):
        return None
    if "datetime" not in there or any(kind.tz is None for kind in kinds):
        return None
    moment, *ends = (pc.field(name) for name in there)
    as_moment, as_interval = pc.scalar(True), pc.scalar(True)
    if first is not None:
        as_moment &= moment >= _scalar(first)
        if "end_datetime" in there:
            end = pc.field("end_datetime")
            as_interval &= end.is_null() | (end >= _scalar(first))
    if last is not None:
        as_moment &= moment <= _scalar(last)
        if "start_datetime" in there:
            start = pc.field("start_datetime")
            as_interval &= start.is_null() | (start <= _scalar(last))
    if not ends:
        return as_moment | moment.is_null()
    is_interval = _any_of(end.is_valid() for end in ends)
    return (is_interval & as_interval) | (~is_interval & (as_moment | moment.is_null()))


def _scalar(moment: datetime) -> pa.Scalar:
    return pa.scalar(moment, pa.timestamp("us", tz="UTC"))


def _touches(box: Box, schema: pa.Schema) -> pc.Expression | None:
    """Items whose box touches another one, and those whose box is none or wants a closer look.

    West is greater than east across the antimeridian; beyond 180 degrees it means the same place
    as within.
    """
    kind = schema.field("bbox").type if "bbox" in schema.names else None
    if kind is None or not pa.types.is_struct(kind):
        return None
    if not {*_SIDES} <= {kind.field(number).name for number in range(kind.num_fields)}:
        return None
    west, south, east, north = (pc.field("bbox", side) for side in _SIDES)
    touching = _any_of(
        ((west <= e) & (east >= w) | (west > east) & ((west <= e) | (east >= w)))
        & (south <= n)
        & (north >= s)
        for w, s, e, n in split(box)
    )
    return touching | west.is_null() | (west < -180.0) | (east > 180.0)


def _any_of(some: Iterable[pc.Expression]) -> pc.Expression:
    return reduce(operator.or_, some)
