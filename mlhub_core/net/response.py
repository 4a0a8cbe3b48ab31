"""The head of an HTTP response, and what its fields say: pure functions.

Parsers return None for what they cannot read: a broken field counts as an absent one.
Sources: RFC 9110 (ranges, validators), RFC 1864 (Content-MD5).
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import formatdate, parsedate_to_datetime
from types import MappingProxyType
from typing import NamedTuple

WAIT_FIELDS = frozenset(
    {
        *("retry-after", "retry-after-ms", "x-ms-retry-after-ms"),
        *("ratelimit", "ratelimit-reset", "x-ratelimit-reset", "x-rate-limit-reset"),
        *("ratelimit-remaining", "x-ratelimit-remaining", "x-rate-limit-remaining"),
    }
)
"""Fields in which servers say when they may be asked again."""
_WANTED = WAIT_FIELDS | {
    *("connection", "content-encoding", "content-length", "content-md5", "content-range"),
    *("content-type", "date", "etag", "last-modified", "location", "transfer-encoding"),
    "x-ms-blob-content-md5",
}
_NAMES = {name.encode(): name for name in _WANTED}
_STATUS = re.compile(rb"HTTP/\S*\s+([1-9][0-9][0-9])\b")
_MISSPELT = "misspelt"
"""What stands for the value of a ``Transfer-Encoding`` with a space before its colon: libcurl does
not know it, and has not framed the body by it."""

_CONTENT_RANGE = re.compile(r"\s*bytes\s+(\d{1,18})-(\d{1,18})/(\d{1,18}|\*)\s*", re.ASCII | re.I)
_UNSATISFIED = re.compile(r"\s*bytes\s+\*/(\d{1,18})\s*", re.ASCII | re.I)
_DIGITS = re.compile(r"\s*(\d{1,18})\s*", re.ASCII)
_STRONG_DATE_AGE = 60.0
_DATES = (-62_135_596_800, 253_402_300_799)
"""The first and the last moment that a date can say."""
_ETAG = re.compile(r"[\x20\x21\x23-\x7e]{1,1000}")
"""What stands between the quotes of an ETag that is sent back. RFC 9110 allows bytes above 127 and
any length, and not every server and proxy takes those back."""

_CODINGS = {
    **{"brotli": "br", "x-brotli": "br", "bz2": "bzip2", "x-bzip2": "bzip2"},
    **{"x-compress": "compress", "x-gzip": "gzip", "x-lzma": "lzma", "x-snappy": "snappy"},
    **{"x-xz": "xz", "x-zstd": "zstd"},
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


class ResponseHead(NamedTuple):
    """Status and wanted fields, names in lower case.

    Attributes:
        status: The status code.
        fields: The fields.
        locations: Where the redirects that were followed led, in order.
    """

    status: int
    fields: Mapping[str, str] = MappingProxyType({})
    locations: tuple[str, ...] = ()

    def get(self, name: str) -> str | None:
        """A field's value, None when it is absent."""
        return self.fields.get(name)


def parse_head(lines: Iterable[bytes]) -> ResponseHead | None:
    """Read the last head of a response, after redirects and interim answers.

    Of a field that comes twice the values are one list, as RFC 9110 has it.

    Args:
        lines: Header lines as libcurl hands them over, status lines and line ends included.

    Returns:
        None where there is no complete head: the connection broke before the empty line.
    """
    status = None
    fields: dict[str, str] = {}
    locations: list[str] = []
    complete = False
    for line in lines:
        if line[:5] == b"HTTP/":  # another head: what went before was interim or a redirect
            if status is not None and 300 <= status < 400 and "location" in fields:
                locations.append(fields["location"])
            found = _STATUS.match(line)
            status = int(found[1]) if found else None
            fields, complete = {}, False
        elif line in (b"\r\n", b"\n"):
            complete = True
        elif not complete:  # behind the end come trailers
            _add_field(fields, line)
    if not complete or status is None:
        return None
    return ResponseHead(status, fields, tuple(locations))


def _add_field(fields: dict[str, str], line: bytes) -> None:
    spelt, colon, text = line.partition(b":")
    name = _NAMES.get(spelt.lower().rstrip())
    if name is None or not colon:
        return
    value = text.decode("latin-1").strip()
    if name == "transfer-encoding" and len(name) < len(spelt):
        value = _MISSPELT
    before = fields.get(name)
    fields[name] = value if before in (None, value) else f"{before}, {value}"


def parse_length(value: str | None) -> int | None:
    """Read ``Content-Length``; said several times over, it counts as said once."""
    if value is None:
        return None
    if alone := _DIGITS.fullmatch(value):
        return int(alone[1])
    found = {_DIGITS.fullmatch(one) for one in set(value.split(","))}
    lengths = {int(match[1]) if match else None for match in found}
    return lengths.pop() if len(lengths) == 1 else None


def parse_codings(value: str | None) -> list[str]:
    """Read ``Content-Encoding``.

    Returns:
        The codings among what it names, in the order in which they were done.
    """
    names = (name.strip(" \t\"'").lower() for name in (value or "").split(","))
    return [_CODINGS[name] for name in names if name in _CODINGS]


def is_chunked(head: ResponseHead) -> bool:
    """Whether chunks tell the end of the body, and not merely the end of the connection."""
    return "chunked" in (head.get("transfer-encoding") or "").lower()


def body_length(head: ResponseHead) -> int | None:
    """How long a body has to be; of chunks nobody knows before the end (RFC 9112)."""
    return None if is_chunked(head) else parse_length(head.get("content-length"))


def misframing(fields: Mapping[str, str]) -> str:
    """Why nobody knows where a body ends, though its head says so; empty where all is well.

    Such a body is no file: with an unknown ``Transfer-Encoding`` it may hold the frames of chunks.

    Args:
        fields: Names in lower case, or any mapping that does not mind.
    """
    encodings = fields.get("transfer-encoding")
    framings = {name.strip().lower() for name in encodings.split(",")} if encodings else set()
    if framings - {"chunked", "identity", ""}:
        return "an unknown Transfer-Encoding"
    length = fields.get("content-length")
    if length and "chunked" not in framings and parse_length(length) is None:
        return "an impossible Content-Length"
    return ""


class ContentRange(NamedTuple):
    """``Content-Range`` of a 206: bytes ``first`` to ``last``, both included."""

    first: int
    last: int
    total: int | None


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


def strong_etag(value: str | None) -> str | None:
    """An ETag fit for If-Range, in quotes: weak ones are not, unquoted ones (Azure) are."""
    text = (value or "").strip(" \t")
    if text[:2] in ("W/", "w/"):
        return None
    if len(text) >= 2 and text[0] == text[-1] == '"':
        text = text[1:-1]
    return f'"{text}"' if _ETAG.fullmatch(text) else None


def strong_validator(etag: str | None, last_modified: str | None, date: str | None) -> str | None:
    """What may stand in If-Range for an answer with these fields.

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


def is_validator(value: str) -> bool:
    """Whether a text can stand in If-Range as it is: :func:`strong_validator` gives no other."""
    moment = parse_http_date(value)
    return strong_etag(value) == value or (moment is not None and http_date(moment) == value)


def has_changed(
    etag: str | None, new_etag: str | None, modified: str | None, new_modified: str | None
) -> bool:
    """Whether ETags, or else dates, of two answers say that a file is another one by now."""
    old, new = (etag, new_etag) if etag and new_etag else (modified, new_modified)
    # Be they weak, or hold any bytes at all.
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
        return timestamp(parsedate_to_datetime(text))
    except (ValueError, TypeError, OverflowError):
        return None


def timestamp(moment: datetime) -> float:
    """A moment in seconds since 1970; one without a zone is UTC."""
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def digests_of(head: ResponseHead) -> list[tuple[str, str]]:
    """Digests of the whole file that a response carries, as ``(algorithm, hexadecimal)``.

    ``Content-MD5`` of a 206 is that of the part, so it counts for a 200 only;
    ``x-ms-blob-content-md5`` is always that of the whole blob.
    """
    names = ["x-ms-blob-content-md5"] + (["content-md5"] if head.status != 206 else [])
    found = (parse_md5(head.fields[name]) for name in names if name in head.fields)
    return [("md5", digest) for digest in found if digest]


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
