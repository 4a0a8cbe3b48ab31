"""A tar read as a stream: one member after the other, in bounded memory.

``tarfile`` keeps every member it has seen and spends most of its time on objects that nobody looks
at: a catalog of 50,000 files takes it 20 s where this reader and the disk take 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, TypeVar

from mlhub_core.exceptions import ArchiveCorrupt, ArchiveLimitExceeded
from mlhub_core.settings import MIB, ArchiveLimits
from mlhub_core.sources.tarheader import (
    BLOCK,
    Header,
    Kind,
    decode_name,
    is_pax_sparse,
    long_name,
    parse_header,
    parse_pax,
    pax_size,
    plain_header,
)
from mlhub_core.sources.unpacked import Unpacked
from mlhub_core.stop import StopFlag

_T = TypeVar("_T")
_R = TypeVar("_R")

_ZEROS = bytes(BLOCK)
_MAX_EXTENDED_BYTES = MIB
"""Of one pax header or long name; real ones hold some hundred bytes."""
_MAX_EXTENDED_IN_A_ROW = 16
"""Extended headers before one member; tar writes up to four."""
_PIECE_BYTES = 256 * 1024
_MAX_LONG_NAME = 1024
_LONG_NAME = ord("L")
_WINDOW = 2 * BLOCK + _MAX_LONG_NAME
"""In memory: two headers, and the long name between them."""
_STOP_INTERVAL = 64
"""Members between two looks at the stop flag."""


class Member(NamedTuple):
    """One member of the archive.

    Attributes:
        name: As the archive has it. Never use it as a path; see ``members.py``.
        kind: What it is.
        size: Bytes of its data.
        mtime: Seconds since 1970.
    """

    name: str
    kind: Kind
    size: int
    mtime: int


class TarStream:
    """Reads the members of an archive in order.

    The data of a member can be read until the next one is asked for; what is not read is passed
    over.

    Args:
        path: A ``tar.gz`` or plain tar.
        limits: Caps against archives made to do harm.
        stop: Looked at while reading.
        on_read: Called with the packed bytes read so far, a few times a MiB.

    Raises:
        StorageError: if the file cannot be opened.
    """

    def __init__(
        self,
        path: Path,
        limits: ArchiveLimits,
        *,
        stop: StopFlag | None = None,
        on_read: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._path = path
        self._limits = limits
        self._stop = stop
        self._bytes = Unpacked(path, max_bytes=limits.max_bytes, on_read=on_read)
        self._left = 0
        self._padding = 0
        self._global_pax: dict[str, str] = {}
        self._long_names: dict[bytes, int] = {}
        self.members_read = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bytes.close()

    @property
    def packed_read(self) -> int:
        """Bytes of the file read so far."""
        return self._bytes.packed_read

    def __iter__(self) -> Iterator[Member]:
        """Go through the members.

        Raises:
            ArchiveCorrupt: if the archive is broken off, damaged, or none.
            ArchiveLimitExceeded: if it holds more than the caps allow.
            StorageError: if it cannot be read.
            Interrupted: if the stop flag is set.
        """
        while (member := self._next_member()) is not None:
            self.members_read += 1
            if self.members_read > self._limits.max_members:
                raise ArchiveLimitExceeded(
                    f"{self._path} holds more than {self._limits.max_members:,} members: if you "
                    "trust it, raise ArchiveLimits.max_members (--max-members)."
                )
            if self._stop is not None and self.members_read % _STOP_INTERVAL == 0:
                self._stop.check()
            yield member

    def read(self) -> bytes:
        """All that is left of the data of the current member. Look at its size first.

        Raises:
            ArchiveCorrupt: if the archive ends before the data does.
        """
        data = self._bytes.take(self._left)
        if len(data) < self._left:
            raise self._broken_off()
        self._left = 0
        return data

    def pieces(self) -> Iterator[bytes]:
        """The data of the current member, a piece at a time.

        Raises:
            ArchiveCorrupt: if the archive ends before the data does.
            Interrupted: if the stop flag is set.
        """
        while self._left:
            if self._stop is not None:
                self._stop.check()
            piece = self._bytes.take_some(min(self._left, _PIECE_BYTES))
            if not piece:
                raise self._broken_off()
            self._left -= len(piece)
            yield piece

    def _plain_member(self) -> Member | None:
        """The next member if it is plain and its headers are in memory; else nothing has happened.

        What comes out is what the exact way gives. That goes through a dozen calls a header.
        """
        source = self._bytes
        at = source.at + self._left + self._padding
        buffer = source.buffer
        if at + _WINDOW > len(buffer) or self._global_pax:
            return None
        block = buffer[at : at + BLOCK]
        name = None
        if block[156] == _LONG_NAME:
            length = self._long_name_length(block)
            if length is None:
                return None
            at += BLOCK
            name = long_name(buffer[at : at + length])
            at += length + -length % BLOCK
            block = buffer[at : at + BLOCK]
        header = plain_header(block)
        if header is None or header.flag == b"L":
            return None
        text = decode_name(header.name if name is None else name)
        size, kind = header.size, header.kind
        if kind is Kind.DIRECTORY:
            size = 0
        elif text.endswith("/"):
            return None
        source.at = at + BLOCK
        self._left, self._padding = size, -size % BLOCK
        return Member(text, kind, size, header.mtime)

    def _long_name_length(self, block: bytes) -> int | None:
        """How long the name is that follows; such headers differ in that alone."""
        length = self._long_names.get(block)
        if length is None:
            header = plain_header(block)
            if header is None or header.size > _MAX_LONG_NAME:
                return None
            length = header.size
            if len(self._long_names) <= _MAX_LONG_NAME:
                self._long_names[block] = length
        return length

    def _next_member(self) -> Member | None:
        plain = self._plain_member()
        if plain is not None:
            return plain
        pax: dict[str, str] = {}
        gnu_name: bytes | None = None
        for _ in range(_MAX_EXTENDED_IN_A_ROW + 1):
            header = self._next_header()
            if header is None:
                if pax or gnu_name is not None:
                    raise self._broken_off()
                return None
            if header.flag in (b"x", b"X"):
                pax |= self._understand(parse_pax, self._extended(header))
            elif header.flag == b"g":
                self._global_pax |= self._understand(parse_pax, self._extended(header))
            elif header.flag == b"L":
                gnu_name = long_name(self._extended(header))
            elif header.flag == b"K":
                self._extended(header)  # where a link leads: we follow none
            else:
                return self._member(header, self._global_pax | pax, gnu_name)
        raise self._bytes.corrupt("has nothing but extended headers")

    def _member(self, header: Header, pax: dict[str, str], gnu_name: bytes | None) -> Member:
        kind = Kind.SPARSE if is_pax_sparse(pax) else header.kind
        size = header.size if (stated := self._understand(pax_size, pax)) is None else stated
        name = pax.get("path") or decode_name(header.name if gnu_name is None else gnu_name)
        if kind is Kind.FILE and name.endswith("/"):
            kind = Kind.DIRECTORY
        self._expect(size if header.has_data else 0)
        return Member(name, kind, self._left, header.mtime)

    def _next_header(self) -> Header | None:
        """The next header block; None at the end of the archive."""
        self._finish_member()
        start = self._bytes.position
        block = self._bytes.take(BLOCK)
        if block == _ZEROS:
            self._bytes.drain()
            return None
        if not block and start and self._bytes.is_gzip:
            return None  # without the two zero blocks, but gzip's own checksum proves it whole
        if len(block) < BLOCK:
            raise self._broken_off() if start else self._bytes.corrupt("is no tar.gz")
        try:
            header = parse_header(block)
        except ArchiveCorrupt as error:
            what = f"is damaged ({error}, at byte {start:,} unpacked)" if start else "is no tar.gz"
            raise self._bytes.corrupt(what) from error
        if header.flag == b"S":
            self._pass_sparse_map(block)
        return header

    def _pass_sparse_map(self, block: bytes) -> None:
        more = block[482]
        while more:
            extension = self._bytes.take(BLOCK)
            if len(extension) < BLOCK:
                raise self._broken_off()
            more = extension[504]

    def _extended(self, header: Header) -> bytes:
        if header.size > _MAX_EXTENDED_BYTES:
            raise self._bytes.corrupt(f"has an extended header of {header.size:,} bytes")
        self._expect(header.size)
        return self.read()

    def _expect(self, size: int) -> None:
        self._left = size
        self._padding = -size % BLOCK

    def _finish_member(self) -> None:
        rest = self._left + self._padding
        if self._stop is not None and rest > _PIECE_BYTES:
            while self._left:
                self._stop.check()
                step = min(self._left, _PIECE_BYTES)
                if self._bytes.skip(step) < step:
                    raise self._broken_off()
                self._left -= step
            rest = self._padding
        if self._bytes.skip(rest) < rest:
            raise self._broken_off()
        self._left = self._padding = 0

    def _understand(self, parse: Callable[[_T], _R], data: _T) -> _R:
        try:
            return parse(data)
        except ArchiveCorrupt as error:
            raise self._bytes.corrupt(f"is damaged ({error})") from error

    def _broken_off(self) -> ArchiveCorrupt:
        return self._bytes.corrupt(f"is broken off after {self._bytes.packed_read:,} bytes")
