"""The ledger: which files are already here, how long they are and what their digest is.

Every run of a partition appends to a segment of its own, JSON lines, so that no two writers ever
share a file; a line counts once its end is there. :func:`compact` merges segments into one SQLite
table, from which a partition looks up its own paths, so memory follows the batch and not the
dataset. Uncompacted segments are read all the same, only slower.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import orjson

from mlhub_core.exceptions import StorageError
from mlhub_core.transfer.storage import storage_error

logger = logging.getLogger(__name__)

_TABLE_NAME = "ledger.sqlite"
_SUFFIX = ".jsonl"
_FLUSH_ENTRIES = 64
_LOOKUP = 500
"""Paths per query: SQLite's oldest limit on parameters is 999."""
_MERGE_ROWS = 50_000

_CREATE = """
CREATE TABLE IF NOT EXISTS files (
    path TEXT PRIMARY KEY, size INTEGER NOT NULL, sha256 TEXT, etag TEXT, modified TEXT,
    source TEXT NOT NULL, state TEXT NOT NULL, time REAL NOT NULL
) WITHOUT ROWID
"""
_REPLACE = "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?)"


class State(StrEnum):
    """How sure the ledger is of a file."""

    VERIFIED = "verified"
    """Fetched, and its length or a digest compared."""
    ADOPTED = "adopted"
    """It lay there; the server, or the catalog's digest, says that it is complete."""
    UNCHECKED = "unchecked"
    """It lay there, or came without anything to compare it with."""
    DAMAGED = "damaged"
    """It was whole once, and a later check found that it no longer is. The entry stays, for its
    size and digest are what a file in its place is held against."""


class Entry(NamedTuple):
    """A finished file.

    Attributes:
        path: Its save path.
        size: Bytes.
        sha256: Digest, None for a file that was taken without reading it.
        etag: As the server gave it.
        modified: ``Last-Modified`` as the server gave it.
        source: :func:`source_digest` of its href.
        state: How sure we are of it.
        time: When it was recorded, seconds since 1970.
    """

    path: str
    size: int
    sha256: str | None
    etag: str | None
    modified: str | None
    source: str
    state: State
    time: float


def source_digest(href: str) -> str:
    """A short digest of the path of an href.

    Host and query are left out: mirrors, ports and signatures change, the file does not.
    """
    # By hand: urlsplit takes longer than all else that is done about a file that is here.
    path = href.partition("#")[0].partition("?")[0]
    scheme, mark, rest = path.partition("://")
    if mark and "/" not in scheme:
        path = rest[rest.find("/") :] if "/" in rest else ""
    return hashlib.sha256(path.encode("utf-8", "surrogatepass")).hexdigest()[:16]


class LedgerWriter:
    """Appends to one segment; the file appears with the first entry.

    Args:
        directory: The ledger's directory.
        number: The partition's number, for the segment's name.
    """

    def __init__(self, directory: Path, number: int) -> None:
        name = f"{time.time_ns():020d}-{number:05d}-{os.getpid()}{_SUFFIX}"
        self._path = directory / name
        self._fd: int | None = None
        self._pending: list[bytes] = []

    def add(self, entry: Entry) -> None:
        """Record a file that lies at its final place by now.

        Raises:
            StorageError: if the disk refuses.
        """
        self._pending.append(orjson.dumps(tuple(entry)))
        if len(self._pending) >= _FLUSH_ENTRIES:
            self.flush()

    def flush(self) -> None:
        """Hand what is pending to the operating system: from here on a kill loses nothing of it.

        Raises:
            StorageError: if the disk refuses.
        """
        if not self._pending:
            return
        data = b"\n".join(self._pending) + b"\n"
        try:
            if self._fd is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            view = memoryview(data)
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as error:
            raise storage_error(f"write the ledger {self._path}", error) from error
        self._pending.clear()

    def close(self) -> None:
        """Flush and close."""
        try:
            self.flush()
        finally:
            if self._fd is not None:
                os.close(self._fd)
                self._fd = None


class LedgerReader:
    """Looks entries up.

    Args:
        directory: The ledger's directory, which need not exist.
        paths: The only paths that will be asked for, to be read once; needed to keep what stands
            in uncompacted segments small. None keeps all of it.
    """

    def __init__(self, directory: Path, paths: Iterable[str] | None = None) -> None:
        self._table: sqlite3.Connection | None = None
        self._recent: dict[str, Entry] = {}
        # Segments first: one that is compacted in between is then found in the table as well.
        segments = _segments(directory)
        if segments:
            wanted = None if paths is None else frozenset(paths)
            for entry in _read_all(segments):
                if wanted is None or entry.path in wanted:
                    self._recent[entry.path] = entry
        table = directory / _TABLE_NAME
        if table.exists():
            self._table = _connect(table)

    def find(self, paths: list[str]) -> dict[str, Entry]:
        """Entries of those of ``paths`` that the ledger knows.

        Raises:
            StorageError: if the table cannot be read.
        """
        found: dict[str, Entry] = {}
        if self._table is not None:
            try:
                for start in range(0, len(paths), _LOOKUP):
                    chunk = paths[start : start + _LOOKUP]
                    marks = ",".join("?" * len(chunk))
                    query = f"SELECT * FROM files WHERE path IN ({marks})"
                    for row in self._table.execute(query, chunk):
                        found[row[0]] = _entry_of(row)
            except (sqlite3.Error, ValueError) as error:
                raise _table_error(error) from error
        if self._recent:
            found.update((path, self._recent[path]) for path in paths if path in self._recent)
        return found

    def close(self) -> None:
        """Close the table."""
        if self._table is not None:
            self._table.close()
            self._table = None


def compact(directory: Path) -> int:
    """Merge all segments into the table and remove them.

    Call it under the directory's lock while no partition runs. A crash in between loses nothing:
    segments go only once the table is committed, the oldest first, and merging one again is
    harmless.

    Returns:
        Entries merged.

    Raises:
        StorageError: if the disk refuses.
    """
    segments = _segments(directory)
    if not segments:
        return 0
    merged = 0
    try:
        with closing(_connect(directory / _TABLE_NAME)) as table, table:
            table.execute(_CREATE)
            rows: list[Entry] = []
            for entry in _read_all(segments):
                rows.append(entry)
                if len(rows) >= _MERGE_ROWS:
                    merged += len(rows)
                    table.executemany(_REPLACE, rows)
                    rows.clear()
            table.executemany(_REPLACE, rows)
            merged += len(rows)
        for segment in segments:
            segment.unlink()
    except sqlite3.Error as error:
        raise _table_error(error) from error
    except OSError as error:
        raise StorageError(f"Cannot tidy the ledger {directory}: {error.strerror}.") from error
    return merged


def entries(directory: Path) -> Iterator[Entry]:
    """All entries, in the order of their paths, once compacted.

    Raises:
        StorageError: if the table cannot be read.
    """
    table = directory / _TABLE_NAME
    if not table.exists():
        return
    try:
        with closing(_connect(table)) as connection:
            for row in connection.execute("SELECT * FROM files ORDER BY path"):
                yield _entry_of(row)
    except (sqlite3.Error, ValueError) as error:
        raise _table_error(error) from error


def totals(directory: Path) -> tuple[int, int]:
    """How many entries there are, and the sum of their sizes, once compacted.

    Raises:
        StorageError: if the table cannot be read.
    """
    table = directory / _TABLE_NAME
    if not table.exists():
        return 0, 0
    try:
        with closing(_connect(table)) as connection:
            query = "SELECT count(*), coalesce(sum(size), 0) FROM files"
            count, size = connection.execute(query).fetchone()
    except sqlite3.Error as error:
        raise _table_error(error) from error
    return int(count), int(size)


def mark_damaged(directory: Path, paths: Iterable[str]) -> None:
    """Let :attr:`State.DAMAGED` be the state of these entries and of no other, once compacted.

    Those that were damaged and no longer are have been restored by somebody. Call it under the
    directory's lock while no partition runs.

    Raises:
        StorageError: if the disk refuses.
    """
    table = directory / _TABLE_NAME
    if not table.exists():
        return
    restored = "UPDATE files SET state = CASE WHEN sha256 IS NULL THEN ? ELSE ? END WHERE state = ?"
    try:
        with closing(_connect(table)) as connection, connection:
            connection.execute(restored, (State.UNCHECKED, State.ADOPTED, State.DAMAGED))
            update = "UPDATE files SET state = ? WHERE path = ?"
            connection.executemany(update, ((State.DAMAGED, path) for path in paths))
    except sqlite3.Error as error:
        raise _table_error(error) from error


def _entry_of(row: tuple[Any, ...]) -> Entry:
    path, size, sha256, etag, modified, source, state, moment = row
    return Entry(path, size, sha256, etag, modified, source, State(state), moment)


def _connect(table: Path) -> sqlite3.Connection:
    try:
        return sqlite3.connect(f"file:{quote(str(table))}", uri=True, timeout=30)
    except sqlite3.Error as error:
        raise _table_error(error) from error


def _table_error(error: Exception) -> StorageError:
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return storage_error(f"write {_TABLE_NAME} in .mlhub/ledger", full)
    return StorageError(
        f"Cannot use {_TABLE_NAME} in .mlhub/ledger: {error}. Remove it to have every file that "
        "is here checked with one request instead."
    )


def _segments(directory: Path) -> list[Path]:
    """Oldest first, by name."""
    try:
        return sorted(path for path in directory.iterdir() if path.name.endswith(_SUFFIX))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StorageError(f"Cannot read the ledger {directory}: {error.strerror}.") from error


def _read_all(segments: list[Path]) -> Iterator[Entry]:
    for segment in segments:
        yield from read_segment(segment)


def read_segment(segment: Path) -> Iterator[Entry]:
    """Entries of one segment; a torn line, as a kill or a power failure leaves it, is left out.

    Raises:
        StorageError: if the disk refuses.
    """
    try:
        with segment.open("rb") as file:
            for line in file:
                entry = _parse(line)
                if entry is None:
                    logger.debug("torn line in %s left out", segment.name)
                else:
                    yield entry
    except FileNotFoundError:
        return  # compacted since it was listed
    except OSError as error:
        raise StorageError(f"Cannot read the ledger {segment}: {error.strerror}.") from error


def _parse(line: bytes) -> Entry | None:
    if not line.endswith(b"\n"):
        return None
    try:
        entry = _entry_of(orjson.loads(line))
    except (ValueError, TypeError):
        return None
    sound = isinstance(entry.path, str) and isinstance(entry.size, int)
    return entry if sound and isinstance(entry.source, str) else None
