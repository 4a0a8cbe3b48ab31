"""Moments and closed ranges of time, as people write them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from mlhub_core.exceptions import InvalidArgument
from mlhub_core.index.datetimes import edges

_HOW = (
    "use a date (2016-07-01), a month (2016-07), a year (2016), a time (2016-07-01T12:00:00Z), "
    "or two of them with a slash between (2016-01-01/2016-12-31), '..' for an open end"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OPEN = ("", "..")


@dataclass(frozen=True, slots=True)
class TimeRange:
    """A closed range of time; either end may be open.

    Attributes:
        start: First moment, UTC, or None.
        end: Last moment, UTC, or None. Equal to ``start`` for a single moment.
    """

    start: datetime | None
    end: datetime | None

    def __str__(self) -> str:
        start, end = (".." if side is None else side.isoformat() for side in (self.start, self.end))
        return start if self.start == self.end else f"{start}/{end}"


def parse_time_range(value: Any) -> TimeRange | None:
    """Read a temporal filter.

    Naive times are UTC. A date without a time is that whole day, a month or year all of it.

    Args:
        value: None; a ``datetime`` or ``date``; text, one moment or ``start/end``; or a pair of
            these, None or ``..`` for an open end.

    Raises:
        InvalidArgument: for anything else, and for a range that ends before it starts.
    """
    if value is None:
        return None
    if isinstance(value, TimeRange):
        return value
    if isinstance(value, str) and "/" in value:
        ends = value.split("/")
    elif isinstance(value, tuple | list):
        ends = list(value)
    else:
        ends = [value, value]
        if isinstance(value, str) and value.strip() in _OPEN:
            raise InvalidArgument(f"datetime is {value!r}: {_HOW}.")
    if len(ends) != 2:
        raise InvalidArgument(f"datetime has {len(ends)} parts instead of one or two: {_HOW}.")
    start, end = _edges(ends[0])[0], _edges(ends[1])[1]
    if start is None and end is None:
        raise InvalidArgument(
            f"datetime {value!r} is open at both ends and selects everything: leave it out."
        )
    if start is not None and end is not None and start > end:
        raise InvalidArgument(f"datetime {value!r} ends before it starts: swap the two.")
    return TimeRange(start, end)


def _edges(value: Any) -> tuple[datetime | None, datetime | None]:
    """First and last moment of what a value means."""
    if value is None or (isinstance(value, str) and value.strip() in _OPEN):
        return None, None
    if isinstance(value, datetime):
        moment = _utc(value)
        return moment, moment
    if isinstance(value, date):
        return _day(value)
    if isinstance(value, str):
        return _text_edges(value.strip())
    raise InvalidArgument(f"datetime holds {value!r}, a {type(value).__name__}: {_HOW}.")


def _text_edges(text: str) -> tuple[datetime, datetime]:
    found = edges(text)
    if found is None:
        raise InvalidArgument(f"datetime {text!r} is no date: {_HOW}.")
    first, last = (_EPOCH + timedelta(microseconds=edge) for edge in found)
    return first, last


def _day(day: date) -> tuple[datetime, datetime]:
    start = datetime.combine(day, time.min, tzinfo=UTC)
    return start, datetime.combine(day, time.max, tzinfo=UTC)


def _utc(moment: datetime) -> datetime:
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError as error:
        raise InvalidArgument(f"datetime {moment} is out of range in UTC.") from error
