"""A file on a server, read where it is wanted by requests for ranges; nothing of it is kept."""

from __future__ import annotations

import io
from typing import Any

import requests

from mlhub_core.exceptions import ArchiveCorrupt, FetchError
from mlhub_core.net.connection import read_pieces
from mlhub_core.net.response import ContentRange, parse_content_range, strong_validator
from mlhub_core.net.session import Session
from mlhub_core.redact import redact_url

_TAIL = 64 * 1024
"""Bytes of the end that are asked for first: what a Parquet file says of itself is there."""
_MOST_HELD = 64 * 1024 * 1024
_ATTEMPTS = 4
_PIECE = 256 * 1024


class NoRanges(Exception):
    """A server that does not give parts of a file."""


class RangedFile(io.RawIOBase):
    """A file on a server.

    Args:
        session: Asks for it.
        url: Its URL.

    Attributes:
        size: Its bytes.
        tail: The last of them.

    Raises:
        NoRanges: if the server does not give parts of it.
        MLHubException: all that the session raises.
    """

    def __init__(self, session: Session, url: str) -> None:
        super().__init__()
        self._session = session
        self._url = url
        self._validator: str | None = None
        self._at = 0
        self._held_at, self._held = 0, b""
        self.size = -1
        self.tail = self._ask(f"bytes=-{_TAIL}")

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Where it is read next."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Say where it is read next."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        self._at = min(max(0, start + offset), self.size)
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer, as far as the file goes.

        Raises:
            FetchError: if the bytes cannot be had.
            ArchiveCorrupt: if the file is another one by now.
            MLHubException: all that the session raises.
        """
        count = min(len(buffer), self.size - self._at)
        if count <= 0:
            return 0
        data = self._held_bytes(count) or self._ask(f"bytes={self._at}-{self._at + count - 1}")
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def hold(self, first: int, count: int) -> None:
        """Ask for bytes that will be read soon, in one request; those before are let go of.

        Args:
            first: The first of them.
            count: How many; too many to be held in memory are asked for when they are read.
        """
        self._held = b""
        if 0 < count <= _MOST_HELD:
            self._held = self._ask(f"bytes={first}-{first + count - 1}")
            self._held_at = first

    def _held_bytes(self, count: int) -> bytes:
        """Bytes that are here already; none where not all of them are."""
        for start, data in ((self._held_at, self._held), (self.size - len(self.tail), self.tail)):
            first = self._at - start
            if first >= 0 and first + count <= len(data):
                return data[first : first + count]
        return b""

    def _ask(self, ranged: str) -> bytes:
        """The bytes of a range, whole."""
        failure: Exception | None = None
        for _ in range(_ATTEMPTS):
            try:
                return self._try(ranged)
            except (requests.RequestException, _Short) as error:
                failure = error
        raise FetchError(
            f"{redact_url(self._url)} could not be read in {_ATTEMPTS} tries: {failure}.",
            retryable=True,
        ) from failure

    def _try(self, ranged: str) -> bytes:
        headers = {"Accept": "*/*", "Accept-Encoding": "identity", "Range": ranged}
        if self._validator is not None:
            headers["If-Match" if self._validator.startswith('"') else "If-Unmodified-Since"] = (
                self._validator
            )
        with self._session.request(
            "GET", self._url, stream=True, accept={412, 416}, headers=headers
        ) as response:
            found = parse_content_range(response.headers.get("Content-Range"))
            is_first = self.size < 0
            if response.status_code != 206 or found is None or found.total is None:
                if is_first:
                    raise NoRanges
                raise self._changed()
            fields = (response.headers.get(name) for name in ("ETag", "Last-Modified", "Date"))
            validator = strong_validator(*fields)
            if is_first:
                self.size, self._validator = found.total, validator
            if found.total != self.size or validator not in (None, self._validator):
                raise self._changed()
            promised = found.last - found.first + 1
            data = bytearray()
            for piece in read_pieces(response, _PIECE):
                data += piece
                if len(data) > promised:
                    break
        if len(data) != promised or (not is_first and ranged != _asked(found)):
            raise _Short(f"{len(data):,} bytes came, and not those that were asked for")
        return bytes(data)

    def _changed(self) -> ArchiveCorrupt:
        return ArchiveCorrupt(
            f"{redact_url(self._url)} has changed while it was read: run the same command again."
        )


def _asked(found: ContentRange) -> str:
    return f"bytes={found.first}-{found.last}"


class _Short(Exception):
    """Other bytes than were asked for."""
