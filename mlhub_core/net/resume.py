"""What to do with a response, decided from its head alone: pure, before one byte is taken.

======  ==================================================  ===================================
status  asked for                                           verdict
======  ==================================================  ===================================
200     the whole, or the rest                              take it as the whole file
206     the rest                                            append, if it is the right rest
416     the rest of what lies there                         complete, if the length agrees
416     the rest of a partial file, and some bytes of it    ask for the whole
206     the whole                                           refuse: nobody asked for a part
412     the rest, unless it changed                         it did: ask for the whole
4xx     anything                                            refuse for good (408, 429: for now)
5xx     anything                                            refuse for now
======  ==================================================  ===================================

A body in a content coding that nobody asked for is taken as a whole, if the coding can be taken
back or the catalog tells what the file is: :mod:`~mlhub_core.transfer.coding` decides when all of
it is here. Parts of one are never put together. Any other is refused, once more asked for, and
then failed.
"""

from __future__ import annotations

from enum import Enum
from http import HTTPStatus
from typing import NamedTuple

from mlhub_core.net.head import ResponseHead
from mlhub_core.net.response import (
    RangeVerdict,
    has_changed,
    is_retryable,
    judge_range,
    misframing,
    parse_codings,
    parse_content_range,
    parse_http_date,
    parse_length,
    parse_md5,
    parse_wait,
    says_limited,
)

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


class Again(Enum):
    """Whether another request makes sense after a failed one."""

    NEVER = "final"
    NOW_WHOLE = "at once, for the whole file"
    ONCE = "one more time"
    LATER = "until the attempts are used up"
    WHEN_LET = "when the host lets us, which costs no attempt"


class Kind(Enum):
    """What was asked for."""

    WHOLE = "the whole file"
    CONTINUE = "the rest of a partial file of ours, If-Range"
    PROBE = "the rest of a file that lies there, If-Unmodified-Since"


class Ask(NamedTuple):
    """A request, as far as its answer is judged by it.

    Attributes:
        kind: What was asked for.
        suffix: Extension of the file, lower case.
        offset: Where the rest is to begin; of a partial file, before its end.
        total: Bytes of the whole as known from an earlier answer.
        size: Bytes of the whole as the catalog gives them.
        has_checksum: Whether the catalog gives a checksum.
        etag: ETag that the bytes here came with.
        modified: ``Last-Modified`` that they came with.
        mtime: Modification time of the file here, for a probe.
    """

    kind: Kind
    suffix: str = ""
    offset: int = 0
    total: int | None = None
    size: int | None = None
    has_checksum: bool = False
    etag: str | None = None
    modified: str | None = None
    mtime: float | None = None


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


def judge(head: ResponseHead, ask: Ask) -> Verdict:
    """Decide what a response is good for."""
    if ask.kind is Kind.WHOLE:
        return _judge_whole(head, ask)
    if ask.kind is Kind.PROBE and _changed_since(head, ask.mtime):
        return _ask_for_the_whole("changed since it was downloaded")
    ranged = judge_range(
        head.status,
        head.get("content-range"),
        ask.offset,
        etag=head.get("etag"),
        expected_etag=ask.etag,
        modified=head.get("last-modified"),
        expected_modified=ask.modified,
        expected_total=ask.total if ask.size is None else ask.size,
    )
    if ranged is RangeVerdict.START_OVER:
        return _judge_whole(head, ask)
    if ranged is RangeVerdict.COMPLETE and ask.kind is Kind.PROBE:
        return Verdict(Take.COMPLETE, total=ask.offset)
    if ranged in (RangeVerdict.ASK_AGAIN, RangeVerdict.COMPLETE):
        return ANOTHER_REST
    if ranged is RangeVerdict.ERROR:
        return _refuse_status(head)
    if parse_codings(head.get("content-encoding")):
        return _ask_for_the_whole("the rest is compressed")
    if cause := _misframed(head):
        return _refuse(cause, Again.LATER)
    got = parse_content_range(head.get("content-range"))
    return Verdict(Take.APPEND, total=None if got is None else got.last + 1)


def digests_of(head: ResponseHead) -> list[tuple[str, str]]:
    """Digests of the whole file that a response carries, as ``(algorithm, hexadecimal)``.

    ``Content-MD5`` of a 206 is that of the part, so it counts for a 200 only;
    ``x-ms-blob-content-md5`` is always that of the whole blob.
    """
    if "content-md5" not in head.fields and "x-ms-blob-content-md5" not in head.fields:
        return []
    names = ["x-ms-blob-content-md5"] + (["content-md5"] if head.status != 206 else [])
    found = (parse_md5(head.get(name)) for name in names)
    return [("md5", digest) for digest in found if digest]


def _judge_whole(head: ResponseHead, ask: Ask) -> Verdict:
    if head.status == 206:
        return _refuse("a part in answer to a request for the whole file", Again.LATER)
    if head.status not in (200, 203):
        return _refuse_status(head)
    if cause := _misframed(head):
        return _refuse(cause, Again.LATER)
    total = _length(head)
    if codings := parse_codings(head.get("content-encoding")):
        return _judge_coded(codings, ask, total)
    if ask.size is not None and total is not None and total != ask.size:
        detail = f"{ask.size} bytes in the catalog, {total} from the server"
        return _refuse("another size than in the catalog", Again.ONCE, detail)
    if _contradicts(head, ask, total):
        detail = f"{ask.total} bytes at first, {total} later"
        return _refuse("another length than an earlier answer gave", Again.LATER, detail)
    return Verdict(Take.WHOLE, total=total if ask.size is None else ask.size)


def _judge_coded(codings: list[str], ask: Ask, total: int | None) -> Verdict:
    """The catalog's size may be that of the plain bytes, so it is looked at later."""
    coding = ", ".join(codings)
    packed, _ = PACKED.get(coding, ((), b""))
    told = ask.size is not None or ask.has_checksum
    if coding in DECODED or told or ask.suffix in packed:
        return Verdict(Take.WHOLE, total=total, coding=coding)
    return _refuse(UNKNOWN_CODING, Again.ONCE, f"Content-Encoding {coding}")


def is_chunked(head: ResponseHead) -> bool:
    """Whether chunks tell the end of the body, and not merely the end of the connection."""
    return "chunked" in (head.get("transfer-encoding") or "").lower()


def _length(head: ResponseHead) -> int | None:
    if is_chunked(head):  # RFC 9112: it overrides Content-Length
        return None
    return parse_length(head.get("content-length"))


def _contradicts(head: ResponseHead, ask: Ask, total: int | None) -> bool:
    """Whether a file that has not changed is said to have another length: caches keep halves."""
    if total is None or ask.total in (None, total):
        return False
    etag, modified = head.get("etag"), head.get("last-modified")
    return not has_changed(ask.etag, etag, ask.modified, modified)


def _misframed(head: ResponseHead) -> str:
    return misframing(head.get("transfer-encoding"), head.get("content-length"))


def _changed_since(head: ResponseHead, mtime: float | None) -> bool:
    """Whether a server that ignored If-Unmodified-Since should not have."""
    changed = parse_http_date(head.get("last-modified"))
    if changed is None or mtime is None:
        return False
    return head.status in (206, 416) and changed > mtime


def _refuse(cause: str, again: Again, detail: str = "") -> Verdict:
    return Verdict(Take.REFUSE, cause=cause, detail=detail, again=again)


def _ask_for_the_whole(cause: str) -> Verdict:
    return _refuse(cause, Again.NOW_WHOLE)


ANOTHER_REST = _ask_for_the_whole("the rest does not fit what is here")


def _refuse_status(head: ResponseHead) -> Verdict:
    if head.status in (429, 503) or says_limited(head.status, head.fields):
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
