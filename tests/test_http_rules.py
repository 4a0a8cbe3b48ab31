from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlhub_core.net.response import (
    WAIT_FIELDS,
    ContentRange,
    ResponseHead,
    http_date,
    parse_content_range,
    parse_http_date,
    parse_length,
    parse_md5,
    parse_unsatisfied_range,
    strong_etag,
    strong_validator,
)
from mlhub_core.net.resume import Ask, Asked, Take, verdict_on
from mlhub_core.net.retry import Again, is_retryable, parse_wait, says_limited

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
sizes = st.integers(0, 10**12)


@pytest.mark.parametrize(
    ("status", "passing"),
    [(200, False), (404, False), (408, True), (429, True), (499, False), (500, True), (599, True)],
)
def test_which_failures_may_pass(status: int, passing: bool) -> None:
    assert is_retryable(status) is passing


@pytest.mark.parametrize(
    ("text", "length"), [("10", 10), (" 7 ", 7), ("-1", None), ("1e3", None), ("\u0661", None)]
)
def test_lengths(text: str, length: int | None) -> None:
    assert parse_length(text) == length


@settings(max_examples=30, deadline=None)
@given(sizes, sizes, sizes)
def test_content_range_there_and_back(first: int, more: int, behind: int) -> None:
    last = first + more
    total = last + 1 + behind
    text = f"bytes {first}-{last}/{total}"
    assert parse_content_range(text) == ContentRange(first, last, total)
    assert parse_content_range(f"BYTES {first}-{last}/*") == ContentRange(first, last, None)
    assert parse_content_range(f"bytes {first}-{last}/{last}") is None
    assert parse_content_range(f"bytes {last + 1}-{first}/{total + 2}") is None
    assert parse_unsatisfied_range(f"bytes */{total}") == total


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=30) | st.none())
def test_any_header_is_read_or_left(text: str | None) -> None:
    parse_content_range(text)
    parse_unsatisfied_range(text)
    assert (parse_length(text) or 0) >= 0
    parse_http_date(text)
    assert len(parse_md5(text) or "x" * 32) == 32
    tag = strong_etag(text)
    assert tag is None or (tag[0] == tag[-1] == '"' and "\n" not in tag)
    validator = strong_validator(text, text, text)
    assert validator is None or validator == tag


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120.0),
        ("1.5", 1.5),
        ("Fri, 02 Jan 2026 03:05:05 GMT", 60.0),
        ("Fri, 02 Jan 2026 03:00:00 GMT", 0.0),
        ("9" * 400, None),
        ("-5", None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after(text: str, seconds: float | None) -> None:
    assert parse_wait({"retry-after": text}, NOW.timestamp()) == seconds


EPOCH = NOW.timestamp()


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({"retry-after": "7", "ratelimit-reset": "99"}, 7.0),
        ({"retry-after": "Fri, 02 Jan 2026 03:05:05 GMT"}, 60.0),
        ({"x-ms-retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "250"}, 0.25),
        ({"ratelimit-reset": "9"}, 9.0),
        ({"ratelimit-reset": "9", "ratelimit-remaining": "0"}, 9.0),
        ({"ratelimit-reset": "9", "ratelimit-remaining": "5"}, None),
        ({"x-ratelimit-reset": f"{EPOCH + 33:.0f}"}, 33.0),
        ({"x-ratelimit-reset": f"{(EPOCH + 33) * 1000:.0f}"}, 33.0),
        ({"x-rate-limit-reset": f"{EPOCH - 33:.0f}"}, 0.0),
        ({"x-ratelimit-reset": "2026-01-02T03:05:05Z"}, 60.0),
        ({"x-ratelimit-reset": "Fri, 02 Jan 2026 03:05:05 GMT"}, 60.0),
        ({"ratelimit": '"default";r=0;t=30'}, 30.0),
        ({"ratelimit": '"day";r=5;t=99, "second";r=0;t=3, "minute";r=0;t=30'}, 30.0),
        ({"ratelimit": "limit=100, remaining=0, reset=50"}, 50.0),
        ({"ratelimit": "limit=100, remaining=1, reset=50"}, None),
        ({"x-ratelimit-reset": "9" * 5000}, None),
        ({"x-ratelimit-reset": "soon", "ratelimit": ";;==,,t=x,\x00"}, None),
        ({}, None),
    ],
)
def test_how_long_a_server_wants_to_be_left_alone(
    fields: dict[str, str], seconds: float | None
) -> None:
    assert parse_wait(fields, EPOCH) == pytest.approx(seconds)
    assert parse_wait({**fields, "date": NOW.strftime("%a, %d %b %Y %X GMT")}) == (
        pytest.approx(seconds)
    )


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(WAIT_FIELDS | {"date"})), st.text(max_size=30)))
def test_any_wait_is_read_or_left(fields: dict[str, str]) -> None:
    assert (parse_wait(fields) or 0.0) >= 0.0
    assert says_limited(404, fields) is False


@pytest.mark.parametrize(
    ("fields", "body", "limited"),
    [
        ({"x-ratelimit-remaining": "0"}, b"", True),
        ({"x-ratelimit-remaining": "9"}, b"", False),
        ({"retry-after": "1"}, b"", True),
        ({}, b"<Code>SlowDown</Code>", True),
        ({}, b'{"message": "API rate limit exceeded"}', True),
        ({}, b"<Code>AccessDenied</Code>", False),
    ],
)
def test_a_403_may_be_a_rate_limit(fields: dict[str, str], body: bytes, limited: bool) -> None:
    assert says_limited(403, fields, body) is limited
    assert says_limited(401, fields, body) is False


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ('"abc"', '"abc"'),
        ("0x8DA", '"0x8DA"'),
        ('W/"abc"', None),
        ('w/"abc"', None),
        ('"abc', None),
        ("", None),
        ("a\r\nX: y", None),
    ],
)
def test_strong_etags(text: str, tag: str | None) -> None:
    assert strong_etag(text) == tag


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 4 * 10**9))
def test_dates_there_and_back(seconds: int) -> None:
    assert parse_http_date(http_date(seconds)) == seconds
    assert http_date(seconds + 0.9) == http_date(seconds)


@pytest.mark.parametrize(
    ("etag", "age", "validator"),
    [
        ('"a"', 0, '"a"'),
        (None, 60, http_date(1_000_000)),
        (None, 59, None),
        ('W/"a"', 3600, http_date(1_000_000)),
        (None, -10, None),
    ],
)
def test_what_may_stand_in_if_range(etag: str | None, age: int, validator: str | None) -> None:
    modified, date = http_date(1_000_000), http_date(1_000_000 + age)
    assert strong_validator(etag, modified, date) == validator


def test_a_date_without_a_clock_to_compare_is_weak() -> None:
    assert strong_validator(None, http_date(0), None) is None
    assert strong_validator(None, None, http_date(0)) is None


@settings(max_examples=30, deadline=None)
@given(st.binary(min_size=16, max_size=16))
def test_md5_there_and_back(digest: bytes) -> None:
    assert parse_md5(base64.b64encode(digest).decode()) == digest.hex()


@pytest.mark.parametrize("text", ["AAAA", "not base64!", "A" * 200, "ÄÄ=="])
def test_what_is_no_md5(text: str) -> None:
    assert parse_md5(text) is None


A = {"etag": '"a"'}
FITS = "bytes 10-19/20"


@pytest.mark.parametrize(
    ("status", "content_range", "about", "etag", "meaning"),
    [
        (200, None, {}, None, Take.WHOLE),
        (206, FITS, {}, None, Take.APPEND),
        (206, "bytes 10-19/*", {"total": 20}, None, Take.APPEND),
        (206, "bytes 9-19/20", {}, None, Again.NOW_WHOLE),
        (206, "bytes 10-18/20", {}, None, Again.NOW_WHOLE),
        (206, FITS, {"total": 21}, None, Again.NOW_WHOLE),
        (206, None, {}, None, Again.NOW_WHOLE),
        (206, FITS, A, '"b"', Again.NOW_WHOLE),
        (206, FITS, A, '"a"', Take.APPEND),
        (416, "bytes */10", {}, None, Take.COMPLETE),
        (416, "bytes */11", {}, None, Again.NOW_WHOLE),
        (416, None, {}, None, Again.NOW_WHOLE),
        (416, "bytes */10", A, '"b"', Again.NOW_WHOLE),
        (412, None, {}, None, Again.NOW_WHOLE),
        (404, None, {}, None, Again.NEVER),
        (503, None, {}, None, Again.WHEN_LET),
    ],
)
def test_what_an_answer_to_a_range_means(
    status: int,
    content_range: str | None,
    about: dict[str, object],
    etag: str | None,
    meaning: Take | Again,
) -> None:
    fields = {"content-range": content_range, "etag": etag}
    head = ResponseHead(status, {name: text for name, text in fields.items() if text})
    ask = Ask(Asked.PROBE, offset=10, **about)  # type: ignore[arg-type]
    verdict = verdict_on(head, ask)
    assert meaning in (verdict.take, verdict.again)
    if meaning is Take.COMPLETE:  # of a partial file, some bytes are asked for once more
        assert verdict_on(head, ask._replace(kind=Asked.CONTINUE)).take is Take.REFUSE
