"""The head of an HTTP response: status and the few header fields that decide what a body is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

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


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """Status and wanted fields, names in lower case."""

    status: int
    fields: dict[str, str] = field(default_factory=dict)

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
    start = end = -1
    for number in range(len(lines) - 1, -1, -1):
        line = lines[number]
        if line in (b"\r\n", b"\n"):
            end = number  # the first empty line behind the status line; what follows are trailers
        elif line[:5] == b"HTTP/":
            start = number
            break
    if start < 0 or end < start:
        return None
    words = lines[start].split(None, 2)
    if len(words) < 2 or not words[1].isdigit():
        return None
    fields: dict[str, str] = {}
    for line in lines[start + 1 : end]:
        name, colon, value = line.partition(b":")
        key = name.decode("latin-1").lower()
        if colon and key in _WANTED:
            fields.setdefault(key, value.strip().decode("latin-1"))
    return ResponseHead(int(words[1]), fields)
