"""The resume machine: what to ask for, and what an answer is worth, decided from its head alone.

Pure: it knows neither the network nor the disk. Assets and archives go by it.

======  ==================================================  ===================================
status  asked for                                           verdict
======  ==================================================  ===================================
200     the whole, or the rest                              take it as the whole file
206     the rest                                            append, if it is the right rest
304     the whole, if it is not the one that is here        complete
416     the rest of what lies there                         complete, if the length agrees
416     the rest of a partial file, and some bytes of it    ask for the whole
206     the whole                                           refuse: nobody asked for a part
412     the rest, unless it changed                         it did: ask for the whole
4xx     anything                                            refuse for good (408, 429: for now)
5xx     anything                                            refuse for now
======  ==================================================  ===================================

A body in a content coding that nobody asked for is taken as a whole, if the coding can be taken
back or the catalog tells what the file is: :mod:`~mlhub_core.net.coding` decides when all of it is
here. Parts of one are never put together. Any other is refused, once more asked for, and then
failed.
"""

from __future__ import annotations

from enum import Enum
from http import HTTPStatus
from typing import NamedTuple

from mlhub_core.net.response import (
    ResponseHead,
    body_length,
    has_changed,
    http_date,
    misframing,
    parse_codings,
    parse_content_range,
    parse_http_date,
    parse_unsatisfied_range,
)
from mlhub_core.net.retry import OVERLOADED, Again, is_retryable, parse_wait, says_limited

DECODED = frozenset({"br", "bzip2", "deflate", "gzip", "zstd"})
"""Content codings that can be taken back."""
PACKED = {
    "br": ((".br",), b""),
    "bzip2": ((".bz2", ".tbz", ".tbz2"), b"BZh"),
    "compress": ((".z",), b"\x1f\x9d"),
    "gzip": ((".gz", ".tgz"), b"\x1f\x8b"),
    "lz4": ((".lz4",), b"\x04\x22\x4d\x18"),
    "lzma": ((".lzma",), b""),
    "xz": ((".xz", ".txz"), b"\xfd7zXZ\x00"),
    "zstd": ((".zst", ".tzst"), b"\x28\xb5\x2f\xfd"),
}
"""Extensions of files that are packed alike, by content coding, and what those begin with."""
UNKNOWN_CODING = "in a coding that cannot be decoded"


class Take(Enum):
    """What a body is good for."""

    WHOLE = "the whole file"
    APPEND = "the rest of it"
    COMPLETE = "nothing is missing"
    REFUSE = "none of it"


class Asked(Enum):
    """What was asked for."""

    WHOLE = "the whole file"
    CHANGED = "the whole file, if it is not the one that is here, If-None-Match"
    CONTINUE = "the rest of a partial file of ours, If-Range"
    PROBE = "the rest of a file that lies there, If-Unmodified-Since"


class Expected(NamedTuple):
    """What the catalog says of a file.

    Attributes:
        suffix: Extension of its name, lower case.
        size: Bytes, None where it does not say.
        checksum: Algorithm and digest, None where it does not say.
    """

    suffix: str = ""
    size: int | None = None
    checksum: tuple[str, str] | None = None

    @property
    def is_told(self) -> bool:
        """Whether the catalog tells the file from others."""
        return self.size is not None or self.checksum is not None


class Ask(NamedTuple):
    """A request, as far as its answer goes by it.

    Attributes:
        kind: What was asked for.
        expected: What the catalog says of the file.
        offset: Where the rest is to begin; of a partial file, it may be before its end.
        total: Bytes of the whole as known from an earlier answer.
        etag: ETag that the bytes here came with.
        modified: ``Last-Modified`` that they came with.
        mtime: Modification time of the file here, for a probe.
    """

    kind: Asked
    expected: Expected = Expected()
    offset: int = 0
    total: int | None = None
    etag: str | None = None
    modified: str | None = None
    mtime: float | None = None

    def fields(self, validator: str | None = None) -> dict[str, str]:
        """The header fields by which it is asked for; none for the whole file.

        Args:
            validator: Of what is here: for If-Range and If-None-Match.
        """
        if self.kind is Asked.WHOLE:
            return {}
        if self.kind is Asked.CHANGED:
            return {"If-None-Match": validator or ""}
        if self.kind is Asked.CONTINUE:
            condition = {"If-Range": validator or ""}
        else:
            condition = {"If-Unmodified-Since": http_date(self.mtime or 0.0)}
        return {"Range": f"bytes={self.offset}-", **condition}


class Verdict(NamedTuple):
    """What is done with a response.

    Attributes:
        take: What its body is good for.
        total: Bytes that the whole file must have, None where nothing says.
        cause: Why it is refused, in words that group well.
        detail: The numbers of this case.
        again: Whether to ask again.
        wait: Seconds that the host wants to be left alone for, None where it does not say.
        coding: What the body has to be decoded from, None for nothing.
    """

    take: Take
    total: int | None = None
    cause: str = ""
    detail: str = ""
    again: Again = Again.NEVER
    wait: float | None = None
    coding: str | None = None


def verdict_on(head: ResponseHead, ask: Ask) -> Verdict:
    """Decide what a response is good for."""
    if ask.kind is Asked.CHANGED and head.status == 304:
        return Verdict(Take.COMPLETE)
    # Where the rest was asked for, 200 says that the server ignores ranges, or that the file is
    # another one by now.
    if ask.kind in (Asked.WHOLE, Asked.CHANGED) or head.status == 200:
        return _verdict_on_whole(head, ask)
    if head.status == 412 or (head.status in (206, 416) and _is_another(head, ask)):
        return ANOTHER_REST
    if head.status == 206:
        return _verdict_on_rest(head, ask)
    if head.status == 416:
        # A cache that kept half of a file calls the half the whole.
        total = parse_unsatisfied_range(head.get("content-range"))
        is_whole = total == ask.offset and _known_total(ask) in (None, total)
        complete = is_whole and ask.kind is Asked.PROBE
        return Verdict(Take.COMPLETE, total=total) if complete else ANOTHER_REST
    return _refuse_status(head)


def _verdict_on_whole(head: ResponseHead, ask: Ask) -> Verdict:
    if head.status == 206:
        return _refuse("a part in answer to a request for the whole file", Again.LATER)
    if head.status not in (200, 203):
        return _refuse_status(head)
    if cause := misframing(head.fields):
        return _refuse(cause, Again.LATER)
    total, size = body_length(head), ask.expected.size
    if codings := parse_codings(head.get("content-encoding")):
        return _verdict_on_coded(codings, ask.expected, total)
    if size is not None and total not in (None, size):
        detail = f"{size} bytes in the catalog, {total} from the server"
        return _refuse("another size than in the catalog", Again.ONCE, detail)
    if _contradicts(head, ask, total):
        detail = f"{ask.total} bytes at first, {total} later"
        return _refuse("another length than an earlier answer gave", Again.LATER, detail)
    return Verdict(Take.WHOLE, total=total if size is None else size)


def _verdict_on_coded(codings: list[str], expected: Expected, total: int | None) -> Verdict:
    """The catalog's size may be that of the plain bytes, so it is looked at later."""
    coding = ", ".join(codings)
    packed, _ = PACKED.get(coding, ((), b""))
    if coding in DECODED or expected.is_told or expected.suffix in packed:
        return Verdict(Take.WHOLE, total=total, coding=coding)
    return _refuse(UNKNOWN_CODING, Again.ONCE, f"Content-Encoding {coding}")


def _verdict_on_rest(head: ResponseHead, ask: Ask) -> Verdict:
    got = parse_content_range(head.get("content-range"))
    # Less than was asked for is not worth the bookkeeping.
    ends = () if got is None else (_known_total(ask), got.total, got.last + 1)
    if got is None or got.first != ask.offset or len({*ends} - {None}) != 1:
        return ANOTHER_REST
    if parse_codings(head.get("content-encoding")):
        return _refuse("the rest is compressed", Again.NOW_WHOLE)
    if cause := misframing(head.fields):
        return _refuse(cause, Again.LATER)
    return Verdict(Take.APPEND, total=got.last + 1)


def _known_total(ask: Ask) -> int | None:
    return ask.total if ask.expected.size is None else ask.expected.size


def _is_another(head: ResponseHead, ask: Ask) -> bool:
    """Whether a server that ignored the condition of a request should not have."""
    if has_changed(ask.etag, head.get("etag"), ask.modified, head.get("last-modified")):
        return True
    changed = parse_http_date(head.get("last-modified"))
    return changed is not None and ask.mtime is not None and changed > ask.mtime


def _contradicts(head: ResponseHead, ask: Ask, total: int | None) -> bool:
    """Whether a file that has not changed is said to have another length: caches keep halves."""
    if total is None or ask.total in (None, total):
        return False
    return not has_changed(ask.etag, head.get("etag"), ask.modified, head.get("last-modified"))


def _refuse(cause: str, again: Again, detail: str = "") -> Verdict:
    return Verdict(Take.REFUSE, cause=cause, detail=detail, again=again)


ANOTHER_REST = _refuse("the rest does not fit what is here", Again.NOW_WHOLE)


def _refuse_status(head: ResponseHead) -> Verdict:
    if head.status in OVERLOADED or says_limited(head.status, head.fields):
        again = Again.WHEN_LET
    else:
        again = Again.LATER if is_retryable(head.status) else Again.NEVER
    wait = None if again is Again.NEVER else parse_wait(head.fields)
    return Verdict(Take.REFUSE, cause=_status_text(head.status), again=again, wait=wait)


def _status_text(status: int) -> str:
    try:
        return f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP {status}"
