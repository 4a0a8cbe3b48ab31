"""A zip, member after member as its directory lists them, with the caps that hold for a tar.

The directory, which stands at the end, is read whole by Python's ``zipfile``: some 700 bytes of
memory a member, so it has a cap of its own. Of the ways of packing only those are taken that are
unpacked within a bound: stored, and deflate.
"""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Self

from mlhub_core.exceptions import FETCH_ANEW, ArchiveCorrupt, ArchiveLimitExceeded, StorageError
from mlhub_core.settings import MIB, ArchiveLimits
from mlhub_core.sources.members import Member, MemberKind, too_many
from mlhub_core.threads import StopFlag

_MAX_DIRECTORY = 64 * MIB
"""Of the directory: some 600,000 members."""
_PIECE_BYTES = 256 * 1024
_STOP_INTERVAL = 64
_END = struct.Struct("<4s4H2LH")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_UNKNOWN = 0xFFFFFFFF
_MAX_COMMENT = 65535
_IS_ENCRYPTED = 0x1
_TAKEN = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_ON_DOS = 0
_KINDS = {
    0: MemberKind.FILE,
    stat.S_IFREG: MemberKind.FILE,
    stat.S_IFDIR: MemberKind.DIRECTORY,
    stat.S_IFLNK: MemberKind.SYMLINK,
    stat.S_IFCHR: MemberKind.CHARACTER_DEVICE,
    stat.S_IFBLK: MemberKind.BLOCK_DEVICE,
    stat.S_IFIFO: MemberKind.FIFO,
}
_ERRORS = (
    *(zipfile.BadZipFile, zlib.error, EOFError, struct.error),
    *(NotImplementedError, RuntimeError, ValueError, OverflowError),
)
"""What reading a damaged zip raises."""


class ZipMembers:
    """Reads the members of a zip in order; see :class:`~mlhub_core.sources.formats.MemberStream`.

    Args:
        path: A zip.
        limits: Caps against archives made to do harm.
        stop: Looked at while reading.
        on_read: Called with the packed bytes read so far.

    Attributes:
        path: The zip.
        limits: Caps.

    Raises:
        ArchiveCorrupt: if it is none, or damaged.
        ArchiveLimitExceeded: if it holds more than the caps allow.
        StorageError: if it cannot be opened.
    """

    def __init__(
        self,
        path: Path,
        limits: ArchiveLimits,
        *,
        stop: StopFlag | None = None,
        on_read: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.path = path
        self.limits = limits
        self._stop = stop or StopFlag()
        self._on_read = on_read
        self._came_out = 0
        self._member: zipfile.ZipInfo | None = None
        self._data: IO[bytes] | None = None
        self._check_directory()
        try:
            self._zip = zipfile.ZipFile(path)
        except OSError as error:
            raise StorageError(f"Cannot open {path}: {error.strerror or error}.") from error
        except _ERRORS as error:
            raise self._corrupt(f"is damaged ({error})") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._close_member()
        self._zip.close()

    def __iter__(self) -> Iterator[Member]:
        """Go through the members; errors are those of the protocol."""
        packed = 0
        for count, info in enumerate(self._zip.infolist(), 1):
            if count % _STOP_INTERVAL == 0:
                self._stop.check()
            self._close_member()
            self._member = info
            self._on_read(packed)
            packed += info.compress_size
            yield Member(_name(info), _kind(info), info.file_size)
        self._on_read(self.path.stat().st_size)

    def read(self) -> bytes:
        """All that is left of the data of the current member. Look at its size first."""
        return b"".join(self.pieces())

    def pieces(self) -> Iterator[bytes]:
        """The data of the current member, a piece at a time."""
        assert self._member is not None
        try:
            if self._data is None:
                self._data = self._open(self._member)
            while piece := self._data.read(_PIECE_BYTES):
                self._stop.check()
                self._came_out += len(piece)
                if self._came_out > self.limits.max_bytes:
                    raise ArchiveLimitExceeded(
                        f"{self.path} unpacks to more than {self.limits.max_bytes:,} bytes: if you "
                        "trust it, raise ArchiveLimits.max_bytes (--max-bytes)."
                    )
                yield piece
        except OSError as error:
            raise StorageError(f"Cannot read {self.path}: {error.strerror or error}.") from error
        except _ERRORS as error:
            raise self._corrupt(f"is damaged ({error})") from error

    def _open(self, info: zipfile.ZipInfo) -> IO[bytes]:
        if info.flag_bits & _IS_ENCRYPTED:
            raise self._corrupt("is encrypted")
        if info.compress_type not in _TAKEN:
            raise self._corrupt("is packed otherwise than by deflate")
        return self._zip.open(info)

    def _close_member(self) -> None:
        if self._data is not None:
            self._data.close()
        self._member = self._data = None

    def _corrupt(self, what: str) -> ArchiveCorrupt:
        return ArchiveCorrupt(f"{self.path} {what}: {FETCH_ANEW}.")

    def _check_directory(self) -> None:
        """Look at the size of the directory before anybody reads it into memory."""
        try:
            with self.path.open("rb") as file:
                size, members = _directory(file)
        except OSError as error:
            raise StorageError(f"Cannot open {self.path}: {error.strerror or error}.") from error
        except struct.error as error:
            raise self._corrupt("is broken off") from error
        if members > self.limits.max_members:
            raise too_many(self.path, self.limits)
        if size > _MAX_DIRECTORY:
            raise ArchiveLimitExceeded(
                f"{self.path} has a directory of {size:,} bytes, which is read into memory: pack "
                "the catalog as tar.gz or tar.zst, which are read as a stream."
            )


def _directory(file: IO[bytes]) -> tuple[int, int]:
    """Bytes and entries of a zip's directory, as the end of the zip has them."""
    length = file.seek(0, 2)
    start = file.seek(max(0, length - _END.size - _MAX_COMMENT))
    tail = file.read()
    at = tail.rfind(b"PK\5\6")
    if at < 0:
        raise struct.error("no end of the directory")
    *_, members, size, _, _ = _END.unpack_from(tail, at)
    if _UNKNOWN in (size, members) or members == 0xFFFF:
        file.seek(max(0, start + at - _LOCATOR.size))
        magic, _, place, _ = _LOCATOR.unpack(file.read(_LOCATOR.size))
        if magic == b"PK\6\7":
            file.seek(place)
            *_, members, size, _ = _END_64.unpack(file.read(_END_64.size))
    if size > length:
        raise struct.error("a directory larger than the zip")
    return size, members


def _name(info: zipfile.ZipInfo) -> str:
    """The name of a member; some tools of Windows separate directories as they do there."""
    return info.filename.replace("\\", "/") if info.create_system == _ON_DOS else info.filename


def _kind(info: zipfile.ZipInfo) -> MemberKind:
    if info.is_dir() or _name(info).endswith("/"):
        return MemberKind.DIRECTORY
    return _KINDS.get(stat.S_IFMT(info.external_attr >> 16), MemberKind.UNKNOWN)
