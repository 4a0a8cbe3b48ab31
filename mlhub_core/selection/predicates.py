"""The filters, one class each: what they say of a whole row group, and of its rows.

``verdict`` looks at statistics alone: True or False where all rows, or none, can match, None where
the rows have to be looked at. ``mask`` looks at them. A filter on items lets a collection's own
assets pass; those follow the collection filter alone.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

import numpy as np

from mlhub_core.buffers import valid, values
from mlhub_core.selection.filters import AssetFilter
from mlhub_core.selection.owners import Coded
from mlhub_core.selection.rowgroup import RowGroup
from mlhub_core.selection.temporal import TimeRange

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Predicate(Protocol):
    """One filter.

    Attributes:
        name: Of its stage in the funnel.
        about_items: Whether only items have what it looks at.
    """

    name: str
    about_items: bool

    def verdict(self, group: RowGroup) -> bool | None:
        """Whether all rows match, or none; None where that is not known."""

    def column(self, group: RowGroup) -> str | None:
        """The column that :meth:`mask` reads first, for who reads it early; None of no one."""

    def mask(self, group: RowGroup, among: Mask) -> tuple[Mask, Mask | None]:
        """Rows that match, and those that have nothing to look at.

        Args:
            group: The rows.
            among: Those that are of interest; what is said of others does not matter.
        """


class OfCollections:
    """Rows whose collection and asset key are on the list."""

    name = "after the collection filter"
    about_items = False

    def __init__(self, wanted: tuple[tuple[str, tuple[str, ...]], ...]) -> None:
        self._wanted = dict(wanted)

    def verdict(self, group: RowGroup) -> bool | None:
        """By the range of ids, and that of asset keys where there is one collection only."""
        low, high, _ = group.span("collection_id")
        if low is None:
            return None
        here = [name for name in self._wanted if low <= name <= high]
        if not here:
            return False
        if low == high and not self._wanted[here[0]]:
            return True
        return None

    def column(self, group: RowGroup) -> str | None:
        """The ids."""
        return "collection_id"

    def mask(self, group: RowGroup, among: Mask) -> tuple[Mask, Mask | None]:
        """Each different collection is looked up once, each different key once."""
        collections = group.coded("collection_id")
        mask = np.zeros(group.rows, bool)
        for code, collection in enumerate(collections.values):
            if collection not in self._wanted:
                continue
            here = collections.codes == code
            if keys := self._wanted[collection]:
                here &= matching(group.coded("asset_key"), set(keys))
            mask |= here
        return mask, None


class InTime:
    """Rows whose item's time overlaps a range.

    An item with ``start_datetime`` or ``end_datetime`` is an interval, open where one is missing;
    any other is a moment, its ``datetime``.
    """

    name = "after the datetime filter"
    about_items = True

    def __init__(self, wanted: TimeRange) -> None:
        self._first = None if wanted.start is None else microseconds(wanted.start)
        self._last = None if wanted.end is None else microseconds(wanted.end)

    def verdict(self, group: RowGroup) -> bool | None:
        """By the range of ``datetime``, where all rows have one and nothing else."""
        if not (group.is_void("start_datetime") and group.is_void("end_datetime")):
            return None
        low, high, nulls = group.span("datetime")
        if nulls != 0 or low is None or not group.is_full("item_id"):
            return None
        if (self._last is not None and low > self._last) or (
            self._first is not None and high < self._first
        ):
            return False
        inside = (self._first is None or low >= self._first) and (
            self._last is None or high <= self._last
        )
        return True if inside else None

    def column(self, group: RowGroup) -> str | None:
        """Moments, if there are any."""
        return None if group.is_void("datetime") else "datetime"

    def mask(self, group: RowGroup, among: Mask) -> tuple[Mask, Mask | None]:
        """Compares numbers."""
        moment, has_moment = group.numbers("datetime")
        if group.is_void("start_datetime") and group.is_void("end_datetime"):
            matches = has_moment.copy()
            if self._last is not None:
                matches &= moment <= self._last
            if self._first is not None:
                matches &= moment >= self._first
            return matches, ~has_moment
        start, has_start = group.numbers("start_datetime")
        end, has_end = group.numbers("end_datetime")
        interval = has_start | has_end
        lacking = ~interval & ~has_moment
        matches = ~lacking
        if self._last is not None:
            first = np.where(interval, start, moment)
            matches &= (interval & ~has_start) | (first <= self._last)
        if self._first is not None:
            last = np.where(interval, end, moment)
            matches &= (interval & ~has_end) | (last >= self._first)
        return matches, lacking


class OfMediaType:
    """Rows whose media type is one of some."""

    name = "after the media type filter"
    about_items = False

    def __init__(self, wanted: tuple[str, ...]) -> None:
        self._wanted = wanted

    def verdict(self, group: RowGroup) -> bool | None:
        """None of a row group that names no media type."""
        return False if group.is_void("media_type") else None

    def column(self, group: RowGroup) -> str | None:
        """The media types."""
        return "media_type"

    def mask(self, group: RowGroup, among: Mask) -> tuple[Mask, Mask | None]:
        """Each different media type is looked at once."""
        column = group.coded("media_type")
        return matching(column, {text for text in column.values if self._matches(text)}), None

    def _matches(self, media_type: str) -> bool:
        whole = media_type.lower().replace(" ", "")
        bare = whole.partition(";")[0]
        return any(
            wanted in (whole, bare) or (wanted.endswith("/*") and bare.startswith(wanted[:-1]))
            for wanted in self._wanted
        )


class OfRole:
    """Rows that have one of some roles."""

    name = "after the role filter"
    about_items = False

    def __init__(self, wanted: tuple[str, ...]) -> None:
        self._wanted = wanted

    def verdict(self, group: RowGroup) -> bool | None:
        """Statistics say nothing of lists."""
        return None

    def column(self, group: RowGroup) -> str | None:
        """The roles."""
        return "roles"

    def mask(self, group: RowGroup, among: Mask) -> tuple[Mask, Mask | None]:
        """Counts those of each row by where its list begins and ends."""
        column = group.column("roles")
        offsets = values(column.offsets)
        roles = column.values.dictionary_encode()
        is_wanted = np.array([*(role in self._wanted for role in roles.dictionary.to_pylist())])
        codes = values(roles.indices)
        found = valid(roles.indices)
        found[found] = is_wanted[codes[found]]
        counts = np.append(0, np.cumsum(found))
        return counts[offsets[1:]] > counts[offsets[:-1]], None


def predicates(wanted: AssetFilter) -> list[Predicate]:
    """The filters that are set, in the order of the funnel.

    A box comes before the time and a shape after it: statistics of the boxes leave out most of an
    index that is in order, and then nobody asks those row groups for their times.
    """
    found: list[Predicate] = []
    if wanted.collections:
        found.append(OfCollections(wanted.collections))
    if wanted.bbox:
        from mlhub_core.selection.places import InBox

        found.append(InBox(wanted.bbox))
    if wanted.time:
        found.append(InTime(wanted.time))
    if wanted.intersects:
        from mlhub_core.selection.shapes import InShape

        found.append(InShape(wanted.intersects, wanted.intersects_with))
    if wanted.media_types:
        found.append(OfMediaType(wanted.media_types))
    if wanted.roles:
        found.append(OfRole(wanted.roles))
    if wanted.where:
        from mlhub_core.selection.properties import WithProperties

        found.append(WithProperties(wanted.where))
    return found


def matching(column: Coded, wanted: set[str]) -> Mask:
    """Rows whose text is one of some."""
    is_wanted = np.array([*(text in wanted for text in column.values), False], dtype=bool)
    return is_wanted[column.codes]  # -1, for null, is the last


def microseconds(moment: datetime) -> int:
    """Since 1970."""
    return (moment - _EPOCH) // timedelta(microseconds=1)
