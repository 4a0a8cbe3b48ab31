"""Moments as catalogs write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MAX_CHARACTERS = 64
_YEAR = re.compile(r"\d{4}")
_LEAP_SECOND = re.compile(r"(?<=:\d\d):60(?=\D|$)")
_NO_YEAR = datetime(1, 1, 1)


@lru_cache(maxsize=8192)
def microseconds(text: str) -> int | None:
    """Read a moment, in RFC 3339 or more sloppily; without a zone it is UTC.

    Args:
        text: Such as ``2018-11-24T00:00:00Z``, ``2018-11-24``, ``24 Nov 2018 10:00``.

    Returns:
        Microseconds since 1970 in UTC, or None for what is no moment of the years 1 to 9999.
    """
    text = text.strip()
    if not _YEAR.search(text[:_MAX_CHARACTERS]) or len(text) > _MAX_CHARACTERS:
        return None
    plain, leaps = _LEAP_SECOND.subn(":59", text, count=1)
    moment = _parse(plain)
    if moment is None:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    try:
        # Subtracting takes the zone into account, and unlike astimezone cannot leave the calendar.
        result = (moment - _EPOCH) // _MICROSECOND + leaps * 1_000_000
    except ValueError:  # a zone of more than a day
        return None
    return result if _FIRST <= result <= _LAST else None


_FIRST = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
_LAST = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND


def _parse(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return _parse_sloppily(text)


def _parse_sloppily(text: str) -> datetime | None:
    from dateutil import parser

    try:
        return parser.isoparse(text)
    except (ValueError, OverflowError):
        pass  # not ISO 8601 either
    try:
        moment = parser.parse(text, default=_NO_YEAR, tzinfos=_unknown_zone)
    except (ValueError, OverflowError, TypeError, ArithmeticError):
        return None
    return None if moment.year == _NO_YEAR.year else moment


def _unknown_zone(_name: str | None, offset: int | None) -> tzinfo | None:
    """Abbreviations such as EST mean different zones to different people: UTC, unless numbered."""
    from dateutil import tz

    return None if offset is None else tz.tzoffset(None, offset)
