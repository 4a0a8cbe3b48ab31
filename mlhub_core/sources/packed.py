"""The bytes inside of a packed file, in order and within a cap: gzip, bzip2, xz, zstd, or plain.

What a file is, its first bytes say, not its name. Python's ``gzip``, ``bz2`` and ``lzma`` files
know no cap, and take garbage behind the end amiss. ISA-L inflates twice as fast as zlib.
"""

from __future__ import annotations

import bz2
import io
import lzma
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from isal import igzip_lib

from mlhub_core.exceptions import FETCH_ANEW, ArchiveCorrupt, ArchiveLimitExceeded, StorageError
from mlhub_core.settings import MIB

NO_ARCHIVE = "is no archive (tar, tar.gz, tar.bz2, tar.xz, tar.zst or zip)"
MAGIC_BYTES = 6
"""So many bytes tell every kind of packing."""
_READ_BYTES = 256 * 1024
_UNPACKED_BYTES = MIB
"""Unpacked at a time: however well a bomb is packed, no more than this is in memory."""
_XZ_MEMORY = 256 * MIB
"""What xz may take: ``xz -9`` needs 65 MiB, and a dictionary of 1.5 GiB can be asked for."""
_ZSTD = re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18", re.DOTALL)
"""A frame, or one that is passed over."""


class _Packing(NamedTuple):
    """A way of packing whose streams may follow each other.

    Attributes:
        magic: How each stream begins.
        unpacker: Makes what unpacks one.
        errors: What that raises.
    """

    magic: bytes
    unpacker: Callable[[], Any]
    errors: tuple[type[Exception], ...]


_PACKINGS = (
    _Packing(
        b"\x1f\x8b",
        lambda: igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP),
        # The type information of isal takes it for something else than an exception.
        (vars(igzip_lib)["error"],),
    ),
    _Packing(b"BZh", bz2.BZ2Decompressor, (OSError, ValueError)),
    _Packing(
        b"\xfd7zXZ\x00",
        lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY),
        (lzma.LZMAError,),
    ),
)


def is_packed(head: bytes) -> bool:
    """Whether a file that begins so is packed in a way that is known here."""
    return any(head.startswith(one.magic) for one in _PACKINGS) or _ZSTD.match(head) is not None


class Unpacked:
    """The bytes inside of a file; what is not packed comes as it is.

    Args:
        path: The file.
        max_bytes: How many may come out.
        on_read: Called with the packed bytes read so far, a few times a MiB.

    Attributes:
        is_packed: Whether a checksum of the packing proves it whole.

    Raises:
        StorageError: if the file cannot be opened.
    """

    def __init__(self, path: Path, max_bytes: int, on_read: Callable[[int], None]) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._on_read = on_read
        self._packed = 0
        self._came_out = 0
        self._buffer = b""
        self._at = 0
        self._is_over = False
        try:
            self._file = path.open("rb", buffering=0)
        except OSError as error:
            raise StorageError(f"Cannot open {path}: {error.strerror or error}.") from error
        try:
            head = self._beginning(b"", MAGIC_BYTES)
            self.is_packed = is_packed(head)
            self._pieces = self._unpacked(head)
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def position(self) -> int:
        """Unpacked bytes handed out so far."""
        return self._came_out - len(self._buffer) + self._at

    def corrupt(self, what: str) -> ArchiveCorrupt:
        """The error for this file; the caller raises it."""
        return ArchiveCorrupt(f"{self._path} {what}: {FETCH_ANEW}.")

    def broken_off(self) -> ArchiveCorrupt:
        """The error where it ends too early."""
        return self.corrupt(f"is broken off after {self._packed:,} bytes")

    def read(self, count: int) -> bytes:
        """The next bytes, fewer only where the file ends."""
        end = self._at + count
        piece = self._buffer[self._at : end]
        self._at = min(end, len(self._buffer))
        if len(piece) == count:
            return piece
        pieces = [piece]
        count -= len(piece)
        while count and self._fill():
            piece = self._buffer[:count]
            self._at = len(piece)
            count -= len(piece)
            pieces.append(piece)
        return b"".join(pieces)

    def drain(self) -> None:
        """Read to the end, for the checksum there. Garbage behind it does not matter any more."""
        self._is_over = True
        while self._fill():
            pass

    def _fill(self) -> bool:
        self._buffer = next(self._pieces, b"")
        self._at = 0
        self._came_out += len(self._buffer)
        if self._came_out > self._max_bytes:
            raise ArchiveLimitExceeded(
                f"{self._path} unpacks to more than {self._max_bytes:,} bytes: if you trust it, "
                "raise ArchiveLimits.max_bytes (--max-bytes)."
            )
        return bool(self._buffer)

    def _raw(self, count: int = _READ_BYTES) -> bytes:
        try:
            raw = self._file.read(count) or b""
        except OSError as error:
            raise StorageError(f"Cannot read {self._path}: {error.strerror or error}.") from error
        self._packed += len(raw)
        self._on_read(self._packed)
        return raw

    def _beginning(self, raw: bytes, count: int) -> bytes:
        """So many bytes that it can be told what they begin."""
        while len(raw) < count and (more := self._raw()):
            raw += more
        return raw

    def _unpacked(self, head: bytes) -> Iterator[bytes]:
        for packing in _PACKINGS:
            if head.startswith(packing.magic):
                return self._streams(packing, head)
        return self._frames(head) if _ZSTD.match(head) else self._as_it_is(head)

    def _as_it_is(self, raw: bytes) -> Iterator[bytes]:
        while raw:
            yield raw
            raw = self._raw()

    def _streams(self, packing: _Packing, raw: bytes) -> Iterator[bytes]:
        """Several streams in a row are one file; zeros between and behind are padding."""
        size = len(packing.magic)
        while raw.startswith(packing.magic):
            unpacker = packing.unpacker()
            while not unpacker.eof:
                try:
                    piece: bytes = unpacker.decompress(raw, _UNPACKED_BYTES)
                except packing.errors as error:
                    raise self.corrupt(f"is damaged ({error})") from error
                if piece:
                    yield piece
                elif not raw and not unpacker.eof:
                    raise self.broken_off()
                if not unpacker.eof:
                    raw = self._raw() if unpacker.needs_input else b""
            raw = unpacker.unused_data.lstrip(b"\0")
            while len(raw) < size and (more := self._raw()):
                raw = (raw + more).lstrip(b"\0")
        if raw and not self._is_over:
            raise self.corrupt("goes on with something else than it began with")

    def _frames(self, raw: bytes) -> Iterator[bytes]:
        """Zstandard, as Arrow has it: no more than its largest window of 128 MiB is in memory."""
        import pyarrow as pa

        packed = pa.PythonFile(_Raw(raw, self._raw), mode="r")
        try:
            with pa.CompressedInputStream(packed, "zstd") as stream:
                while piece := stream.read(_UNPACKED_BYTES):
                    yield piece
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, StorageError):
                raise
            if "Truncated" in str(error):
                raise self.broken_off() from error
            raise self.corrupt(f"is damaged ({error})") from error


class _Raw(io.RawIOBase):
    """What Arrow reads from: the bytes that have been read already, then the file."""

    def __init__(self, head: bytes, more: Callable[[int], bytes]) -> None:
        self._head = head
        self._more = more

    def readable(self) -> bool:
        return True

    def read(self, count: int = -1) -> bytes:
        if self._head:
            piece, self._head = self._head[:count], self._head[count:]
            return piece
        return self._more(count)
