"""Heads, verdicts, decisions and delays: no server, no disk."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlhub_core.if_exists import DownloadIfExistsOpts as IfExists
from mlhub_core.net.response import ResponseHead, digests_of, parse_head
from mlhub_core.net.resume import Ask, Asked, Take, verdict_on
from mlhub_core.net.retry import Again, delay_before
from mlhub_core.settings import TransferSettings
from mlhub_core.transfer.decide import Action, Situation, decide
from mlhub_core.transfer.ledger import Entry, State

# Heads


def test_the_last_head_counts() -> None:
    lines = [
        b"HTTP/1.1 302 Found\r\n",
        b"Location: /x\r\n",
        b"ETag: old\r\n",
        b"\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"etag:  new \r\n",
        b"Content-Length: 5\r\n",
        b"X-Other: 1\r\n",
        b"\r\n",
        b"Content-MD5: a trailer\r\n",
        b"\r\n",
    ]
    fields = {"etag": "new", "content-length": "5"}
    assert parse_head(lines) == ResponseHead(200, fields, ("/x",))


@pytest.mark.parametrize(
    "lines",
    [[], [b"HTTP/1.1 200 OK\r\n"], [b"HTTP/1.1\r\n", b"\r\n"], [b"HTTP/1.1 x y\r\n", b"\r\n"]],
)
def test_no_head(lines: list[bytes]) -> None:
    assert parse_head(lines) is None


@given(st.lists(st.binary(max_size=30) | st.sampled_from([b"\r\n", b"HTTP/1.1 200 OK\r\n"])))
def test_any_lines_are_read(lines: list[bytes]) -> None:
    head = parse_head(lines)
    assert head is None or head.status >= 0


# Verdicts


@given(
    st.integers(100, 599),
    st.dictionaries(
        st.sampled_from(
            ["content-range", "content-length", "etag", "last-modified", "retry-after"]
        ),
        st.text(max_size=20)
        | st.builds("bytes {}-{}/{}".format, *[st.integers(0, 9)] * 3)
        | st.builds("bytes */{}".format, st.integers(0, 9)),
    ),
    st.sampled_from(Asked),
    st.integers(1, 9),
)
def test_a_body_is_taken_only_where_it_belongs(
    status: int, fields: dict[str, str], kind: Asked, offset: int
) -> None:
    verdict = verdict_on(ResponseHead(status, fields), Ask(kind, offset=offset, mtime=0.0))
    if verdict.take is Take.WHOLE:
        assert status in (200, 203)
    elif verdict.take is Take.APPEND:
        assert status == 206
        assert kind in (Asked.CONTINUE, Asked.PROBE)
        assert fields["content-range"].strip().lower().startswith(f"bytes {offset}-")
        assert verdict.total is not None
        assert verdict.total > offset
    elif verdict.take is Take.COMPLETE:
        assert status == (304 if kind is Asked.CHANGED else 416)
    else:
        assert verdict.cause
        assert verdict.again is not Again.NOW_WHOLE or kind in (Asked.CONTINUE, Asked.PROBE)


def test_content_md5_of_a_part_is_not_that_of_the_whole() -> None:
    fields = {"content-md5": "1B2M2Y8AsgTpgAmY7PhCfg=="}
    assert digests_of(ResponseHead(206, fields)) == []
    assert digests_of(ResponseHead(200, fields)) == [("md5", "d41d8cd98f00b204e9800998ecf8427e")]


def test_a_part_in_a_coding_is_not_appended() -> None:
    fields = {"content-range": "bytes 5-9/10", "content-encoding": "gzip"}
    assert verdict_on(ResponseHead(206, fields), Ask(Asked.CONTINUE, offset=5)).take is Take.REFUSE


def test_transfer_encoding_overrides_content_length() -> None:
    head = ResponseHead(200, {"content-length": "3", "transfer-encoding": "chunked"})
    assert verdict_on(head, Ask(Asked.WHOLE)).total is None


# Decisions


def entry(**changes: object) -> Entry:
    base = Entry("p", 10, "aa", None, None, "", State.VERIFIED, 1.0)
    return base._replace(**changes)


OTHER = {"unchanged": False, "checksum": ("md5", "x")}
UNSURE = {"unchanged": None, "checksum": ("md5", "x")}
OUTDATED = entry(state=State.OUTDATED)


@pytest.mark.parametrize(
    ("resume", "skip", "about"),
    [
        (Action.FETCH, Action.FETCH, {}),
        (Action.CONTINUE, Action.CONTINUE, {"partial": True}),
        (Action.PROBE, Action.ADOPT, {"local_size": 10}),
        (Action.PROBE, Action.ADOPT, {"local_size": 10, "size": 10}),
        (Action.PROBE, Action.ADOPT, {"local_size": 9, "size": 10}),
        (Action.FETCH, Action.ADOPT, {"local_size": 11, "size": 10}),
        (Action.CONTINUE, Action.ADOPT, {"local_size": 11, "size": 10, "partial": True}),
        (Action.FETCH, Action.ADOPT, {"local_size": 0}),
        (Action.COMPARE, Action.ADOPT, {"local_size": 10, "checksum": ("md5", "x")}),
        (Action.COMPARE, Action.ADOPT, {"local_size": 10, "size": 10, "checksum": ("md5", "x")}),
        (Action.PROBE, Action.ADOPT, {"local_size": 9, "size": 10, "checksum": ("md5", "x")}),
        (Action.KEEP, Action.KEEP, {"local_size": 10, "entry": entry()}),
        (Action.KEEP, Action.KEEP, {"local_size": 10, "entry": entry(state=State.ADOPTED)}),
        (Action.PROBE, Action.KEEP, {"local_size": 10, "entry": entry(state=State.UNCHECKED)}),
        (Action.FETCH, Action.ADOPT, {"local_size": 9, "entry": entry()}),
        (Action.FETCH, Action.FETCH, {"local_size": None, "entry": entry()}),
        (Action.FETCH, Action.KEEP, {"local_size": 10, "entry": entry(), "unchanged": False}),
        (Action.COMPARE, Action.KEEP, {"local_size": 10, "entry": entry(), **OTHER}),
        (Action.COMPARE, Action.KEEP, {"local_size": 10, "entry": entry(), **UNSURE}),
        (Action.COMPARE, Action.COMPARE, {"local_size": 10, "entry": OUTDATED, **OTHER}),
        (Action.FETCH, Action.FETCH, {"local_size": 10, "entry": OUTDATED}),
        (Action.FETCH, Action.FETCH, {"local_size": 10, "entry": entry(state=State.DAMAGED)}),
        (Action.FETCH, Action.KEEP, {"local_size": 10, "entry": entry(), "size": 9, **OTHER}),
        (Action.KEEP, Action.KEEP, {"local_size": 10, "entry": entry(), "checksum": ("md5", "x")}),
    ],
)
def test_the_table(resume: Action, skip: Action, about: dict[str, object]) -> None:
    assert decide(Situation(IfExists.resume, **about)) is resume  # type: ignore[arg-type]
    assert decide(Situation(IfExists.skip, **about)) is skip  # type: ignore[arg-type]
    assert decide(Situation(IfExists.overwrite, **about)) is Action.FETCH  # type: ignore[arg-type]


# Delays


def test_delays_grow_and_are_capped() -> None:
    settings = TransferSettings(backoff_base=1.0, backoff_cap=8.0, retry_after_cap=20.0)
    for attempt, ceiling in zip(range(1, 7), (1, 2, 4, 8, 8, 8), strict=True):
        for _ in range(20):
            assert ceiling / 2 <= delay_before(attempt, None, settings) <= ceiling
    assert delay_before(1, 7.0, settings) == 7.0
    assert delay_before(1, 1e12, settings) == 20.0
    assert delay_before(10**9, 0.0, settings) <= 8.0
    spread = {delay_before(3, None, settings) for _ in itertools.repeat(None, 20)}
    assert len(spread) > 1
