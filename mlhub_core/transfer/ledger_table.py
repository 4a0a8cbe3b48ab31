"""The ledger's table: one SQLite file with every entry that is not in a segment any more.

Memory is bounded by SQLite's page cache and by the batch, whatever the number of entries.
"""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mlhub_core.exceptions import StorageError
from mlhub_core.transfer.entry import Entry, Row, State, entry_of_row
from mlhub_core.transfer.storage import storage_error

log = logging.getLogger(__name__)

TABLE_NAME = "ledger.sqlite"

_LOOKUP = 500
"""Paths per query: SQLite's oldest limit on parameters is 999."""
_SPARSE = 4
"""Rows read for each path that is looked up, before the range between the first and the last path
counts as too wide to be read through."""
_MERGE_ROWS = 20_000
"""Sorted and inserted at a time. Paths in order touch each page of the table once."""
_CACHE_KIB = 32 * 1024
"""Of pages, while entries are merged: what a batch touches should not be written in between."""

_VERSION = 0
"""``user_version`` of the table; what is newer is refused."""
_COLUMNS = ["path", "size", "sha256", "etag", "modified", "source", "state", "time"]
_REFUSALS = frozenset(
    {
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
    }
)
"""Errors that say nothing about what is in the file."""

_CREATE = """
CREATE TABLE IF NOT EXISTS files (
    path TEXT PRIMARY KEY, size INTEGER NOT NULL, sha256 TEXT, etag TEXT, modified TEXT,
    source TEXT NOT NULL, state TEXT NOT NULL, time REAL NOT NULL
) WITHOUT ROWID
"""
_REPLACE = "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_BETWEEN = "SELECT {} FROM files WHERE path BETWEEN ? AND ?"
_FURTHER = "SELECT 1 FROM files WHERE path BETWEEN ? AND ? LIMIT 1 OFFSET ?"


Mark = tuple[int, str, str]
"""Of an entry, its size, its source and its state: by them a file that is as it was is known."""


class LedgerTable:
    """Looks entries up.

    Args:
        directory: The ledger's directory, with a table in it.

    Raises:
        StorageError: if the table cannot be opened.
    """

    def __init__(self, directory: Path) -> None:
        self._table = directory / TABLE_NAME
        with _errors(self._table):
            self._connection = _connect(self._table)
        self._dense = True
        """Whether neighbours in the table are asked for together, as far as is known."""

    def find(self, paths: list[str]) -> dict[str, Entry]:
        """Entries of those of ``paths`` that the table has.

        Raises:
            StorageError: if the table cannot be read.
        """
        with _errors(self._table):
            return {row[0]: entry_of_row(row) for row in self._rows(paths, "*")}

    def marks(self, paths: list[str]) -> dict[str, Mark]:
        """Size, source and state of those of ``paths`` that the table has.

        Raises:
            StorageError: if the table cannot be read.
        """
        with _errors(self._table):
            return {row[0]: row[1:] for row in self._rows(paths, "path, size, source, state")}

    def _rows(self, paths: list[str], columns: str) -> Iterable[Any]:
        rows = self._between(paths, columns) if self._dense and len(paths) > 1 else None
        if rows is None:
            return self._one_by_one(paths, columns)
        wanted = set(paths)
        return (row for row in rows if row[0] in wanted)

    def _between(self, paths: list[str], columns: str) -> Iterable[Any] | None:
        """Read a range of the table through, which takes half the time, unless it is too wide."""
        ends = (min(paths), max(paths))  # by code points, which is SQLite's order too
        # Counting past the rows takes a hundredth of reading them.
        further = self._connection.execute(_FURTHER, (*ends, _SPARSE * len(paths))).fetchone()
        if further is None:
            return self._connection.execute(_BETWEEN.format(columns), ends)
        self._dense = False
        return None

    def _one_by_one(self, paths: list[str], columns: str) -> Iterator[Any]:
        in_order = sorted(paths)  # neighbours lie on one page
        for start in range(0, len(in_order), _LOOKUP):
            chunk = in_order[start : start + _LOOKUP]
            marks = ",".join("?" * len(chunk))
            yield from self._connection.execute(
                f"SELECT {columns} FROM files WHERE path IN ({marks})", chunk
            )

    def close(self) -> None:
        """Close the table."""
        self._connection.close()


def check(directory: Path) -> None:
    """Look the table over; set one aside that is damaged, as a power failure may leave it.

    What is here is then found out by one request for each file. Call it under the directory's lock,
    while no partition runs.

    Raises:
        StorageError: if a newer version wrote it, or it cannot be read.
    """
    table = directory / TABLE_NAME
    if not table.exists():
        return
    try:
        with closing(_connect(table)) as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            columns = [row[1] for row in connection.execute("PRAGMA table_info(files)")]
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except (sqlite3.Error, ValueError) as error:
        if _is_refusal(error):
            raise _table_error(table, error) from error
        found = str(error)
    else:
        if found == "ok" and version > _VERSION:
            raise StorageError(
                f"{table} was written by a newer version of mlhub-flows: use that version here, or "
                "another output directory."
            )
        if found == "ok" and columns != _COLUMNS:
            found = "it is no ledger of ours"
    if found != "ok":
        log.warning("%s", _set_aside(table, found))


def _set_aside(table: Path, what: str) -> str:
    """Give a damaged table another name, and what is to be rolled back in it.

    Returns:
        What was done, for people.

    Raises:
        StorageError: if the disk refuses.
    """
    aside = table.with_name(table.name + ".damaged")
    try:
        for suffix in ("-journal", "-wal", "-shm"):
            table.with_name(table.name + suffix).unlink(missing_ok=True)
        os.replace(table, aside)
    except FileNotFoundError:
        pass  # a sibling was quicker
    except OSError as error:
        raise storage_error(f"set the damaged {table} aside", error) from error
    lines = what.splitlines() or ["unreadable"]
    return (
        f"{table} is damaged ({lines[-1]}) and was renamed to {aside.name}: each file that is here "
        "is asked about once instead."
    )


def merge(directory: Path, rows: Iterable[Row]) -> int:
    """Put rows into the table, those of the same path in place of older ones.

    All or none: a table that is there is changed in one transaction, a new one gets its name when
    it is complete.

    Returns:
        Rows merged.

    Raises:
        StorageError: if the disk refuses.
    """
    table = directory / TABLE_NAME
    if table.exists():
        with _errors(table), closing(_connect(table)) as connection:
            connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            with connection:
                connection.execute(_CREATE)
                return _insert(connection, rows)
    return _make(table, rows)


def _make(table: Path, rows: Iterable[Row]) -> int:
    new = table.with_name(table.name + ".new")
    try:
        _remove(new)  # of a run that was killed here
        merged = _fill(new, rows)
        _sync(new)
        os.replace(new, table)
    except BaseException as error:
        _remove(new)
        if isinstance(error, OSError) and not isinstance(error, StorageError):
            raise storage_error(f"write {table}", error) from error
        raise
    return merged


def _fill(new: Path, rows: Iterable[Row]) -> int:
    with _errors(new), closing(_connect(new)) as connection:
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        # Nobody looks at it before it is complete: there is nothing to roll back to.
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        with connection:
            connection.execute(_CREATE)
            return _insert(connection, rows)


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)


def _insert(connection: sqlite3.Connection, rows: Iterable[Row]) -> int:
    merged = 0
    pending = iter(rows)
    while batch := list(islice(pending, _MERGE_ROWS)):
        merged += len(batch)
        # The sort keeps the order of what has the same path: the latest comes last, and stays.
        batch.sort(key=_path_of)
        connection.executemany(_REPLACE, batch)
    return merged


def _path_of(row: Row) -> str:
    return row[0]


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def entries(directory: Path) -> Iterator[Entry]:
    """All entries of the table, in the order of their paths.

    Raises:
        StorageError: if the table cannot be read.
    """
    table = directory / TABLE_NAME
    if not table.exists():
        return
    with _errors(table), closing(_connect(table)) as connection:
        yield from map(entry_of_row, connection.execute("SELECT * FROM files ORDER BY path"))


def totals(directory: Path) -> tuple[int, int]:
    """How many entries the table has, and the sum of their sizes.

    Raises:
        StorageError: if the table cannot be read.
    """
    table = directory / TABLE_NAME
    if not table.exists():
        return 0, 0
    with _errors(table), closing(_connect(table)) as connection:
        query = "SELECT count(*), coalesce(sum(size), 0) FROM files"
        count, size = connection.execute(query).fetchone()
    return int(count), int(size)


def mark_damaged(directory: Path, paths: Iterable[str]) -> None:
    """Let :attr:`State.DAMAGED` be the state of these entries and of no other.

    Those that were damaged and no longer are have been restored by somebody. Call it under the
    directory's lock, with the ledger compacted, while no partition runs.

    Raises:
        StorageError: if the disk refuses.
    """
    table = directory / TABLE_NAME
    if not table.exists():
        return
    restored = "UPDATE files SET state = CASE WHEN sha256 IS NULL THEN ? ELSE ? END WHERE state = ?"
    with _errors(table), closing(_connect(table)) as connection, connection:
        connection.execute(restored, (State.UNCHECKED, State.ADOPTED, State.DAMAGED))
        update = "UPDATE files SET state = ? WHERE path = ?"
        connection.executemany(update, ((State.DAMAGED, path) for path in paths))


def forget(directory: Path, paths: Iterable[str]) -> None:
    """Remove entries whose files are no longer where they were.

    Call it under the directory's lock, with the ledger compacted, while no partition runs.

    Raises:
        StorageError: if the disk refuses.
    """
    table = directory / TABLE_NAME
    if not table.exists():
        return
    with _errors(table), closing(_connect(table)) as connection, connection:
        rows = ((path,) for path in paths)
        connection.executemany("DELETE FROM files WHERE path = ?", rows)


def _connect(table: Path) -> sqlite3.Connection:
    # Without SQLite's locks, which some file systems of clusters do not have: whoever writes holds
    # the directory's.
    return sqlite3.connect(f"file:{quote(os.fsencode(table))}?vfs=unix-none", uri=True)


@contextmanager
def _errors(table: Path) -> Iterator[None]:
    try:
        yield
    except UnicodeEncodeError:
        raise  # it is about what we are asked
    except (sqlite3.Error, ValueError) as error:
        raise _table_error(table, error) from error


def _is_refusal(error: Exception) -> bool:
    """Whether it is the disk, or another process, that refuses, and not the file that is bad."""
    return (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF in _REFUSALS


def _table_error(table: Path, error: Exception) -> StorageError:
    if not _is_refusal(error):
        return StorageError(f"{_set_aside(table, str(error))} Run the same command again.")
    codes = {sqlite3.SQLITE_FULL: errno.ENOSPC, sqlite3.SQLITE_NOMEM: errno.ENOMEM}
    code = codes.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
    reason = OSError(code, os.strerror(code)) if code else OSError(str(error))
    return storage_error(f"use {table}", reason)
