"""The body of one file on its way to disk, with its digests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from mlhub_core.exceptions import storage_errors
from mlhub_core.net.checksums import Checksum, new_hash
from mlhub_core.state import open_descriptor, open_state

_GATHER = 128 * 1024
"""Bytes gathered in memory before they are written in one go: most assets are whole and checked
before they touch the disk at all. A thousand connections hold 128 MiB at most."""
_BLOCK = 1024 * 1024
_MARK_EVERY = 1024 * 1024
"""Bytes between two marks; the first of these have more of them, so that little is lost."""
_SHA256 = "sha256"
OTHER_BYTES = "another checksum than expected"
"""The cause of a mismatch that only the bytes tell of."""


class Mismatch(NamedTuple):
    """Why a body is not the file: in words that group well, and the numbers of this case."""

    cause: str
    detail: str = ""


class Body:
    """Bytes of one file, in memory while few, then in its partial file.

    All methods raise ``StorageError`` when the disk refuses, and what ``check`` raises, which is
    called between blocks.

    Args:
        path: The partial file.
        algorithms: Digests to compute beside SHA-256, in the names of
            :mod:`~mlhub_core.net.checksums`.

    Attributes:
        path: The partial file.
        size: Bytes so far.
    """

    __slots__ = (
        *("_descriptor", "_hashers", "_held", "_marked", "_marks", "_on_disk"),
        *("path", "size"),
    )

    def __init__(self, path: str, algorithms: Iterable[str] = ()) -> None:
        self.path = path
        self.size = 0
        self._hashers = _hashers((_SHA256, *algorithms))
        self._held = bytearray()
        self._descriptor: int | None = None
        """Of the partial file while it is open."""
        self._on_disk = False
        self._marks: str | None = None
        """The note in which marks are written."""
        self._marked = 0
        """Bytes at the last mark."""

    def write(self, pieces: Sequence[bytes]) -> None:
        """Append."""
        for piece in pieces:
            _update(self._hashers, piece)
            self._held += piece
            self.size += len(piece)
        if len(self._held) >= _GATHER:
            self.spill()

    def spill(self) -> None:
        """Move what is held in memory to the partial file."""
        with storage_errors(f"write {self.path}"):
            if self._descriptor is None:
                begin = os.O_APPEND if self._on_disk else os.O_TRUNC
                self._descriptor = open_descriptor(self.path, os.O_WRONLY | os.O_CREAT | begin)
                self._on_disk = True
            if not self._held:
                return
            rest = memoryview(self._held)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
            self._held = bytearray()
        early = self.size < _MARK_EVERY
        if self._marks is not None and (early or self.size - self._marked >= _MARK_EVERY):
            self._mark(self._marks)

    def mark_in(self, note: str) -> None:
        """Say in a note, from here on, what the bytes on disk are.

        Whoever continues them then need not believe a disk that lost power.
        """
        self._marks = note
        self._mark(note)

    def _mark(self, note: str) -> None:
        self._marked = self.size
        line = f'[{self.size},"{self.digest(_SHA256)}"]\n'
        with storage_errors(f"write {note}"):
            descriptor = open_descriptor(note, os.O_WRONLY | os.O_APPEND)
            try:
                os.write(descriptor, line.encode())
            finally:
                os.close(descriptor)

    def copy_from(self, source: str, check: Callable[[], None]) -> None:
        """Append the content of another file."""
        with storage_errors(f"read {source}"), open(source, "rb", buffering=0) as file:
            while block := file.read(_BLOCK):
                check()
                self.write((block,))

    def load(
        self, check: Callable[[], None], marks: Sequence[tuple[int, str]] | None = None
    ) -> None:
        """Take what the partial file holds as the beginning, and compute its digests.

        Args:
            check: Called between blocks; raises to stop.
            marks: What so many bytes were. What follows the last one that agrees is cut off. None
                believes all of them.
        """
        with (
            storage_errors(f"read {self.path}"),
            open_state(self.path, "r+b", buffering=0) as file,
        ):
            if marks is None:
                self._take_in(file, None, check)
            else:
                self._take_marked(file, marks, check)
                file.truncate(self.size)
        self._on_disk = True

    def _take_marked(
        self, file: Any, marks: Sequence[tuple[int, str]], check: Callable[[], None]
    ) -> None:
        good = 0
        for size, digest in marks:
            self._take_in(file, size, check)
            if self.size != size or self.digest(_SHA256) != digest:
                break
            good = size
        if self.size != good:  # once more, as far as it agrees
            self.size = 0
            self._hashers = _hashers(self._hashers)
            file.seek(0)
            self._take_in(file, good, check)

    def _take_in(self, file: Any, end: int | None, check: Callable[[], None]) -> None:
        """Read on to a position, or to the end of the file."""
        while end is None or self.size < end:
            block = file.read(_BLOCK if end is None else min(_BLOCK, end - self.size))
            if not block:
                return
            check()
            _update(self._hashers, block)
            self.size += len(block)

    def tail(self, count: int) -> bytes:
        """The last bytes of what has been loaded or closed."""
        with storage_errors(f"read {self.path}"), open_state(self.path, "rb", buffering=0) as file:
            file.seek(self.size - count)
            return bytes(file.read(count))

    def pieces(self, check: Callable[[], None]) -> Iterator[bytes]:
        """All bytes again, from memory or from disk."""
        if not self._on_disk:
            yield bytes(self._held)
            return
        self.close()
        with storage_errors(f"read {self.path}"), open_state(self.path, "rb", buffering=0) as file:
            while block := file.read(_BLOCK):
                check()
                yield block

    def begin(self, count: int) -> bytes:
        """The first bytes."""
        return first_bytes(self.path, count) if self._on_disk else bytes(self._held[:count])

    def digest(self, algorithm: str, check: Callable[[], None] = lambda: None) -> str:
        """A digest of all bytes so far, in hexadecimal; read again where it was not computed."""
        hasher = self._hashers.get(algorithm)
        if hasher is not None:
            return str(hasher.hexdigest())
        self.close()
        return digest_file(self.path, [algorithm], check)[algorithm]

    def close(self) -> None:
        """Write out what is held; the partial file then has all bytes."""
        try:
            self.spill()
        finally:
            self._close_file()

    def _close_file(self) -> None:
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            with storage_errors(f"write {self.path}"):  # NFS tells of a full disk here
                os.close(descriptor)

    def discard(self) -> None:
        """Throw all bytes away, those on disk too."""
        self._held = bytearray()
        self._close_file()
        if self._on_disk:
            self._on_disk = False
            with storage_errors(f"remove {self.path}"):
                try:
                    os.unlink(self.path)
                except FileNotFoundError:
                    return

    def mismatch(
        self, total: int | None, digests: Iterable[Checksum], check: Callable[[], None]
    ) -> Mismatch | None:
        """Why a body that is over is not the file, None where nothing speaks against it.

        Args:
            total: How many bytes there should be, None where nothing says.
            digests: What they should come to.
            check: Called between blocks that are read again; raises to stop.
        """
        if total is not None and self.size != total:
            detail = f"{total} bytes expected, {self.size} came"
            return Mismatch("another length than expected", detail)
        for algorithm, expected in digests:
            actual = self.digest(algorithm, check)
            if actual != expected:
                return Mismatch(OTHER_BYTES, f"{algorithm} {expected} expected, {actual} came")
        return None


def _hashers(algorithms: Iterable[str]) -> dict[str, Any]:
    return {name: new_hash(name) for name in algorithms}


def _update(hashers: dict[str, Any], data: bytes) -> None:
    for hasher in hashers.values():
        hasher.update(data)


def first_bytes(path: str, count: int) -> bytes:
    """What a file begins with.

    Raises:
        StorageError: if it cannot be read.
    """
    with storage_errors(f"read {path}"), open(path, "rb", buffering=0) as file:
        return file.read(count)


def digest_file(path: str, algorithms: Iterable[str], check: Callable[[], None]) -> dict[str, str]:
    """Digests of a file, by algorithm.

    Raises:
        StorageError: if it cannot be read.
    """
    hashers = _hashers(algorithms)
    with storage_errors(f"read {path}"), open(path, "rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            check()
            _update(hashers, block)
    return {name: hasher.hexdigest() for name, hasher in hashers.items()}
