"""Moments and intervals of time as catalogs and people write them.

Nothing is guessed: what is read is ISO 8601, as RFC 3339 and STAC have it, and two forms that old
catalogs use and that mean one thing only, ``2018/11/24`` and ``24 Nov 2018``. What a lenient parser
would make of anything else (``10/11/12``, ``Sept``, ``1543017600``) is a moment that nobody meant.
"""

from __future__ import annotations

import calendar
import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

Edges = tuple[int, int]
"""First and last microsecond since 1970, UTC."""
Interval = tuple[int | None, int | None]
"""Start and end, None where it is open."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DAY = 86_400_000_000
_MAX_CHARACTERS = 64
_OPEN = ("", "..")
_MONTHS = [name[:3].lower() for name in calendar.month_name]

_YEAR_OR_MONTH = re.compile("([0-9]{4})(?:-([0-9]{2}))?")
_NUMBERED = re.compile(
    "(?P<year>[0-9]{4})(?:(?P<sep>[-/]?)(?P<month>[0-9]{2})(?P=sep)(?P<day>[0-9]{2})"
    "|-(?P<ordinal>[0-9]{3}))"
)
_NAMED = re.compile(
    "(?:(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?,? )?"
    "(?P<day>[0-9]{1,2})(?P<sep>[ -])"
    "(?P<month>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?"
    "|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)(?P=sep)(?P<year>[0-9]{4})",
    re.IGNORECASE,
)
_TIME = re.compile(
    "(?:[Tt ]|, )(?P<hour>[0-9]{2})(?::?(?P<minute>[0-9]{2})"
    "(?::?(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]+))?)?)?"
    " ?(?:[Zz]|UTC|GMT|(?P<sign>[+-])(?P<zone>[0-9]{2})(?::?(?P<more>[0-9]{2}))?)?"
)


@lru_cache(maxsize=8192)
def microseconds(text: str) -> int | None:
    """Read a moment; without a zone it is UTC, a date is its first moment.

    Args:
        text: Such as ``2018-11-24T00:00:00Z``, ``2018-11-24``, ``24 Nov 2018 10:00``.

    Returns:
        Microseconds since 1970 in UTC, or None for what is no moment of the years 1 to 9999.
    """
    found = _dated(text.strip())
    return None if found is None else found[0]


def moment_of(count: int) -> datetime:
    """The moment so many microseconds after 1970 began."""
    return _EPOCH + count * _MICROSECOND


def moment_text(count: int) -> str:
    """Microseconds since 1970 as RFC 3339 writes them."""
    return moment_of(count).isoformat().replace("+00:00", "Z")


def edges(text: str) -> Edges | None:
    """The first and last moment of a year, a month, a day or a moment; None of all else."""
    text = text.strip()
    coarse = _YEAR_OR_MONTH.fullmatch(text)
    if coarse is None:
        return _dated(text)
    year, month = int(coarse[1]), int(coarse[2] or 1)
    first = _midnight(year, month, 1)
    last_month = month if coarse[2] else 12
    if first is None:
        return None
    last = _midnight(year, last_month, calendar.monthrange(year, last_month)[1])
    return None if last is None else (first, last + _DAY - 1)


def interval(text: str) -> Interval | None:
    """Read an interval: ``start/end``, either of them open or coarse, or a year or month.

    Returns:
        Its start and end; None for what is no interval, or one that is open at both ends.
    """
    parts = [part.strip() for part in text.split("/")]
    if len(parts) == 1 and _YEAR_OR_MONTH.fullmatch(parts[0]):
        return edges(parts[0])
    if len(parts) != 2:
        return None
    sides = [None if part in _OPEN else edges(part) for part in parts]
    if all(part in _OPEN or side for part, side in zip(parts, sides, strict=True)) and any(sides):
        return sides[0] and sides[0][0], sides[1] and sides[1][1]
    return None


def _dated(text: str) -> Edges | None:
    """A date, with a time or without. Digits alone are none: they may be any number."""
    if len(text) > _MAX_CHARACTERS or text.isdecimal():
        return None
    found = _NUMBERED.match(text) or _NAMED.match(text)
    if found is None:
        return None
    day = _day(found)
    rest = text[found.end() :]
    if day is None or not rest:
        return None if day is None else (day, day + _DAY - 1)
    time = _TIME.fullmatch(rest)
    offset = None if time is None else _offset(time)
    if offset is None or not _FIRST <= day + offset <= _LAST:
        return None
    return day + offset, day + offset


def _day(found: re.Match[str]) -> int | None:
    part = found.groupdict()
    year = int(part["year"])
    if part.get("ordinal"):
        ordinal = int(part["ordinal"])
        first = _midnight(year, 1, 1)
        if first is None or not 1 <= ordinal <= 365 + calendar.isleap(year):
            return None
        return first + (ordinal - 1) * _DAY
    month = part["month"]
    number = int(month) if month.isdecimal() else _MONTHS.index(month[:3].lower())
    return _midnight(year, number, int(part["day"]))


def _midnight(year: int, month: int, day: int) -> int | None:
    try:
        return (datetime(year, month, day, tzinfo=UTC) - _EPOCH) // _MICROSECOND
    except ValueError:
        return None


def _offset(time: re.Match[str]) -> int | None:
    """Microseconds since midnight in UTC; 24:00 and leap seconds are the moment after."""
    part = time.groupdict()
    hour, minute, second, zone, more = (
        int(part[name] or 0) for name in ("hour", "minute", "second", "zone", "more")
    )
    fraction = int((part["fraction"] or "")[:6].ljust(6, "0"))
    if minute > 59 or second > 60 or zone > 23 or more > 59:
        return None
    if hour > 24 or (hour == 24 and (minute or second or fraction)):
        return None
    sign = -1 if part["sign"] == "-" else 1
    minutes = hour * 60 + minute - sign * (zone * 60 + more)
    return (minutes * 60 + second) * 1_000_000 + fraction


_FIRST = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
_LAST = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
