"""The bytes inside a ``tar.gz``, in order, in pieces, within a cap.

Python's ``gzip`` would do, but it knows no cap, accepts no garbage behind the end, and its
buffering costs more than the inflating. ISA-L inflates twice as fast as zlib.
Whatever is not gzip is taken for a plain tar.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from isal import isal_zlib

from mlhub_core.exceptions import FETCH_ANEW, ArchiveCorrupt, ArchiveLimitExceeded, StorageError

_MAGIC = b"\x1f\x8b"
_GZIP = 16 + zlib.MAX_WBITS
_RAW_BYTES = 256 * 1024
_PIECE_BYTES = 1024 * 1024
"""Unpacked at a time: however well a bomb is packed, no more than this is in memory."""


# The type information of isal takes it for something else than an exception.
_ERRORS: tuple[type[Exception], ...] = (zlib.error, vars(isal_zlib)["error"])


def _inflater() -> Any:
    return isal_zlib.decompressobj(_GZIP)


class Unpacked:
    """Reads forward through the unpacked bytes of one file.

    Attributes:
        buffer: Bytes at hand.
        at: Where in them the next one is; whoever needs to be quick may move it on within them.

    Args:
        path: A ``tar.gz``, of one or several gzip members, or a plain tar.
        max_bytes: The cap on what comes out of it.
        on_read: Called with the packed bytes read so far, once per piece read.

    Raises:
        StorageError: if the file cannot be opened.
    """

    def __init__(
        self, path: Path, *, max_bytes: int, on_read: Callable[[int], None] = lambda _: None
    ) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._on_read = on_read
        self.buffer = b""
        self.at = 0
        self._raw = b""
        self._inflater: Any = None
        self._tolerant = False
        self._came_out = 0
        self.packed_read = 0
        try:
            self._file = path.open("rb", buffering=0)
        except OSError as error:
            raise StorageError(f"Cannot open {path}: {error.strerror or error}.") from error
        try:
            self._raw = self._read_raw()
            while 0 < len(self._raw) < len(_MAGIC) and (more := self._read_raw()):
                self._raw += more
        except BaseException:
            self._file.close()
            raise
        self.is_gzip = self._raw.startswith(_MAGIC)
        if self.is_gzip:
            self._inflater = _inflater()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def position(self) -> int:
        """Unpacked bytes handed out so far."""
        return self._came_out - (len(self.buffer) - self.at)

    def corrupt(self, what: str) -> ArchiveCorrupt:
        """The error for this file; the caller raises it."""
        return ArchiveCorrupt(f"{self._path} {what}: {FETCH_ANEW}.")

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes, fewer only where the file ends.

        Raises:
            ArchiveCorrupt: if the file is broken off or damaged.
            ArchiveLimitExceeded: if more comes out of it than the cap allows.
            StorageError: if it cannot be read.
        """
        end = self.at + count
        if end <= len(self.buffer):
            piece = self.buffer[self.at : end]
            self.at = end
            return piece
        pieces = []
        while count:
            piece = self.take_some(count)
            if not piece:
                break
            pieces.append(piece)
            count -= len(piece)
        return b"".join(pieces)

    def take_some(self, at_most: int) -> bytes:
        """Between one and ``at_most`` bytes, whatever is at hand; none where the file ends.

        Raises:
            ArchiveCorrupt: if the file is broken off or damaged.
            ArchiveLimitExceeded: if more comes out of it than the cap allows.
            StorageError: if it cannot be read.
        """
        if self.at == len(self.buffer):
            self.buffer = self._next_piece()
            self.at = 0
            self._count(len(self.buffer))
        piece = self.buffer[self.at : self.at + at_most]
        self.at += len(piece)
        return piece

    def skip(self, count: int) -> int:
        """Pass over bytes; returns how many there were."""
        left = count
        while left:
            piece_length = min(left, len(self.buffer) - self.at)
            if piece_length:
                self.at += piece_length
                left -= piece_length
            elif not (piece := self.take_some(left)):
                break
            else:
                left -= len(piece)
        return count - left

    def drain(self) -> None:
        """Read to the end, for the checksum there. Garbage behind it does not matter any more."""
        self._tolerant = True
        while self.take_some(_PIECE_BYTES):
            pass

    def _count(self, came_out: int) -> None:
        self._came_out += came_out
        if self._came_out > self._max_bytes:
            raise ArchiveLimitExceeded(
                f"{self._path} unpacks to more than {self._max_bytes:,} bytes: if you trust it, "
                "raise ArchiveLimits.max_bytes (--max-bytes)."
            )

    def _read_raw(self) -> bytes:
        try:
            raw = self._file.read(_RAW_BYTES) or b""
        except OSError as error:
            raise StorageError(f"Cannot read {self._path}: {error.strerror or error}.") from error
        self.packed_read += len(raw)
        self._on_read(self.packed_read)
        return raw

    def _next_raw(self) -> bytes:
        raw, self._raw = self._raw, b""
        return raw or self._read_raw()

    def _next_piece(self) -> bytes:
        while True:
            if self._inflater is None:
                return self._next_raw() if not self.is_gzip else b""
            if self._inflater.eof:
                self._next_gzip_member(self._inflater.unused_data)
                continue
            packed = self._inflater.unconsumed_tail or self._next_raw()
            try:
                piece: bytes = self._inflater.decompress(packed, _PIECE_BYTES)
            except _ERRORS as error:
                raise self.corrupt(f"is damaged ({error})") from error
            if piece:
                return piece
            if not packed and not self._inflater.eof:
                raise self.corrupt(f"is broken off after {self.packed_read:,} bytes")

    def _next_gzip_member(self, rest: bytes) -> None:
        """Several gzip streams in a row are one file; zeros between and behind them are padding."""
        rest = (rest + self._raw).lstrip(b"\0")
        self._raw = b""
        while len(rest) < len(_MAGIC):
            raw = self._read_raw()
            if not raw:
                break
            rest = (rest + raw).lstrip(b"\0")
        if rest.startswith(_MAGIC):
            self._raw = rest
            self._inflater = _inflater()
            return
        self._inflater = None
        if rest and not self._tolerant:
            raise self.corrupt("goes on with something that is not gzip")
