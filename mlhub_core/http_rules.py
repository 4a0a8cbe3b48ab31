"""The rules of HTTP that a downloader lives by, as pure functions.

Header parsers return None for what they cannot read: a broken header counts as an absent one.
Sources: RFC 9110 (ranges, validators, Retry-After), RFC 1864 (Content-MD5).
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import formatdate, parsedate_to_datetime
from enum import Enum

_CONTENT_RANGE = re.compile(r"\s*bytes\s+(\d{1,18})-(\d{1,18})/(\d{1,18}|\*)\s*", re.ASCII | re.I)
_UNSATISFIED = re.compile(r"\s*bytes\s+\*/(\d{1,18})\s*", re.ASCII | re.I)
_DIGITS = re.compile(r"\s*(\d{1,18})\s*", re.ASCII)
_STRONG_DATE_AGE = 60.0
_DATES = (-62_135_596_800, 253_402_300_799)
"""The first and the last moment that a date can say."""
_ETAG = re.compile(r"[\x20\x21\x23-\x7e]{1,1000}")
"""What stands between the quotes of an ETag that is sent back. RFC 9110 allows bytes above 127 and
any length, and not every server and proxy takes those back."""


@dataclass(frozen=True, slots=True)
class ContentRange:
    """``Content-Range`` of a 206: bytes ``first`` to ``last``, both included."""

    first: int
    last: int
    total: int | None


class RangeVerdict(Enum):
    """What an answer to ``Range: bytes=N-`` means for the N bytes that are already here."""

    APPEND = "the rest is coming: append it"
    START_OVER = "the whole file is coming: drop what is here"
    COMPLETE = "nothing is missing"
    ASK_AGAIN = "what is here is of no use: ask for the whole file"
    ERROR = "an error; its status decides"


def is_retryable(status: int) -> bool:
    """Whether a failure with this status may pass: 408, 429 and all 5xx."""
    return status in (408, 429) or 500 <= status <= 599


def parse_length(value: str | None) -> int | None:
    """Read ``Content-Length``; said several times over, it counts as said once."""
    found = {_DIGITS.fullmatch(one) for one in set((value or "").split(","))}
    lengths = {int(match[1]) if match else None for match in found}
    return lengths.pop() if len(lengths) == 1 else None


def parse_content_range(value: str | None) -> ContentRange | None:
    """Read ``Content-Range: bytes 10-19/20``; contradictory ranges count as unreadable."""
    match = _CONTENT_RANGE.fullmatch(value or "")
    if not match:
        return None
    first, last = int(match[1]), int(match[2])
    total = None if match[3] == "*" else int(match[3])
    if last < first or (total is not None and last >= total):
        return None
    return ContentRange(first, last, total)


def parse_unsatisfied_range(value: str | None) -> int | None:
    """Read the length in ``Content-Range: bytes */20`` of a 416."""
    match = _UNSATISFIED.fullmatch(value or "")
    return int(match[1]) if match else None


def parse_retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Read ``Retry-After``, seconds or a date.

    Returns:
        Seconds to wait, never negative.
    """
    if not value:
        return None
    text = value.strip()
    if re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII):
        seconds = float(text)
        return seconds if math.isfinite(seconds) else None
    try:
        moment = parsedate_to_datetime(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None


def strong_etag(value: str | None) -> str | None:
    """An ETag fit for If-Range, in quotes: weak ones are not, unquoted ones (Azure) are."""
    text = (value or "").strip(" \t")
    if text[:2] in ("W/", "w/"):
        return None
    if len(text) >= 2 and text[0] == text[-1] == '"':
        text = text[1:-1]
    return f'"{text}"' if _ETAG.fullmatch(text) else None


def is_validator(value: str) -> bool:
    """Whether a text can stand in If-Range as it is: :func:`strong_validator` gives no other."""
    return strong_etag(value) == value or _is_http_date(value)


def _is_http_date(value: str) -> bool:
    moment = parse_http_date(value)
    return moment is not None and http_date(moment) == value


def _differ(old: str | None, new: str | None) -> bool:
    """Whether two ETags name two states of a file, be they weak or hold any bytes at all."""
    tags = [(tag or "").strip(" \t").removeprefix("W/").strip('"') for tag in (old, new)]
    return all(tags) and tags[0] != tags[1]


def http_date(seconds: float) -> str:
    """A moment of the system clock as an HTTP date, rounded down to the second.

    Of times beyond what a date can say, which files may have, it is the nearest that it can.
    """
    first, last = _DATES
    return formatdate(max(first, min(math.floor(seconds), last)), usegmt=True)


def parse_http_date(value: str | None) -> float | None:
    """Read ``Last-Modified`` or ``Date``.

    Returns:
        Seconds since 1970.
    """
    text = (value or "").strip()
    if text.count(",") > 1:  # two dates in one, which a lenient parser takes for the first
        return None
    try:
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def strong_validator(etag: str | None, last_modified: str | None, date: str | None) -> str | None:
    """What may stand in If-Range for an answer with these headers.

    A strong ETag, else a ``Last-Modified`` at least a minute older than the answer's ``Date``: a
    younger one could belong to two states of a file that changed within one second.
    """
    tag = strong_etag(etag)
    if tag:
        return tag
    changed, answered = parse_http_date(last_modified), parse_http_date(date)
    if changed is None or answered is None or answered - changed < _STRONG_DATE_AGE:
        return None
    return http_date(changed)


def parse_md5(value: str | None) -> str | None:
    """Read ``Content-MD5`` (base64 of 16 bytes).

    Returns:
        The digest in hexadecimal.
    """
    try:
        raw = base64.b64decode((value or "").strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw.hex() if len(raw) == 16 else None


def judge_range(
    status: int,
    content_range: str | None,
    offset: int,
    *,
    etag: str | None = None,
    expected_etag: str | None = None,
    modified: str | None = None,
    expected_modified: str | None = None,
    expected_total: int | None = None,
) -> RangeVerdict:
    """Decide what an answer to ``Range: bytes={offset}-`` is good for.

    Args:
        status: The answer's status.
        content_range: Its ``Content-Range``.
        offset: Bytes already here.
        etag: Its ``ETag``.
        expected_etag: The ETag that the bytes here came with.
        modified: Its ``Last-Modified``.
        expected_modified: The one that the bytes here came with.
        expected_total: The length of the whole file as far as it was known.
    """
    if status == 200:
        # The server ignores ranges, or If-Range told it that the file is another one by now.
        return RangeVerdict.START_OVER
    if status in (206, 416):
        if _differ(expected_etag, etag):
            return RangeVerdict.ASK_AGAIN  # If-Range was ignored; these are another file's bytes
        if not (etag and expected_etag) and _differ(expected_modified, modified):
            return RangeVerdict.ASK_AGAIN
    if status == 206:
        got = parse_content_range(content_range)
        # Less than was asked for is not worth the bookkeeping.
        ends = () if got is None else (expected_total, got.total, got.last + 1)
        fits = got is not None and got.first == offset and len({*ends} - {None}) == 1
        return RangeVerdict.APPEND if fits else RangeVerdict.ASK_AGAIN
    if status == 416:
        # A cache that kept half of a file calls the half the whole.
        total = parse_unsatisfied_range(content_range)
        whole = total == offset and expected_total in (None, offset)
        return RangeVerdict.COMPLETE if whole else RangeVerdict.ASK_AGAIN
    if status == 412:
        return RangeVerdict.ASK_AGAIN  # If-Unmodified-Since: it is another file by now
    return RangeVerdict.ERROR
