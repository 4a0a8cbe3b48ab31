from __future__ import annotations

import calendar
from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlhub_core.exceptions import InvalidArgument
from mlhub_core.selection.filters import TimeRange, parse_time_range

# A day from either end of what datetime can hold, so that zones do not lead over it.
NAIVE = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30))
ZONES = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
AWARE = st.builds(lambda moment, zone: moment.replace(tzinfo=zone), NAIVE, ZONES)
DATES = st.dates(date(1, 1, 2), date(9999, 12, 30))
FIRST, LAST = time.min, time.max


def _day(day: date) -> tuple[datetime, datetime]:
    return datetime.combine(day, FIRST, UTC), datetime.combine(day, LAST, UTC)


@given(NAIVE)
def test_naive_times_are_utc(moment: datetime) -> None:
    expected = moment.replace(tzinfo=UTC)
    assert parse_time_range(moment) == TimeRange(expected, expected)
    assert parse_time_range(moment.isoformat()) == TimeRange(expected, expected)


@given(AWARE)
def test_a_moment_is_the_same_in_any_zone(moment: datetime) -> None:
    for form in (moment, moment.isoformat(), moment.astimezone(UTC).isoformat(" ")):
        found = parse_time_range(form)
        assert found == TimeRange(moment, moment)
        assert found is not None
        assert found.start is not None
        assert found.start.utcoffset() == timedelta(0)


@given(DATES)
def test_a_date_is_the_whole_day(day: date) -> None:
    assert parse_time_range(day) == TimeRange(*_day(day))
    assert parse_time_range(day.isoformat()) == TimeRange(*_day(day))


@given(DATES)
def test_months_and_years_are_all_of_their_days(day: date) -> None:
    last = calendar.monthrange(day.year, day.month)[1]
    month = TimeRange(_day(day.replace(day=1))[0], _day(day.replace(day=last))[1])
    assert parse_time_range(f"{day.year:04}-{day.month:02}") == month
    year = TimeRange(_day(date(day.year, 1, 1))[0], _day(date(day.year, 12, 31))[1])
    assert parse_time_range(f"{day.year:04}") == year


@given(DATES, DATES)
def test_a_range_holds_both_its_days(one: date, other: date) -> None:
    first, last = sorted((one, other))
    expected = TimeRange(_day(first)[0], _day(last)[1])
    for form in (f"{first}/{last}", (first, last), [str(first), last], (f" {first} ", str(last))):
        assert parse_time_range(form) == expected
    if first < last:
        with pytest.raises(InvalidArgument, match="ends before it starts"):
            parse_time_range((last, first))


@given(DATES, st.sampled_from([None, "..", "", " .. "]))
def test_either_end_may_be_open(day: date, nothing: str | None) -> None:
    first, last = _day(day)
    assert parse_time_range((day, nothing)) == TimeRange(first, None)
    assert parse_time_range([nothing, day]) == TimeRange(None, last)
    if nothing is not None:
        assert parse_time_range(f"{day}/{nothing}") == TimeRange(first, None)
        assert parse_time_range(f"{nothing}/{day}") == TimeRange(None, last)


@given(st.one_of(AWARE, NAIVE, DATES), st.one_of(AWARE, NAIVE, DATES))
def test_what_it_says_of_itself_reads_the_same(one: Any, other: Any) -> None:
    try:
        found = parse_time_range((one, other))
    except InvalidArgument:
        found = parse_time_range((other, one))
    assert parse_time_range(str(found)) == found
    assert parse_time_range(found) is found


_ANYTHING = st.one_of(
    st.text(),
    st.text("0123456789-:TZ./+ ", max_size=30),
    st.from_regex(r"\d{4}(-\d\d(-\d\d([Tt ]\d\d(:?\d\d){0,2}([.,]\d+)?(Z|[+-]\d\d:?\d\d)?)?)?)?"),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.lists(st.one_of(st.text(), st.none(), NAIVE, st.integers()), max_size=4),
    st.dictionaries(st.text(), st.text(), max_size=2),
    st.binary(),
    st.datetimes(timezones=st.just(timezone(timedelta(hours=23)))),
)


def _read(value: Any) -> tuple[TimeRange | None, str]:
    """The range, or the complaint."""
    try:
        return parse_time_range(value), ""
    except InvalidArgument as error:
        return None, str(error)


@given(_ANYTHING)
def test_anything_else_is_a_range_or_refused_in_one_line(value: Any) -> None:
    found, complaint = _read(value)
    if found is None:
        assert complaint.startswith("datetime ")
        return
    assert found.start or found.end
    if found.start and found.end:
        assert found.start <= found.end


@pytest.mark.parametrize(
    "value",
    [
        *("", "..", "../..", "/", "now", "2021-13", "2021-02-30", "20210201", "2021-W05", "99"),
        *("2021-01-01T25:00", "2021/2022/2023", (None, None), ["2021"], "٢٠٢١", "2021-1-1", 2021),
    ],
)
def test_what_is_no_time(value: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"(use|leave it out|swap)"):
        parse_time_range(value)


def test_none_is_no_filter() -> None:
    assert parse_time_range(None) is None
