"""The head of an HTTP response: status and the few header fields that decide what a body is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

_WANTED = frozenset(
    {
        "content-encoding",
        "content-length",
        "content-md5",
        "content-range",
        "content-type",
        "date",
        "etag",
        "last-modified",
        "retry-after",
        "transfer-encoding",
        "x-ms-blob-content-md5",
    }
)


_EMPTY = (b"\r\n", b"\n")
_MOST_SPELLINGS = 1_000
"""Header names remembered, before the memory of them is dropped."""

_spellings: dict[bytes, str | None] = {}
"""What a header name as sent is, lower case; None for those that do not matter. Servers send the
same few names with every file, and to read them anew costs more than all else about a head."""


class ResponseHead(NamedTuple):
    """Status and wanted fields, names in lower case."""

    status: int
    fields: Mapping[str, str] = MappingProxyType({})

    def get(self, name: str) -> str | None:
        """A field's value, None when it is absent."""
        return self.fields.get(name)


def parse_head(lines: Sequence[bytes]) -> ResponseHead | None:
    """Read the last head of a response, after redirects and interim answers.

    Args:
        lines: Header lines as libcurl hands them over, status lines and line ends included.

    Returns:
        None where there is no complete head: the connection broke before the empty line.
    """
    status = None
    fields: dict[str, str] = {}
    complete = False
    for line in lines:
        name, colon, value = line.partition(b":")
        if name in _spellings:
            key = _spellings[name]
        elif line[:5] == b"HTTP/":  # another head: what went before was interim or a redirect
            words = line.split(None, 2)
            status = int(words[1]) if len(words) > 1 and words[1].isdigit() else None
            fields = {}
            complete = False
            continue
        elif not colon:
            complete = complete or line in _EMPTY
            continue
        else:
            key = _spelling(name)
        # Behind the empty line come trailers, which say nothing about the body.
        if key is not None and colon and not complete:
            fields.setdefault(key, value.strip().decode("latin-1"))
    return ResponseHead(status, fields) if complete and status is not None else None


def _spelling(name: bytes) -> str | None:
    key = name.decode("latin-1").lower()
    wanted = key if key in _WANTED else None
    if len(_spellings) >= _MOST_SPELLINGS:
        _spellings.clear()
    _spellings[name] = wanted
    return wanted
