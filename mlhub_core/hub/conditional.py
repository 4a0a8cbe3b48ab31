"""What a server answers to a request for a file: ranges and preconditions, as pure functions.

RFC 9110, sections 13 and 14. Headers that cannot be read count as absent, as the RFC asks. Several
ranges in one request are answered with the whole file, which it allows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import formatdate, parsedate_to_datetime

_RANGE = re.compile(r"bytes[ \t]*=[ \t]*(\d*)-(\d*)[ \t]*", re.ASCII | re.IGNORECASE)
_ETAG = re.compile(r'(W/)?("[^"]*")')
_MOST_DIGITS = 18
"""Longer numbers lie beyond every file; converting them is only work for an attacker to give."""


@dataclass(frozen=True, slots=True)
class FileState:
    """What identifies one state of a file.

    Attributes:
        size: Bytes.
        mtime_ns: Time of last change, nanoseconds since the epoch.
    """

    size: int
    mtime_ns: int

    @property
    def etag(self) -> str:
        """A strong ETag, in quotes."""
        return f'"{self.size:x}-{self.mtime_ns:x}"'

    @property
    def modified(self) -> int:
        """Time of last change in whole seconds, which is all that an HTTP date can say."""
        return self.mtime_ns // 1_000_000_000

    @property
    def last_modified(self) -> str:
        """Time of last change as an HTTP date."""
        return formatdate(self.modified, usegmt=True)


@dataclass(frozen=True, slots=True)
class Answer:
    """What to send: the status, and which bytes of the file (none but with 200 and 206)."""

    status: int
    first: int = 0
    length: int = 0


def decide(method: str, headers: Mapping[str, str], file: FileState) -> Answer:
    """Decide how a GET or HEAD for an existing file is answered.

    Args:
        method: ``GET`` or ``HEAD``.
        headers: The request's headers by lower-case name; repeated ones joined by commas.
        file: The file's present state.
    """
    failed = _precondition(headers, file)
    if failed is not None:
        return Answer(failed)
    wanted = headers.get("range")
    # Ranges are defined for GET alone: a HEAD tells the length of the whole file.
    if method == "GET" and wanted is not None and _range_holds(headers.get("if-range"), file):
        return _cut(wanted, file.size)
    return Answer(200, 0, file.size)


def _precondition(headers: Mapping[str, str], file: FileState) -> int | None:
    """The status of the first precondition that decides, in the order the RFC lays down."""
    if not _is_expected(headers, file):
        return 412
    if (tags := headers.get("if-none-match")) is not None:
        return 304 if _matches(tags, file.etag, weak=True) else None
    moment = _seconds(headers.get("if-modified-since"))
    return 304 if moment is not None and file.modified <= moment else None


def _is_expected(headers: Mapping[str, str], file: FileState) -> bool:
    """Whether this is the state that the client asks for; tags come before dates."""
    if (tags := headers.get("if-match")) is not None:
        return _matches(tags, file.etag, weak=False)
    moment = _seconds(headers.get("if-unmodified-since"))
    return moment is None or file.modified <= moment


def _matches(header: str, etag: str, *, weak: bool) -> bool:
    if header.strip() == "*":
        return True
    return any(tag == etag and (weak or not mark) for mark, tag in _ETAG.findall(header))


def _range_holds(if_range: str | None, file: FileState) -> bool:
    """Whether the client's part is of this state of the file; only exact equality counts."""
    return if_range is None or if_range.strip() in (file.etag, file.last_modified)


def _cut(header: str, size: int) -> Answer:
    match = _RANGE.fullmatch(header.strip())
    if not match or not (match[1] or match[2]):
        return Answer(200, 0, size)
    if not match[1]:
        wanted = min(_number(match[2]), size)
        if wanted == 0:
            # The last 0 bytes cannot be had; the last 5 of an empty file are the empty file.
            return Answer(416) if size or not _number(match[2]) else Answer(200)
        return Answer(206, size - wanted, wanted)
    first, last = _number(match[1]), _number(match[2]) if match[2] else size - 1
    if match[2] and last < first:
        return Answer(200, 0, size)
    if first >= size:
        return Answer(416)
    return Answer(206, first, min(last, size - 1) - first + 1)


def _number(digits: str) -> int:
    return int(digits) if len(digits) <= _MOST_DIGITS else 10**_MOST_DIGITS


def _seconds(value: str | None) -> float | None:
    if not value:
        return None
    try:
        moment = parsedate_to_datetime(value)
        # An HTTP date is GMT, even where it does not say so.
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
