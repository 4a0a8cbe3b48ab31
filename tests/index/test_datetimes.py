from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlhub_core.index.datetimes import microseconds

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
zones = st.builds(lambda m: timezone(timedelta(minutes=m)), st.integers(-1439, 1439))
moments = st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=zones)


def utc(*fields: int) -> int:
    return (datetime(*fields, tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)


@given(moments)
def test_rfc_3339(moment: datetime) -> None:
    wanted = (moment - EPOCH) // timedelta(microseconds=1)
    assert microseconds(moment.isoformat()) == wanted
    assert microseconds(moment.isoformat(" ")) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2018-11-24T00:00:00Z", utc(2018, 11, 24)),
        ("2018-11-24T00:00:00z", utc(2018, 11, 24)),
        ("2018-11-24t12:30:00Z", utc(2018, 11, 24, 12, 30)),
        ("2018-11-24", utc(2018, 11, 24)),
        (" 2018-11-24T10:00:00 ", utc(2018, 11, 24, 10)),
        ("2018-11-24T00:00:00.123456789Z", utc(2018, 11, 24, 0, 0, 0, 123456)),
        ("2018-11-24T00:00:00,5Z", utc(2018, 11, 24, 0, 0, 0, 500000)),
        ("2018-11-24 10:00:00 +0200", utc(2018, 11, 24, 8)),
        ("2018-11-24 10:00:00 UTC", utc(2018, 11, 24, 10)),
        ("2018-328", utc(2018, 11, 24)),
        ("24-Nov-2018", utc(2018, 11, 24)),
        ("Sat, 24 November 2018 10:00:00 +0100", utc(2018, 11, 24, 9)),
        ("2018/11/24", utc(2018, 11, 24)),
        ("24 Nov 2018 10:00", utc(2018, 11, 24, 10)),
        ("2018-11-24T24:00:00Z", utc(2018, 11, 25)),
        ("2016-12-31T23:59:60Z", utc(2017, 1, 1)),
        ("0001-01-01T00:00:00Z", utc(1, 1, 1)),
        ("9999-12-31T23:59:59Z", utc(9999, 12, 31, 23, 59, 59)),
    ],
)
def test_sloppy_forms(text: str, wanted: int) -> None:
    assert microseconds(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "",
        "unknown",
        "10:30",
        "2018",
        "2018-11",
        "20181124",
        "2018-11-24 10:00:00 XYZ",
        "2018-01-01/2018-02-01",
        "May 5",
        "2018-13-45",
        "0001-01-01T00:00:00+05:00",
        "9999-12-31T23:59:59-05:00",
        "2018-02-30T00:00:00Z",
        "99999-01-01",
        "2018" * 40,
        "12345678901234567890",
        "2018-11-24T00:00:00+99:99",
    ],
)
def test_no_moment(text: str) -> None:
    assert microseconds(text) is None


@given(st.text(st.sampled_from("0123456789-:TZ+. /aJneW") | st.characters(), max_size=40))
def test_nothing_upsets_it(text: str) -> None:
    found = microseconds(text)
    assert found is None or utc(1, 1, 1) <= found <= utc(9999, 12, 31, 23, 59, 59, 999999)
