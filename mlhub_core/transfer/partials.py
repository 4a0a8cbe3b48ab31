"""Partial files: what is being written, and what is kept of interrupted transfers.

A partial file is named by a digest of its save path. Beside those that can be continued lies a
note, JSON, with what the next run needs to ask for the rest: the validator the bytes came with.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import orjson

from mlhub_core.checksums import new_hash
from mlhub_core.exceptions import StorageError
from mlhub_core.http_rules import is_validator
from mlhub_core.state import open_state
from mlhub_core.transfer.storage import storage_error

_PART = ".part"
_NOTE = ".json"
_numbers = count()


@dataclass(frozen=True, slots=True)
class Note:
    """What the bytes of a partial file are part of.

    Attributes:
        source: :func:`~mlhub_core.transfer.fingerprint.fingerprint` of the asset.
        validator: For If-Range: a strong ETag or a date.
        etag: As the server gave it.
        modified: ``Last-Modified`` as the server gave it.
        total: Bytes of the whole, None while unknown.
        digests: ``(algorithm, hexadecimal)`` of the whole, as the server gave them.
    """

    source: str
    validator: str
    etag: str | None
    modified: str | None
    total: int | None
    digests: tuple[tuple[str, str], ...]


class Partials:
    """The partial files of one download.

    Attributes:
        scratch: A name for a file that is written in one go, which nobody else has.

    Args:
        directory: ``.mlhub/partial``.

    Raises:
        StorageError: if the directory cannot be made or read.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = str(directory)
        self.scratch = f"{directory}/{os.getpid()}-{next(_numbers)}{_PART}"
        try:
            directory.mkdir(parents=True, exist_ok=True)
            # Read once: asking the disk about every asset would cost more than the asset.
            self._notes = {name for name in os.listdir(directory) if name.endswith(_NOTE)}
        except OSError as error:
            raise storage_error(f"use {directory}", error) from error

    def any(self) -> bool:
        """Whether any partial file can be continued."""
        return bool(self._notes)

    def path(self, save_path: str) -> str:
        """Where an asset is written while it is not whole."""
        return self._stem(save_path) + _PART

    def _stem(self, save_path: str) -> str:
        name = hashlib.sha256(save_path.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        return f"{self._directory}/{name}"

    def _has_note(self, stem: str) -> bool:
        return stem.rpartition("/")[2] + _NOTE in self._notes

    def read_note(self, save_path: str) -> tuple[Note, int] | None:
        """The note of a partial file and its size, None where there is nothing to continue."""
        if not self._notes:
            return None
        stem = self._stem(save_path)
        if not self._has_note(stem):
            return None
        try:
            size = os.stat(stem + _PART).st_size
            with open_state(stem + _NOTE, "rb") as file:
                return _parse(file.read()), size
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None  # a torn note: the file is fetched from its beginning

    def write_note(self, save_path: str, note: Note) -> None:
        """Make a partial file one that can be continued, even after a kill.

        Raises:
            StorageError: if the disk refuses.
        """
        stem = self._stem(save_path)
        data = {name: getattr(note, name) for name in Note.__slots__}
        try:
            with open_state(stem + _NOTE, "wb") as file:
                file.write(orjson.dumps(data))
        except OSError as error:
            raise storage_error(f"write {stem}{_NOTE}", error) from error
        self._notes.add(stem.rpartition("/")[2] + _NOTE)

    def forget(self, save_path: str) -> None:
        """Remove an asset's note, if it has one: its partial file has become the final one.

        Raises:
            StorageError: if the disk refuses.
        """
        if self._notes:
            stem = self._stem(save_path)
            if self._has_note(stem):
                self._notes.discard(stem.rpartition("/")[2] + _NOTE)
                _unlink(stem + _NOTE)

    def discard(self, save_path: str) -> None:
        """Remove an asset's note and the partial file it vouches for, if it has one.

        Raises:
            StorageError: if the disk refuses.
        """
        if self._notes:
            stem = self._stem(save_path)
            if self._has_note(stem):
                self.forget(save_path)
                _unlink(stem + _PART)


def sweep_partials(directory: Path) -> int:
    """Remove partial files that nothing can continue, as killed runs leave them.

    Call it under the directory's lock while no partition runs.

    Returns:
        Files removed.

    Raises:
        StorageError: if the disk refuses.
    """
    try:
        names = set(os.listdir(directory))
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise storage_error(f"read {directory}", error) from error
    removed = 0
    for name in names:
        stem, dot, suffix = name.rpartition(".")
        twin = stem + (_NOTE if dot + suffix == _PART else _PART)
        if dot + suffix in (_PART, _NOTE) and twin not in names:
            _unlink(f"{directory}/{name}")
            removed += 1
    return removed


def _parse(data: bytes) -> Note:
    fields = orjson.loads(data)
    note = Note(**{name: fields[name] for name in Note.__slots__})
    said = (note.source, note.validator, note.etag or "", note.modified or "")
    sound = all(type(text) is str for text in said) and type(note.total) in (int, type(None))
    # Versions before this one kept validators that no header line can hold.
    if not sound or not is_validator(note.validator):
        raise ValueError("not a note")
    digests = tuple((name, value) for name, value in note.digests)
    for name, _ in digests:
        new_hash(name)
    return replace(note, digests=digests)


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise StorageError(f"Cannot remove {path}: {error.strerror}.") from error
