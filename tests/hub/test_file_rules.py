from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlhub_core.hub.files import Answer, FileState, decide

SECOND = 1_000_000_000
FILE = FileState(size=100, mtime_ns=1_600_000_000 * SECOND + 5)
SAME = "Sun, 13 Sep 2020 12:26:40 GMT"
BEFORE = "Sun, 13 Sep 2020 12:26:39 GMT"
AFTER = "Sun, 13 Sep 2020 12:26:41 GMT"
WHOLE = Answer(200, 0, 100)
PART = Answer(206, 10, 90)


def test_the_date_of_the_file_is_the_one_the_tests_assume() -> None:
    assert FILE.last_modified == SAME


@settings(max_examples=25)
@given(st.integers(0, 130), st.integers(0, 130), st.integers(0, 120))
def test_a_range_gives_what_a_slice_gives(first: int, last: int, size: int) -> None:
    data = bytes(range(size))
    answer = decide("GET", {"range": f"bytes={first}-{last}"}, FileState(size, 0))
    if last < first:
        assert answer == Answer(200, 0, size)
    elif first >= size:
        assert answer == Answer(416)
    else:
        assert answer.status == 206
        cut = data[answer.first : answer.first + answer.length]
        assert cut == data[first : last + 1]
        assert answer.length == len(cut)


@settings(max_examples=25)
@given(st.integers(1, 130), st.integers(1, 120))
def test_a_suffix_range_gives_the_end(count: int, size: int) -> None:
    data = bytes(range(size))
    answer = decide("GET", {"range": f"bytes=-{count}"}, FileState(size, 0))
    assert answer.status == 206
    assert data[answer.first : answer.first + answer.length] == data[-count:]
    assert answer.first + answer.length == size


@settings(max_examples=25)
@given(st.text(max_size=40), st.integers(0, 50))
def test_any_range_header_leaves_bytes_within_the_file(text: str, size: int) -> None:
    for header in (text, f"bytes={text}"):
        answer = decide("GET", {"range": header}, FileState(size, 0))
        assert answer.status in (200, 206, 416)
        assert 0 <= answer.first <= answer.first + answer.length <= size


@pytest.mark.parametrize(
    "header",
    [
        *("", "bytes", "bytes=", "bytes=-", "bytes=a-b", "items=0-1", "bytes=0-1,5-6"),
        *("bytes=5-2", "bytes=1-2-3", "bytes=+1-2", "bytes=\u0663-"),
    ],
)
def test_a_range_that_cannot_be_read_is_as_none(header: str) -> None:
    assert decide("GET", {"range": header}, FILE) == WHOLE


@pytest.mark.parametrize(
    ("header", "size", "answer"),
    [
        ("bytes=-0", 100, Answer(416)),
        ("bytes=0-", 0, Answer(416)),
        ("bytes=-5", 0, Answer(200)),
        ("bytes=-0", 0, Answer(416)),
        ("bytes=" + "9" * 5000 + "-", 100, Answer(416)),
        ("bytes=0-" + "9" * 5000, 100, Answer(206, 0, 100)),
        ("bytes=-" + "9" * 5000, 100, Answer(206, 0, 100)),
        (" BYTES = 10-19 ", 100, Answer(206, 10, 10)),
    ],
)
def test_ranges_at_the_edge(header: str, size: int, answer: Answer) -> None:
    assert decide("GET", {"range": header}, FileState(size, 0)) == answer


@pytest.mark.parametrize(
    ("if_range", "answer"),
    [
        (FILE.etag, PART),
        (SAME, PART),
        ('"other"', WHOLE),
        ("W/" + FILE.etag, WHOLE),
        (BEFORE, WHOLE),
        (AFTER, WHOLE),
        ("nonsense", WHOLE),
    ],
)
def test_if_range_wants_exactly_this_state(if_range: str, answer: Answer) -> None:
    assert decide("GET", {"range": "bytes=10-", "if-range": if_range}, FILE) == answer


def test_a_head_tells_of_the_whole_file() -> None:
    assert decide("HEAD", {"range": "bytes=10-"}, FILE) == WHOLE


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"if-none-match": FILE.etag}, 304),
        ({"if-none-match": f'"x", W/{FILE.etag}'}, 304),
        ({"if-none-match": "*"}, 304),
        ({"if-none-match": '"x"'}, 200),
        ({"if-none-match": '"x"', "if-modified-since": AFTER}, 200),
        ({"if-modified-since": SAME}, 304),
        ({"if-modified-since": AFTER}, 304),
        ({"if-modified-since": BEFORE}, 200),
        ({"if-modified-since": "yesterday"}, 200),
        ({"if-modified-since": "Sun, 99 Sep 99999 12:26:40 GMT"}, 200),
        ({"if-unmodified-since": SAME}, 200),
        ({"if-unmodified-since": BEFORE}, 412),
        ({"if-unmodified-since": "yesterday"}, 200),
        ({"if-match": FILE.etag}, 200),
        ({"if-match": f'"x",{FILE.etag}'}, 200),
        ({"if-match": "*"}, 200),
        ({"if-match": '"x"'}, 412),
        ({"if-match": "W/" + FILE.etag}, 412),
        ({"if-match": FILE.etag, "if-unmodified-since": BEFORE}, 200),
        ({"if-match": '"x"', "if-none-match": "*"}, 412),
        ({"if-match": FILE.etag, "if-none-match": FILE.etag}, 304),
        ({"if-unmodified-since": BEFORE, "range": "bytes=0-"}, 412),
        ({"if-none-match": FILE.etag, "range": "bytes=0-"}, 304),
        ({"if-unmodified-since": SAME, "range": "bytes=100-"}, 416),
    ],
)
def test_preconditions(headers: dict[str, str], status: int) -> None:
    assert decide("GET", headers, FILE).status == status


def test_a_change_within_a_second_changes_the_etag() -> None:
    assert FileState(100, 7).etag != FileState(100, 8).etag
    assert FileState(100, 7).etag != FileState(101, 7).etag
