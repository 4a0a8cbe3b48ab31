"""Partial files: what is being written, and what is kept of interrupted transfers.

A partial file is named by a digest of its save path. Beside those that can be continued lies a
note, JSON, with what the next run needs to ask for the rest: the validator the bytes came with.
"""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import orjson

from mlhub_core.exceptions import storage_errors
from mlhub_core.net.checksums import new_hash
from mlhub_core.net.response import is_validator
from mlhub_core.state import open_state

_PART = ".part"
_NOTE = ".json"
_WRITTEN = ("source", "validator", "etag", "modified", "total", "digests")
_MOST = 2**63 - 1
_MARK = re.compile(rb"\[(\d{1,18}),\"([0-9a-f]{64})\"\]")


@dataclass(frozen=True, slots=True)
class Note:
    """What the bytes of a partial file are part of.

    Attributes:
        source: :func:`~mlhub_core.transfer.sources.fingerprint` of the asset.
        validator: For If-Range: a strong ETag or a date.
        etag: As the server gave it.
        modified: ``Last-Modified`` as the server gave it.
        total: Bytes of the whole, None while unknown.
        digests: ``(algorithm, hexadecimal)`` of the whole, as the server gave them.
        marks: ``(bytes, SHA-256)``, rising: what so many bytes from the beginning on were when they
            were written. None in notes of earlier versions, which have none.
    """

    source: str
    validator: str
    etag: str | None
    modified: str | None
    total: int | None
    digests: tuple[tuple[str, str], ...]
    marks: tuple[tuple[int, str], ...] | None = None


class Partials:
    """The partial files of one download.

    Args:
        directory: ``.mlhub/partial``.

    Raises:
        StorageError: if the directory cannot be made or read.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = str(directory)
        with storage_errors(f"use {directory}"):
            directory.mkdir(parents=True, exist_ok=True)
            # Read once: asking the disk about every asset would cost more than the asset.
            self._notes = {name for name in os.listdir(directory) if name.endswith(_NOTE)}

    def any(self) -> bool:
        """Whether any partial file can be continued."""
        return bool(self._notes)

    def path(self, save_path: str) -> str:
        """Where an asset is written while it is not whole."""
        return self._stem(save_path) + _PART

    def _stem(self, save_path: str) -> str:
        name = hashlib.sha256(save_path.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        return f"{self._directory}/{name}"

    def _noted(self, save_path: str) -> str | None:
        """The stem of a partial file that has a note, None where it has none."""
        if not self._notes:
            return None
        stem = self._stem(save_path)
        return stem if stem.rpartition("/")[2] + _NOTE in self._notes else None

    def read_note(self, save_path: str) -> tuple[Note, int] | None:
        """The note of a partial file and its size, None where there is nothing to continue."""
        stem = self._noted(save_path)
        if stem is None:
            return None
        try:
            size = os.stat(stem + _PART).st_size
            with open_state(stem + _NOTE, "rb") as file:
                return _parse(file.read()), size
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None  # a torn note, or one of something else: fetched from the beginning

    def write_note(self, save_path: str, note: Note) -> str:
        """Make a partial file one that can be continued, even after a kill.

        Returns:
            The note's path, for :meth:`Body.mark_in <mlhub_core.net.body.Body.mark_in>`.

        Raises:
            StorageError: if the disk refuses.
        """
        stem = self._stem(save_path)
        data = {name: getattr(note, name) for name in _WRITTEN}
        with storage_errors(f"write {stem}{_NOTE}"), open_state(stem + _NOTE, "wb") as file:
            file.write(orjson.dumps(data) + b"\n")
        self._notes.add(stem.rpartition("/")[2] + _NOTE)
        return stem + _NOTE

    def note_path(self, save_path: str) -> str:
        """Where an asset's note lies."""
        return self._stem(save_path) + _NOTE

    def forget(self, save_path: str) -> None:
        """Remove an asset's note, if it has one: its partial file has become the final one.

        Raises:
            StorageError: if the disk refuses.
        """
        stem = self._noted(save_path)
        if stem is not None:
            self._notes.discard(stem.rpartition("/")[2] + _NOTE)
            _unlink(stem + _NOTE)

    def discard(self, save_path: str) -> None:
        """Remove an asset's note and the partial file it vouches for, if it has one.

        Raises:
            StorageError: if the disk refuses.
        """
        stem = self._noted(save_path)
        if stem is not None:
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
    if not directory.exists():
        return 0
    with storage_errors(f"read {directory}"):
        names = set(os.listdir(directory))
    removed = 0
    for name in names:
        stem, dot, suffix = name.rpartition(".")
        twin = stem + (_NOTE if dot + suffix == _PART else _PART)
        if dot + suffix in (_PART, _NOTE) and twin not in names:
            _unlink(f"{directory}/{name}")
            removed += 1
    return removed


def _parse(data: bytes) -> Note:
    """Read a note: a line of JSON, then marks, a line each.

    Raises:
        ValueError: if it is not one of ours.
        KeyError: the same.
        TypeError: the same.
    """
    first, _, rest = data.partition(b"\n")
    fields = orjson.loads(first)
    total = fields["total"]
    if total is not None and not (type(total) is int and 0 <= total <= _MOST):
        raise ValueError("no length")
    # Earlier versions kept validators that no header line can hold.
    if not is_validator(_text(fields["validator"])):
        raise ValueError("no validator")
    return Note(
        source=_text(fields["source"]),
        validator=_text(fields["validator"]),
        etag=None if fields["etag"] is None else _text(fields["etag"]),
        modified=None if fields["modified"] is None else _text(fields["modified"]),
        total=total,
        digests=tuple(_digest(*pair) for pair in fields["digests"]),
        marks=_marks(rest) if data.endswith(b"\n") or rest else None,
    )


def _text(value: object) -> str:
    """A text that can stand in a header."""
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError("no text")
    return value


def _digest(algorithm: object, value: object) -> tuple[str, str]:
    name, text = _text(algorithm), _text(value)
    new_hash(name)
    bytes.fromhex(text)
    return name, text


def _marks(data: bytes) -> tuple[tuple[int, str], ...]:
    """The marks of a note up to the first line that is torn; later ones replace those they undo."""
    marks: list[tuple[int, str]] = []
    for line in data.split(b"\n"):
        found = _MARK.fullmatch(line)
        if found is None:
            break
        size = int(found[1])
        while marks and marks[-1][0] >= size:
            marks.pop()
        marks.append((size, found[2].decode()))
    return tuple(marks)


def _unlink(path: str) -> None:
    with storage_errors(f"remove {path}"), suppress(FileNotFoundError):
        os.unlink(path)
