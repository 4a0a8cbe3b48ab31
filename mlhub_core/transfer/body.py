"""The body of one file on its way to disk, with its digests."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from mlhub_core.exceptions import StorageError
from mlhub_core.net.checksums import new_hash
from mlhub_core.net.head import ResponseHead
from mlhub_core.state import open_descriptor, open_state
from mlhub_core.transfer.contents import LOOKED_AT, Answer
from mlhub_core.transfer.storage import storage_error

_GATHER = 128 * 1024
"""Bytes gathered in memory before they are digested and written in one go: most assets are whole
and checked before they touch the disk at all, and what is digested and written has not left the
processor's cache yet. A thousand connections hold 128 MiB at most."""
_BLOCK = 1024 * 1024
_MARK_EVERY = 1024 * 1024
"""Bytes between two marks; the first of these have more of them, so that little is lost."""
_MOST_PIECES = 64
"""Pieces written as they came; more are put together first, as systems take 1,024 at most."""
_SHA256 = "sha256"


class Body:
    """Bytes of one file, in memory while few, then in its partial file.

    All methods raise ``StorageError`` when the disk refuses.

    Args:
        path: The partial file.
        algorithms: Digests to compute beside SHA-256, in the names of
            :mod:`~mlhub_core.net.checksums`.
    """

    __slots__ = (
        "_digested",
        "_fd",
        "_hashers",
        "_held",
        "_marked",
        "_marks",
        "_on_disk",
        "_pieces",
        "path",
        "size",
    )

    def __init__(self, path: str, algorithms: Iterable[str] = ()) -> None:
        self.path = path
        self.size = 0
        self._hashers: dict[str, Any] = {_SHA256: hashlib.sha256()}
        for name in algorithms:
            if name not in self._hashers:
                self._hashers[name] = new_hash(name)
        self._pieces: list[bytes] = []
        """What is held in memory."""
        self._held = 0
        self._digested = 0
        """Of the pieces, how many the digests have taken in."""
        self._fd: int | None = None
        self._on_disk = False
        self._marks: str | None = None
        self._marked = 0
        """Bytes at the last mark."""

    def write(self, pieces: Sequence[bytes]) -> None:
        """Append."""
        count = sum(map(len, pieces))
        self._pieces += pieces
        self.size += count
        self._held += count
        if self._held >= _GATHER:
            self.spill()

    def spill(self) -> None:
        """Move what is held in memory to the partial file."""
        if self._fd is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            flags |= os.O_APPEND if self._on_disk else os.O_TRUNC
            try:
                self._fd = os.open(self.path, flags, 0o666)
            except OSError as error:
                raise storage_error(f"write {self.path}", error) from error
            self._on_disk = True
        if self._held:
            self._digest_held()
            self._put(self._fd)
            self._drop_held()
            if self._marks is not None and (
                self.size < _MARK_EVERY or self.size - self._marked >= _MARK_EVERY
            ):
                self._mark()

    def mark_in(self, note: str) -> None:
        """Say in a note, from here on, what the bytes on disk are.

        Whoever continues them then need not believe a disk that lost power.
        """
        self._marks = note
        self._mark()

    def _mark(self) -> None:
        assert self._marks is not None
        self._marked = self.size
        line = f'[{self.size},"{self._hashers[_SHA256].hexdigest()}"]\n'
        try:
            fd = open_descriptor(self._marks, os.O_WRONLY | os.O_APPEND)
            try:
                os.write(fd, line.encode())
            finally:
                os.close(fd)
        except OSError as error:
            raise storage_error(f"write {self._marks}", error) from error

    def _digest_held(self) -> None:
        """Bring the digests up to what has come.

        In this thread: another one would leave its processor's cache cold, and waits for the
        interpreter cost more than SHA-256 does. Partitions have processes of their own.
        """
        pieces = self._pieces
        if self._digested:
            pieces = pieces[self._digested :]
        self._digested = len(self._pieces)
        for hasher in self._hashers.values():
            for piece in pieces:
                hasher.update(piece)

    def _put(self, fd: int) -> None:
        pieces = self._pieces
        if len(pieces) > _MOST_PIECES:
            pieces = [b"".join(pieces)]
        try:
            written = os.writev(fd, pieces)
            if written < self._held:
                rest = memoryview(b"".join(pieces))[written:]
                while rest:
                    rest = rest[os.write(fd, rest) :]
        except OSError as error:
            raise storage_error(f"write {self.path}", error) from error

    def _drop_held(self) -> None:
        self._pieces.clear()
        self._held = self._digested = 0

    def copy_from(self, source: str, check: Callable[[], None]) -> None:
        """Append the content of another file.

        Args:
            source: Its path.
            check: Called between blocks; raises to stop.
        """
        try:
            with open(source, "rb", buffering=0) as file:
                while block := file.read(_BLOCK):
                    check()
                    self.write((block,))
        except OSError as error:
            raise storage_error(f"read {source}", error) from error

    def load(
        self, check: Callable[[], None], marks: Sequence[tuple[int, str]] | None = None
    ) -> None:
        """Take what the partial file holds as the beginning, and compute its digests.

        Args:
            check: Called between blocks; raises to stop.
            marks: What so many bytes were. What follows the last one that agrees is cut off. None
                believes all of them.
        """
        try:
            with open_state(self.path, "r+b", buffering=0) as file:
                if marks is None:
                    self._take_in(file, None, check)
                else:
                    self._take_marked(file, marks, check)
                    file.truncate(self.size)
        except OSError as error:
            raise storage_error(f"read {self.path}", error) from error
        self._on_disk = True

    def tail(self, count: int) -> bytes:
        """The last bytes of what has been loaded or closed."""
        try:
            with open_state(self.path, "rb", buffering=0) as file:
                file.seek(self.size - count)
                return bytes(file.read(count))
        except OSError as error:
            raise storage_error(f"read {self.path}", error) from error

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
            self._hashers = {name: new_hash(name) for name in self._hashers}
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

    def pieces(self, check: Callable[[], None]) -> Iterator[bytes]:
        """All bytes again, from memory or from disk.

        Args:
            check: Called between blocks; raises to stop.
        """
        if not self._on_disk:
            yield b"".join(self._pieces)
            return
        self.close()
        try:
            with open_state(self.path, "rb", buffering=0) as file:
                while block := file.read(_BLOCK):
                    check()
                    yield block
        except OSError as error:
            if isinstance(error, StorageError):
                raise
            raise storage_error(f"read {self.path}", error) from error

    def answer(self, head: ResponseHead | None) -> Answer:
        """What is looked at to tell the file from a page about it.

        Args:
            head: Of the answer that the bytes came with, where there is one.
        """
        if self._on_disk:
            begin = first_bytes(self.path)
        else:
            begin = b"".join(self._pieces[:_MOST_PIECES])[:LOOKED_AT]
        fields = {} if head is None else head.fields
        return Answer(begin, self.size, fields.get("content-type"), fields.get("etag"))

    def digest(self, algorithm: str) -> str | None:
        """A digest of all bytes so far, in hexadecimal; None where it was not computed."""
        self._digest_held()
        hasher = self._hashers.get(algorithm)
        return None if hasher is None else str(hasher.hexdigest())

    def close(self) -> None:
        """Write out what is held; the partial file then has all bytes."""
        self.spill()
        self._close_file()

    def _close_file(self) -> None:
        if self._fd is not None:
            fd, self._fd = self._fd, None
            try:
                os.close(fd)
            except OSError as error:  # NFS tells of a full disk here
                raise storage_error(f"write {self.path}", error) from error

    def discard(self) -> None:
        """Throw all bytes away, those on disk too."""
        self._drop_held()
        self._close_file()
        if self._on_disk:
            self._on_disk = False
            try:
                os.unlink(self.path)
            except FileNotFoundError:
                pass
            except OSError as error:
                raise storage_error(f"remove {self.path}", error) from error


def first_bytes(path: str) -> bytes:
    """What a file begins with.

    Raises:
        StorageError: if it cannot be read.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(LOOKED_AT)
    except OSError as error:
        raise storage_error(f"read {path}", error) from error


def _update(hashers: dict[str, Any], data: bytes) -> None:
    for hasher in hashers.values():
        hasher.update(data)


def digest_file(path: str, algorithms: Iterable[str], check: Callable[[], None]) -> dict[str, str]:
    """Digests of a file, by algorithm.

    Raises:
        StorageError: if it cannot be read.
    """
    hashers = {name: new_hash(name) for name in algorithms}
    try:
        with open(path, "rb", buffering=0) as file:
            while block := file.read(_BLOCK):
                check()
                _update(hashers, block)
    except OSError as error:
        raise storage_error(f"read {path}", error) from error
    return {name: hasher.hexdigest() for name, hasher in hashers.items()}
