"""The rules of HTTP that a downloader lives by, as pure functions.

Header parsers return None for what they cannot read: a broken header counts as an absent one.
Sources: RFC 9110 (ranges, validators, Retry-After), RFC 1864 (Content-MD5).
"""

from __future__ import annotations

import base64
import binascii
import math
import re
import time
from collections.abc import Iterator, Mapping
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
_PLAIN_NUMBER = re.compile(r"\d{1,18}(\.\d{1,9})?", re.ASCII)
_WAIT_MILLISECONDS = ("retry-after-ms", "x-ms-retry-after-ms")
_RESETS = ("ratelimit-reset", "x-ratelimit-reset", "x-rate-limit-reset")
_REMAINING = ("ratelimit-remaining", "x-ratelimit-remaining", "x-rate-limit-remaining")
WAIT_FIELDS = frozenset(("retry-after", "ratelimit", *_WAIT_MILLISECONDS, *_RESETS, *_REMAINING))
"""Fields, in lower case, in which servers say when they may be asked again."""
LIMITING = frozenset({403, 429, 503})
"""Statuses by which a server may say that it is asked too often."""
_LIMITED_WORDS = re.compile(
    rb"rate.?limit|too many requests|slow ?down|requestlimitexceeded|quota exceeded|throttl", re.I
)
_EPOCH_SECONDS = 1e8
_EPOCH_MILLISECONDS = 1e11

_CODINGS = {
    "brotli": "br",
    "bz2": "bzip2",
    "x-brotli": "br",
    "x-bzip2": "bzip2",
    "x-compress": "compress",
    "x-gzip": "gzip",
    "x-lzma": "lzma",
    "x-snappy": "snappy",
    "x-xz": "xz",
    "x-zstd": "zstd",
    **{
        name: name
        for name in (
            *("aes128gcm", "br", "bzip2", "compress", "dcb", "dcz", "deflate", "exi", "gzip"),
            *("lz4", "lzma", "pack200-gzip", "snappy", "xz", "zstd"),
        )
    },
}
"""Content codings: the registered ones, and those in use. What else stands in ``Content-Encoding``
(``aws-chunked``, ``utf-8``, ``binary``, ``none``) has been done to no bytes."""


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


def parse_codings(value: str | None) -> list[str]:
    """Read ``Content-Encoding``.

    Returns:
        The codings among what it names, in the order in which they were done.
    """
    if not value:
        return []
    names = (name.strip(" \t\"'").lower() for name in value.split(","))
    return [_CODINGS[name] for name in names if name in _CODINGS]


def misframing(transfer_encoding: str | None, content_length: str | None) -> str:
    """Why nobody knows where a body ends, though its head says so; empty where all is well.

    Such a body is no file: with an unknown ``Transfer-Encoding`` it may hold the frames of chunks.
    """
    framings = {name.strip().lower() for name in (transfer_encoding or "").split(",")}
    if framings - {"chunked", "identity", ""}:
        return "an unknown Transfer-Encoding"
    if content_length and "chunked" not in framings and parse_length(content_length) is None:
        return "an impossible Content-Length"
    return ""


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


def parse_wait(fields: Mapping[str, str], now: float | None = None) -> float | None:
    """Read how long a server wants to be left alone, whichever of the usual ways it says so.

    ``Retry-After``, its forms in milliseconds, ``RateLimit`` and ``RateLimit-Reset`` of the IETF
    drafts, ``X-RateLimit-Reset`` in seconds from now or since 1970. A reset is of no interest as
    long as something remains.

    Args:
        fields: The header, names in lower case or any mapping that does not mind.
        now: Seconds since 1970; None takes the answer's ``Date``, or else our clock.

    Returns:
        Seconds, never negative; None where it does not say.
    """
    if now is None:
        now = parse_http_date(fields.get("date"))
    if now is None or not 0 < now < _EPOCH_MILLISECONDS:
        now = time.time()
    wait = parse_retry_after(fields.get("retry-after"), datetime.fromtimestamp(now, UTC))
    if wait is not None:
        return wait
    for name in _WAIT_MILLISECONDS:
        if (number := _number(fields.get(name))) is not None:
            return number / 1000
    if not any(_number(fields.get(name)) for name in _REMAINING):
        for name in _RESETS:
            if (wait := _until_reset(fields.get(name), now)) is not None:
                return wait
    return max(_policy_waits(fields.get("ratelimit") or "", now), default=None)


def says_limited(status: int, fields: Mapping[str, str], body: bytes = b"") -> bool:
    """Whether a 403 is a rate limit rather than a refusal: by its header, or what its body says."""
    if status != 403:
        return False
    used_up = any(_number(fields.get(name)) == 0 for name in _REMAINING)
    return used_up or bool(fields.get("retry-after") or _LIMITED_WORDS.search(body))


def _policy_waits(value: str, now: float) -> Iterator[float]:
    """The waits in ``RateLimit: "default";r=0;t=30``, or ``limit=9, remaining=0, reset=30``."""
    policies = [value] if "remaining" in value.lower() else value.split(",")
    for policy in policies:
        pairs = (part.partition("=") for part in re.split("[;,]", policy))
        said = {name.strip().lower(): text.strip() for name, _, text in pairs}
        wait = _until_reset(said.get("t", said.get("reset")), now)
        if wait is not None and not _number(said.get("r", said.get("remaining"))):
            yield wait


def _until_reset(value: str | None, now: float) -> float | None:
    """Seconds until a moment that is given by its distance, since 1970, or as a date."""
    number = _number(value)
    if number is None:
        moment = _parse_iso(value) or parse_http_date(value)
        return None if moment is None else max(0.0, moment - now)
    if number >= _EPOCH_MILLISECONDS:
        number /= 1000
    return max(0.0, number - now) if number >= _EPOCH_SECONDS else number


def _parse_iso(value: str | None) -> float | None:
    try:
        moment = datetime.fromisoformat((value or "").strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _number(value: str | None) -> float | None:
    text = (value or "").strip()
    return float(text) if _PLAIN_NUMBER.fullmatch(text) else None


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


def has_changed(
    etag: str | None, new_etag: str | None, modified: str | None, new_modified: str | None
) -> bool:
    """Whether ETags, or else dates, of two answers say that a file is another one by now."""
    if etag and new_etag:
        return _differ(etag, new_etag)
    return _differ(modified, new_modified)


def _differ(old: str | None, new: str | None) -> bool:
    """Whether two validators differ, be they weak or hold any bytes at all."""
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
    if status in (206, 416) and has_changed(expected_etag, etag, expected_modified, modified):
        return RangeVerdict.ASK_AGAIN  # If-Range was ignored; these are another file's bytes
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
