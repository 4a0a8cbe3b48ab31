"""The body of one file on its way to disk, with its digests."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import Any

from mlhub_core.exceptions import StorageError
from mlhub_core.transfer.storage import storage_error

_GATHER = 128 * 1024
"""Bytes gathered in memory before they are digested and written in one go: most assets are whole
and checked before they touch the disk at all. A thousand connections hold 128 MiB at most."""
_BLOCK = 1024 * 1024
_LARGE = 1024 * 1024
"""From so many bytes on a body is digested in another thread: SHA-256 takes longer than the network
and the disk together, and does not need the interpreter."""
_SHA256 = "sha256"


class Body:
    """Bytes of one file, in memory while few, then in its partial file.

    All methods raise ``StorageError`` when the disk refuses.

    Args:
        path: The partial file.
        algorithms: Digests to compute beside SHA-256, in the names of :mod:`hashlib`.
    """

    __slots__ = (
        "_chunks",
        "_digesting",
        "_fd",
        "_gathered",
        "_hashers",
        "_on_disk",
        "path",
        "size",
    )

    def __init__(self, path: str, algorithms: Iterable[str] = ()) -> None:
        self.path = path
        self.size = 0
        self._hashers: dict[str, Any] = {_SHA256: hashlib.sha256()}
        for name in algorithms:
            if name not in self._hashers:
                self._hashers[name] = hashlib.new(name)
        self._chunks: list[bytes] = []
        self._gathered = 0
        self._digesting: Future[None] | None = None
        """The digest of the piece before, one at a time: their order matters."""
        self._fd: int | None = None
        self._on_disk = False

    def write(self, data: bytes) -> None:
        """Append."""
        self._chunks.append(data)
        count = len(data)
        self.size += count
        self._gathered += count
        if self._gathered >= _GATHER:
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
        data = self._digest_gathered()
        if data:
            self._chunks.clear()
            self._put(self._fd, data)

    def _digest_gathered(self) -> bytes:
        """Bring the digests up to what has come.

        Returns:
            What is held in memory, in one piece.
        """
        chunks = self._chunks
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        if self._gathered:
            self._settle_digest()
            if self.size < _LARGE:
                _update(self._hashers, data)
            else:
                self._digesting = _digesters().submit(_update, self._hashers, data)
            self._gathered = 0
            self._chunks = [data]
        return data

    def _settle_digest(self) -> None:
        if self._digesting is not None:
            self._digesting.result()
            self._digesting = None

    def _put(self, fd: int, data: bytes) -> None:
        try:
            written = os.write(fd, data)
            while written < len(data):
                written += os.write(fd, data[written:])
        except OSError as error:
            raise storage_error(f"write {self.path}", error) from error

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
                    self.write(block)
        except OSError as error:
            raise storage_error(f"read {source}", error) from error

    def load(self, check: Callable[[], None]) -> None:
        """Take what the partial file holds as the beginning, and compute its digests.

        Args:
            check: Called between blocks; raises to stop.
        """
        try:
            with open(self.path, "rb", buffering=0) as file:
                while block := file.read(_BLOCK):
                    check()
                    _update(self._hashers, block)
                    self.size += len(block)
        except OSError as error:
            raise storage_error(f"read {self.path}", error) from error
        self._on_disk = True

    def pieces(self, check: Callable[[], None]) -> Iterator[bytes]:
        """All bytes again, from memory or from disk.

        Args:
            check: Called between blocks; raises to stop.
        """
        if not self._on_disk:
            yield b"".join(self._chunks)
            return
        self.close()
        try:
            with open(self.path, "rb", buffering=0) as file:
                while block := file.read(_BLOCK):
                    check()
                    yield block
        except OSError as error:
            if isinstance(error, StorageError):
                raise
            raise storage_error(f"read {self.path}", error) from error

    def digest(self, algorithm: str) -> str | None:
        """A digest of all bytes so far, in hexadecimal; None where it was not computed."""
        if self._gathered:
            self._digest_gathered()
        self._settle_digest()
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
        self._chunks.clear()
        self._gathered = 0
        self._close_file()
        if self._on_disk:
            self._on_disk = False
            try:
                os.unlink(self.path)
            except FileNotFoundError:
                pass
            except OSError as error:
                raise storage_error(f"remove {self.path}", error) from error


def _update(hashers: dict[str, Any], data: bytes) -> None:
    for hasher in hashers.values():
        hasher.update(data)


@cache
def _digesters() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(2, thread_name_prefix="mlhub-digest")


def digest_file(path: str, algorithms: Iterable[str], check: Callable[[], None]) -> dict[str, str]:
    """Digests of a file, by algorithm.

    Raises:
        StorageError: if it cannot be read.
    """
    hashers = {name: hashlib.new(name) for name in algorithms}
    try:
        with open(path, "rb", buffering=0) as file:
            while block := file.read(_BLOCK):
                check()
                _update(hashers, block)
    except OSError as error:
        raise storage_error(f"read {path}", error) from error
    return {name: hasher.hexdigest() for name, hasher in hashers.items()}
