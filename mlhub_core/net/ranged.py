"""A file on a server, read where it is wanted by requests for ranges.

What has been read can be kept on disk, so that nobody asks for it again: a run that goes on after a
kill, or one that reads the file once more.
"""

from __future__ import annotations

import hashlib
import io
import os
import zlib
from pathlib import Path
from typing import Any

import requests

from mlhub_core.exceptions import ArchiveCorrupt, FetchError, storage_errors
from mlhub_core.net.connection import read_pieces
from mlhub_core.net.response import ContentRange, parse_content_range, strong_validator
from mlhub_core.net.session import Session
from mlhub_core.redact import redact_url
from mlhub_core.room import Room
from mlhub_core.state import open_descriptor, open_state

_TAIL = 64 * 1024
"""Bytes of the end that are asked for first: what a Parquet file says of itself is there."""
_MOST_HELD = 64 * 1024 * 1024
_ATTEMPTS = 4
_PIECE = 256 * 1024


class NoRanges(Exception):
    """A server that does not give parts of a file."""


class KeptRanges:
    """Ranges of a file that are on disk: a file with holes, and a journal of what is in it.

    The journal has a checksum of each range: what a power cut has damaged is asked for again.

    Args:
        path: The file; the journal lies beside it.
        of: What tells one state of the whole from the next: ranges of another one are dropped.
        keep_free: As for :class:`~mlhub_core.room.Room`.

    Raises:
        StorageError: from every method, if the disk refuses.
    """

    def __init__(self, path: Path, of: str, keep_free: int) -> None:
        self._path = path
        self._journal = _journal_of(path)
        self._known: dict[tuple[int, int], int] = {}
        with storage_errors(f"write {path}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._room = Room(path.parent, keep_free)
            if not self._recall(of):
                remove_ranges(path)
                with open_state(self._journal, "w") as journal:
                    journal.write(of)

    def _recall(self, of: str) -> bool:
        """Read the journal; False where it is that of another file, or not there."""
        if not (self._journal.is_file() and self._path.is_file()):
            return False
        with open_state(self._journal, errors="replace") as journal:
            if journal.readline().strip() != of:
                return False
            for row in journal:
                numbers = row.split()  # of a row that is broken off the checksum is wrong
                if len(numbers) == 3 and all(map(str.isdecimal, numbers)):
                    first, count, checksum = map(int, numbers)
                    self._known[first, count] = checksum
        return True

    def get(self, first: int, count: int) -> bytes | None:
        """Bytes that are here; None where they are not, or damaged."""
        checksum = self._known.get((first, count))
        if checksum is None:
            return None
        with storage_errors(f"read {self._path}"), open_state(self._path, "rb") as file:
            data = os.pread(file.fileno(), count, first)
        return data if len(data) == count and zlib.crc32(data) == checksum else None

    def put(self, first: int, data: bytes) -> None:
        """Keep bytes: from here on a kill does not cost them."""
        self._room.take(len(data))
        checksum = zlib.crc32(data)
        with storage_errors(f"write {self._path}"):
            descriptor = open_descriptor(self._path, os.O_WRONLY | os.O_CREAT)
            with open(descriptor, "wb", buffering=0) as file:
                file.seek(first)
                left = memoryview(data)
                while left:
                    left = left[file.write(left) or 0 :]
            with open_state(self._journal, "a") as journal:
                journal.write(f"\n{first} {len(data)} {checksum}")
        self._known[first, len(data)] = checksum


def remove_ranges(path: Path) -> None:
    """Remove the ranges of a file that are on disk, if any are.

    Raises:
        StorageError: if the disk refuses.
    """
    with storage_errors(f"remove {path}"):
        _journal_of(path).unlink(missing_ok=True)
        path.unlink(missing_ok=True)


def _journal_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.journal")


class RangedFile(io.RawIOBase):
    """A file on a server.

    Args:
        session: Asks for it.
        url: Its URL.
        kept: Ranges of it are kept there; None for nowhere.
        keep_free: As for :class:`~mlhub_core.room.Room`, on the disk of ``kept``.

    Attributes:
        size: Its bytes.
        tail: The last of them.

    Raises:
        NoRanges: if the server does not give parts of it.
        MLHubException: all that the session raises.
    """

    def __init__(
        self, session: Session, url: str, kept: Path | None = None, keep_free: int = 0
    ) -> None:
        super().__init__()
        self._session = session
        self._url = url
        self._validator: str | None = None
        self._at = 0
        self._held_at, self._held = 0, b""
        self.size = -1
        self.tail = self._ask(f"bytes=-{_TAIL}")
        self._ranges: KeptRanges | None = None
        if kept is not None:
            state = f"{url}\0{self.size}\0{self._validator}\0".encode() + self.tail
            self._ranges = KeptRanges(kept, hashlib.sha256(state).hexdigest(), keep_free)

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
        data = self._held_bytes(count) or self._range(self._at, count)
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
            self._held = self._range(first, count)
            self._held_at = first

    def _held_bytes(self, count: int) -> bytes:
        """Bytes that are here already; none where not all of them are."""
        for start, data in ((self._held_at, self._held), (self.size - len(self.tail), self.tail)):
            first = self._at - start
            if first >= 0 and first + count <= len(data):
                return data[first : first + count]
        return b""

    def _range(self, first: int, count: int) -> bytes:
        """Bytes from disk, else from the server."""
        data = None if self._ranges is None else self._ranges.get(first, count)
        if data is None:
            data = self._ask(f"bytes={first}-{first + count - 1}")
            if self._ranges is not None:
                self._ranges.put(first, data)
        return data

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
