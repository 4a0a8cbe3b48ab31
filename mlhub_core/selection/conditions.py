"""What an :class:`AssetFilter` asks of the rows of an index.

A condition is an expression of Arrow, by which row groups are left out and rows compared, and for
some something that is asked of the rows which that leaves. One about items lets a collection's own
assets pass; those follow the collection filter alone.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cache, partial, reduce
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlhub_core.index.schema import BOX_FIELDS
from mlhub_core.selection.filters import AssetFilter, TimeRange
from mlhub_core.selection.geometry import BBox
from mlhub_core.sources.pruning import split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlhub_core.selection.index_reader import IndexReader

    Mask = NDArray[np.bool_]
    Boxes = NDArray[np.float64]
    Shapes = NDArray[Any]
    Ask = Callable[[pa.RecordBatch], Mask]

_IDS = ("collection_id", "item_id")
_MOST_SEEN = 1_000
_SHOWN = 20
"""Names of bands in an error."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One filter.

    Attributes:
        name: Of its stage in the funnel.
        where: What Arrow can say of the rows.
        about: What it needs an item to have, ``place`` or ``time``; empty where nothing.
        lacking: Which items have none.
        asks: Which rows match, of those that ``where`` leaves; None where it says all.
        columns: What that looks at.
        complaint: What to say of it where nothing matched.
    """

    name: str
    where: pc.Expression
    about: str = ""
    lacking: pc.Expression | None = None
    asks: Ask | None = None
    columns: tuple[str, ...] = ()
    complaint: Callable[[], str] = str


def conditions(wanted: AssetFilter, index: IndexReader) -> list[Condition]:
    """The filters that are set, in the order of the funnel: what is asked of rows comes last."""
    found: list[Condition] = []
    box = partial(_touches, boxes_agree=index.boxes_agree)
    has_no_place = pc.field("bbox", "xmin").is_null()
    if wanted.collections:
        keys = dict(wanted.collections)
        where = is_among("collection_id", keys) & listed(keys)
        found.append(Condition("after the collection filter", where))
    if wanted.bbox:
        where = _of_items(box(wanted.bbox))
        found.append(Condition("after the bbox filter", where, "place", has_no_place))
    if wanted.time:
        where, lacking = _in_time(wanted.time)
        found.append(Condition("after the datetime filter", _of_items(where), "time", lacking))
    if wanted.intersects:
        shape = ItemsInShape(wanted.intersects, wanted.intersects_with)
        where = _of_items(_covers_touch(shape.bounds))
        found.append(
            Condition(
                "after the intersects filter",
                where,
                "place",
                has_no_place,
                partial(by_item, ask=shape),
                (*_IDS, *shape.columns),
            )
        )
    if wanted.media_types:
        asks = partial(_of_media_type, pattern=_media_pattern(wanted.media_types))
        found.append(
            Condition("after the media type filter", anything(), asks=asks, columns=("media_type",))
        )
    if wanted.roles:
        asks = partial(_of_role, wanted=wanted.roles)
        found.append(Condition("after the role filter", anything(), asks=asks, columns=("roles",)))
    if wanted.bands:
        band = AssetsWithBand(wanted.bands)
        found.append(
            Condition(
                "after the band filter",
                anything(),
                asks=band,
                columns=("bands",),
                complaint=band.complaint,
            )
        )
    if wanted.where:
        from mlhub_core.selection.cql2 import ItemsThatFulfil

        condition = ItemsThatFulfil(wanted.where)
        found.append(
            Condition(
                "after the where filter",
                anything(),
                asks=partial(by_item, ask=condition),
                columns=(*_IDS, *condition.columns),
                complaint=condition.complaint,
            )
        )
    return found


# Expressions


@cache
def anything() -> pc.Expression:
    """All rows; made when it is needed, for Arrow looks for pandas when it takes a first value."""
    return pc.scalar(True)


def all_of(some: Iterable[Condition]) -> pc.Expression:
    """What Arrow can say of rows that match all of some conditions."""
    return reduce(operator.and_, (condition.where for condition in some), anything())


def either(some: Iterable[pc.Expression]) -> pc.Expression:
    """One of some expressions."""
    return reduce(operator.or_, some)


def is_among(name: str, texts: Iterable[str]) -> pc.Expression:
    """Rows of which a column has one of some texts."""
    return pc.field(name).isin(pa.array(sorted(texts), pa.string()))


def is_any_item() -> pc.Expression:
    """Rows of items; the others are a collection's own assets."""
    return pc.field("item_id").is_valid()


def listed(keys: dict[str, tuple[str, ...]]) -> pc.Expression:
    """Rows whose asset key is on the list of their collection, where that has one."""
    found = anything()
    for collection, names in keys.items():
        if names:
            other = pc.field("collection_id") != collection
            found &= other | is_among("asset_key", names)
    return found


def _of_items(where: pc.Expression) -> pc.Expression:
    return pc.field("item_id").is_null() | where


def _in_time(wanted: TimeRange) -> tuple[pc.Expression, pc.Expression]:
    """Items whose time overlaps a range, and those that have none.

    An item with ``start_datetime`` or ``end_datetime`` is an interval, open where one is missing;
    any other is a moment, its ``datetime``.
    """
    moment, start, end = map(pc.field, ("datetime", "start_datetime", "end_datetime"))
    is_interval = start.is_valid() | end.is_valid()
    as_moment, as_interval = moment.is_valid(), anything()
    if wanted.start is not None:
        as_moment &= moment >= _moment(wanted.start)
        as_interval &= end.is_null() | (end >= _moment(wanted.start))
    if wanted.end is not None:
        as_moment &= moment <= _moment(wanted.end)
        as_interval &= start.is_null() | (start <= _moment(wanted.end))
    where = (is_interval & as_interval) | (~is_interval & as_moment)
    return where, ~is_interval & moment.is_null()


def _moment(moment: datetime) -> pa.Scalar:
    return pa.scalar(moment, pa.timestamp("us", tz="UTC"))


def _touches(wanted: BBox, boxes_agree: bool) -> pc.Expression:
    """Items whose bounding box touches a box.

    An item's own box counts, where it has one, and its west is greater than its east where it
    crosses the antimeridian. The other column covers it: by that row groups are left out.
    """
    cover = _covers_touch(wanted)
    if boxes_agree:
        return cover
    west, south, east, north = (
        pc.field("item_bbox", side) for side in ("xmin", "ymin", "xmax", "ymax")
    )
    own = either(
        pc.if_else(west > east, (west <= e) | (east >= w), (west <= e) & (east >= w))
        & (south <= n)
        & (north >= s)
        for w, s, e, n in split(wanted)
    )
    return cover & (west.is_null() | own)


def _covers_touch(wanted: BBox) -> pc.Expression:
    west, south, east, north = (pc.field("bbox", side) for side in ("xmin", "ymin", "xmax", "ymax"))
    return either(
        (west <= e) & (east >= w) & (south <= n) & (north >= s) for w, s, e, n in split(wanted)
    )


# What is asked of rows


def item_starts(rows: pa.RecordBatch) -> Mask:
    """Where an item's rows begin: those of one item stand together, and need one look together."""
    starts = np.zeros(rows.num_rows, bool)
    starts[:1] = True
    for name in _IDS:
        column = rows.column(name)
        if len(column) > 1:
            # Rows of no item differ from each other: null is not equal to null.
            starts[1:] |= ~is_true(pc.equal(column[1:], column[:-1]))
    return starts


def first_rows(rows: pa.RecordBatch) -> pa.RecordBatch:
    """The first row of each item."""
    return rows.filter(item_starts(rows))


def is_true(column: pa.BooleanArray) -> Mask:
    """Which values are true; null is not."""
    found: Mask = column.fill_null(False).to_numpy(zero_copy_only=False)
    return found


def by_item(rows: pa.RecordBatch, ask: Ask) -> Mask:
    """Ask each item once, and let a collection's own assets pass."""
    starts = item_starts(rows)
    items = rows.filter(starts)
    is_item = is_true(items.column("item_id").is_valid())
    hits = np.ones(len(is_item), bool)
    if is_item.any():
        hits[is_item] = ask(items.filter(is_item))
    matches: Mask = hits[np.cumsum(starts) - 1]
    return matches


def _of_media_type(rows: pa.RecordBatch, pattern: str) -> Mask:
    plain = pc.replace_substring(pc.utf8_lower(rows.column("media_type")), " ", "")
    return is_true(pc.match_substring_regex(plain, pattern))


def _media_pattern(wanted: Iterable[str]) -> str:
    """A regular expression; parameters after a semicolon matter only where they are asked for."""
    parts = []
    for media_type in wanted:
        text = re.escape(media_type)
        if media_type.endswith("/*"):
            parts.append(re.escape(media_type[:-1]))
        elif ";" in media_type:
            parts.append(text + "$")
        else:
            parts.append(text + "(;|$)")
    return f"^({'|'.join(parts)})"


def _of_role(rows: pa.RecordBatch, wanted: tuple[str, ...]) -> Mask:
    column = rows.column("roles")
    hits = pc.is_in(column.flatten(), value_set=pa.array(wanted, pa.string()))
    matches = np.zeros(rows.num_rows, bool)
    owners = pc.list_parent_indices(column).filter(hits)
    matches[owners.to_numpy()] = True
    return matches


class AssetsWithBand:
    """Assets one of whose bands is called so, by its name or its common name, in any case.

    Args:
        wanted: The names.
    """

    def __init__(self, wanted: Iterable[str]) -> None:
        self._wanted = pa.array([name.lower() for name in wanted], pa.string())
        self._seen: set[str] = set()

    def __call__(self, rows: pa.RecordBatch) -> Mask:
        """Which of some rows."""
        column = rows.column("bands")
        matches = np.zeros(rows.num_rows, bool)
        owners = pc.list_parent_indices(column)
        for names in column.flatten().flatten():
            hits = is_true(pc.is_in(pc.utf8_lower(names), value_set=self._wanted))
            matches[owners.to_numpy()[hits]] = True
            if len(self._seen) < _MOST_SEEN:
                self._seen.update(names.unique().drop_null().to_pylist())
        return matches

    def complaint(self) -> str:
        """What bands there are, where nothing matched."""
        if not self._seen:
            return " No asset that the other filters leave says what bands it has."
        shown = sorted(self._seen)
        more = ", …" if len(shown) > _SHOWN else ""
        return f" Its bands are called {', '.join(shown[:_SHOWN])}{more}."


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
        import shapely

        self._shape = shapely.from_geojson(geojson)
        self._by_geometry = tested == "geometry"
        self.bounds = self._shape.bounds
        self.columns = ("item_bbox", "bbox", *(["geometry"] if self._by_geometry else []))

    def __call__(self, items: pa.RecordBatch) -> NDArray[np.bool_]:
        """Which of some items, all of which have a place."""
        import geopandas
        import shapely

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
    sides = (pc.struct_field(column, name) for name in BOX_FIELDS)
    return np.stack([side.to_numpy(zero_copy_only=False) for side in sides])


def footprints(boxes: Boxes) -> Shapes:
    """Boxes as shapes; one that crosses the antimeridian becomes two, either side."""
    import shapely

    west, south, east, north = boxes
    crossing = west > east
    shapes: Shapes = shapely.box(west, south, np.where(crossing, 180.0, east), north)
    if crossing.any():
        west_end = np.full(int(crossing.sum()), -180.0)
        other = shapely.box(west_end, south[crossing], east[crossing], north[crossing])
        pairs = np.stack([shapes[crossing], np.asarray(other, dtype=object)], axis=1)
        shapes[crossing] = shapely.multipolygons(pairs)
    return shapes
