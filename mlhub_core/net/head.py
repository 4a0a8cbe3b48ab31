"""The head of an HTTP response: status and the few header fields that decide what a body is."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from mlhub_core.net.response import LIMITING, WAIT_FIELDS

_WANTED = frozenset(
    {
        "connection",
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


_VARYING = frozenset({"content-length", "content-md5", "content-range", "etag"})
"""Fields that are another with every file: their lines are not worth remembering."""
_USUAL = {
    b"Content-Length": "content-length",
    b"ETag": "etag",
    b"content-length": "content-length",
    b"etag": "etag",
}
"""How servers write those that come with every file."""
_MOST_LINES = 1_000
_LONGEST_LINE = 200
"""What is remembered, before the memory of it is dropped."""

_Line = tuple[str, str]
"""Name and value of a field that is wanted, or one of those below."""
_OTHER: _Line = ("", "")
_END: _Line = ("", "end")
_STATUS = "status"
_STATUSES = re.compile(rb"[1-9][0-9][0-9]")
_MISSPELT = "misspelt"
"""What stands for the value of a ``Transfer-Encoding`` with a space before its colon."""
_FOLDS = (b" ", b"\t")
_FOLDED: _Line = ("", "goes on from the line before")

_lines: dict[bytes, _Line] = {}
"""What a line says. Servers send nearly the same ones with every file, and to read them anew costs
more than all else about a head."""


class ResponseHead(NamedTuple):
    """Status and wanted fields, names in lower case."""

    status: int
    fields: Mapping[str, str] = MappingProxyType({})

    def get(self, name: str) -> str | None:
        """A field's value, None when it is absent."""
        return self.fields.get(name)


def parse_head(lines: Sequence[bytes]) -> ResponseHead | None:
    """Read the last head of a response, after redirects and interim answers.

    Of a field that comes twice the values are one list, as RFC 9110 has it.

    Args:
        lines: Header lines as libcurl hands them over, status lines and line ends included.

    Returns:
        None where there is no complete head: the connection broke before the empty line.
    """
    status = None
    fields: dict[str, str] = {}
    complete = False
    known = _lines.get
    for line in lines:
        found = known(line) or _read(line)
        if found is _OTHER:
            continue
        name, value = found
        if name == _STATUS:  # another head: what went before was interim or a redirect
            status = int(value) if value else None
            fields = {}
            complete = False
        elif found is _END:
            complete = True
        elif found is _FOLDED:
            continue
        elif not complete:  # behind the end come trailers
            before = fields.get(name)
            fields[name] = value if before in (None, value) else f"{before}, {value}"
    if complete and status in LIMITING:
        fields |= _wait_fields(lines)
    return ResponseHead(status, fields) if complete and status is not None else None


def _wait_fields(lines: Sequence[bytes]) -> dict[str, str]:
    """When to come again, as far as a head says it.

    Some hosts say so with every file, each time in other words: they are read where they count.
    """
    pairs = (line.decode("latin-1").partition(":") for line in lines)
    said = {name.strip().lower(): value.strip() for name, _, value in pairs}
    return {name: value for name, value in said.items() if name in WAIT_FIELDS}


def _read(line: bytes) -> _Line:
    """Read a line, and remember it if it may come again."""
    name, colon, value = line.partition(b":")
    often = _USUAL.get(name)
    if often is not None:
        return often, value.strip().decode("latin-1")
    key = name.decode("latin-1").lower()
    found = _OTHER
    if line[:1] in _FOLDS:
        return _FOLDED
    if line[:5] == b"HTTP/":
        words = line.split(None, 2)
        is_status = len(words) > 1 and _STATUSES.fullmatch(words[1])
        found = _STATUS, words[1].decode() if is_status else ""
    elif not colon:
        found = _END if line in (b"\r\n", b"\n") else _OTHER
    elif key in _WANTED:
        found = key, value.strip().decode("latin-1")
    elif key.rstrip() in _WANTED:  # libcurl does not know it, and has not framed the body by it
        key = key.rstrip()
        found = key, _MISSPELT if key == "transfer-encoding" else value.strip().decode("latin-1")
    if key not in _VARYING and len(line) <= _LONGEST_LINE:
        if len(_lines) >= _MOST_LINES:
            _lines.clear()
        _lines[line] = found
    return found
