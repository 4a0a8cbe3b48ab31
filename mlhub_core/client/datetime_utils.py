"""The reference client's comparisons of times and ranges of time, both ends included.

Times without a zone are UTC, as everywhere in this library.
"""

from __future__ import annotations

from datetime import UTC, datetime

Range = tuple[datetime, datetime]


def one_to_one_check(d1: datetime, d2: datetime) -> bool:
    """Whether two moments are the same."""
    return _utc(d1) == _utc(d2)


def one_to_range_check(d1: datetime, d2: Range) -> bool:
    """Whether a moment lies in a range."""
    return range_to_range_check((d1, d1), d2)


def range_to_range_check(d1: Range, d2: Range) -> bool:
    """Whether two ranges overlap."""
    return _utc(d1[0]) <= _utc(d2[1]) and _utc(d2[0]) <= _utc(d1[1])


def _utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
