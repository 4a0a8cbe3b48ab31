"""The ledger: which files are already here, how long they are and what their digest is.

One SQLite table holds it. Only the run that has the directory's lock writes it, before and after
its partitions: SQLite's own locks, which file systems of clusters may not have, are not needed. A
partition, in whatever process and on whatever machine, appends what it finishes to a journal of its
own: lines of JSON, of which a kill tears the last at most. The end of the run, or else the next
one, merges the journals into the table.

Memory is bounded by SQLite's page cache and by the batch, whatever the number of entries.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from enum import StrEnum
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import orjson

from mlhub_core.exceptions import StorageError, storage_errors
from mlhub_core.sqlite_files import connect, refusal, tells_of_damage
from mlhub_core.state import open_state

log = logging.getLogger(__name__)

TABLE_NAME = "ledger.sqlite"

_JOURNAL = ".jsonl"
_LOOKUP = 500
"""Paths per query: SQLite's oldest limit on parameters is 999."""
_MERGE_ROWS = 20_000
"""Sorted and inserted at a time. Paths in order touch each page of the table once."""
_CACHE_KIB = 32 * 1024
"""Of pages, while entries are merged: what a batch touches should not be written in between."""

_VERSION = 0
"""``user_version`` of the table; what is newer is refused."""
_COLUMNS = ["path", "size", "sha256", "etag", "modified", "source", "state", "time"]
_TABLE = """
(
    path TEXT PRIMARY KEY, size INTEGER NOT NULL, sha256 TEXT, etag TEXT, modified TEXT,
    source TEXT NOT NULL, state TEXT NOT NULL, time REAL NOT NULL
) WITHOUT ROWID
"""
_CREATE = f"CREATE TABLE IF NOT EXISTS files {_TABLE}"
_FIND = "SELECT * FROM {} WHERE path IN ({})"
_REPLACE = "INSERT OR REPLACE INTO {} VALUES (?, ?, ?, ?, ?, ?, ?, ?)"

_MOST = 2**63 - 1
"""What SQLite takes for an integer."""


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
    OUTDATED = "outdated"
    """It is as it was fetched, but the catalog has changed about it since. It stays in use until
    what is fetched anew is whole."""


class Entry(NamedTuple):
    """A finished file.

    Attributes:
        path: Its save path.
        size: Bytes.
        sha256: Digest, None for a file that was taken without reading it.
        etag: As the server gave it.
        modified: ``Last-Modified`` as the server gave it.
        source: :func:`~mlhub_core.transfer.sources.fingerprint` of its asset.
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


_STATES = {str(state): state for state in State}
_TEXT = (str, type(None))


def _entry_of(row: Any) -> Entry | None:
    """An entry out of a row of the table or of a journal; None where it is none of ours."""
    try:
        path, size, sha256, etag, modified, source, state, moment = row
        sound = (  # one expression: this is done millions of times
            isinstance(path, str)
            and isinstance(size, int)
            and 0 <= size <= _MOST
            and isinstance(sha256, _TEXT)
            and isinstance(etag, _TEXT)
            and isinstance(modified, _TEXT)
            and isinstance(source, str)
        )
        if not sound:
            return None
        return Entry(path, size, sha256, etag, modified, source, _STATES[state], float(moment))
    except (ValueError, TypeError, KeyError):
        return None


def _row_of(entry: Entry) -> tuple[Any, ...]:
    """An entry as SQLite takes it in least time: what it has to adapt takes half as long again."""
    return (*entry[:6], entry.state.value, entry.time)


class LedgerWriter:
    """Appends to the journal of a partition; the file appears with the first entry.

    Args:
        directory: The ledger's directory.
        number: The partition's number, for the journal's name.
    """

    def __init__(self, directory: Path, number: int) -> None:
        name = f"{time.time_ns():020d}-{number:05d}-{os.getpid()}{_JOURNAL}"
        self._path = directory / name
        self._file: BinaryIO | None = None

    def add(self, entry: Entry) -> None:
        """Record a file that lies at its final place by now.

        Raises:
            StorageError: if the disk refuses.
        """
        with storage_errors(f"write the ledger {self._path}"):
            if self._file is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = open_state(self._path, "ab")
            self._file.write(orjson.dumps(tuple(entry), option=orjson.OPT_APPEND_NEWLINE))

    def flush(self) -> None:
        """Hand what is pending to the operating system: from here on a kill loses nothing of it.

        Raises:
            StorageError: if the disk refuses.
        """
        if self._file is not None:
            with storage_errors(f"write the ledger {self._path}"):
                self._file.flush()

    def close(self) -> None:
        """Flush and close.

        Raises:
            StorageError: if the disk refuses.
        """
        if self._file is not None:
            with storage_errors(f"write the ledger {self._path}"):
                self._file.close()
            self._file = None


class LedgerReader:
    """Looks entries up.

    Args:
        directory: The ledger's directory, which need not exist.
        partition: Of what is not merged yet, read only what this partition wrote when it was
            tried before: its siblings' journals, which they may just be writing, cannot hold its
            paths. Whatever earlier runs left is in the table, if the journals were merged before
            the first partition began. None reads all journals.

    Raises:
        StorageError: if the ledger cannot be read.
    """

    def __init__(self, directory: Path, *, partition: int | None = None) -> None:
        self._path = directory / TABLE_NAME
        journals = _journals(directory, partition)
        with _errors(self._path):
            self._connection = _open(self._path)
            if journals:  # to disk once they are many, as SQLite's temporary tables go
                self._connection.execute(f"CREATE TEMP TABLE recent {_TABLE}")
                rows = map(_row_of, _read(journals))
                self._connection.executemany(_REPLACE.format("recent"), rows)
        self._tables = ("files", "recent") if journals else ("files",)

    def find(self, paths: list[str]) -> dict[str, Entry]:
        """Entries of those of ``paths`` that the ledger knows.

        Raises:
            StorageError: if the ledger cannot be read.
        """
        found: dict[str, Entry] = {}
        with _errors(self._path):
            for table in self._tables:
                for start in range(0, len(paths), _LOOKUP):
                    some = paths[start : start + _LOOKUP]
                    query = _FIND.format(table, ",".join("?" * len(some)))
                    rows = self._connection.execute(query, some)
                    known = filter(None, map(_entry_of, rows))
                    found.update((entry.path, entry) for entry in known)
        return found

    def close(self) -> None:
        """Let go of the table."""
        self._connection.close()


def undamaged(known: Mapping[str, Entry]) -> dict[str, Entry]:
    """What the ledger knows of files, without those that it knows as damaged."""
    return {path: entry for path, entry in known.items() if entry.state is not State.DAMAGED}


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
        with closing(_open(table)) as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            connection.execute(_CREATE)  # a kill may have left an empty file
            columns = [row[1] for row in connection.execute("PRAGMA table_info(files)")]
    except (sqlite3.Error, ValueError) as error:
        if not tells_of_damage(error):
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


def merge_journals(directory: Path) -> int:
    """Merge all journals into the table and remove them; without journals nothing is written.

    Call it under the directory's lock while no partition runs. A crash in between loses nothing:
    journals go only once the table is committed, the oldest first, and merging one again is
    harmless.

    Returns:
        Entries merged.

    Raises:
        StorageError: if the disk refuses.
    """
    journals = _journals(directory)
    if not journals:
        return 0
    merged = 0
    table = directory / TABLE_NAME
    read = _read(journals)
    with _errors(table), closing(connect(table)) as connection:
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        connection.execute(_CREATE)
        with connection:
            while batch := list(islice(read, _MERGE_ROWS)):
                batch.sort(key=itemgetter(0))  # what has the same path keeps its order
                connection.executemany(_REPLACE.format("files"), map(_row_of, batch))
                merged += len(batch)
    with storage_errors(f"tidy the ledger {directory}"):
        for journal in journals:
            journal.unlink()
    return merged


def entries(directory: Path) -> Iterator[Entry]:
    """All entries of the table, in the order of their paths.

    Raises:
        StorageError: if the table cannot be read.
    """
    with _opened(directory) as connection:
        rows = connection.execute("SELECT * FROM files ORDER BY path")
        yield from filter(None, map(_entry_of, rows))


def totals(directory: Path) -> tuple[int, int]:
    """How many entries the table has, and the sum of their sizes.

    Raises:
        StorageError: if the table cannot be read.
    """
    with _opened(directory) as connection:
        query = "SELECT count(*), coalesce(sum(size), 0) FROM files"
        count, size = connection.execute(query).fetchone()
    return int(count), int(size)


def mark_damaged(directory: Path, paths: Iterable[str]) -> None:
    """Let :attr:`State.DAMAGED` be the state of these entries and of no other.

    Those that were damaged and no longer are have been restored by somebody. Call it under the
    directory's lock, with the journals merged, while no partition runs.

    Raises:
        StorageError: if the disk refuses.
    """
    restored = "UPDATE files SET state = CASE WHEN sha256 IS NULL THEN ? ELSE ? END WHERE state = ?"
    with _opened(directory) as connection:
        connection.execute(restored, (State.UNCHECKED, State.ADOPTED, State.DAMAGED))
        update = "UPDATE files SET state = ? WHERE path = ?"
        connection.executemany(update, ((State.DAMAGED, path) for path in paths))


def forget(directory: Path, paths: Iterable[str]) -> None:
    """Remove entries whose files are no longer where they were.

    Call it under the directory's lock, with the journals merged, while no partition runs.

    Raises:
        StorageError: if the disk refuses.
    """
    with _opened(directory) as connection:
        connection.executemany("DELETE FROM files WHERE path = ?", ((path,) for path in paths))


def _journals(directory: Path, partition: int | None = None) -> list[Path]:
    """The journals of all partitions or of one, the oldest first."""
    if not directory.exists():
        return []
    with storage_errors(f"read the ledger {directory}"):
        names = sorted(name for name in os.listdir(directory) if name.endswith(_JOURNAL))
    own = "" if partition is None else f"-{partition:05d}-"
    return [directory / name for name in names if own in name]


def _read(journals: Iterable[Path]) -> Iterator[Entry]:
    """Entries of some journals, in the order in which they were written.

    A torn line, as a kill or a power failure leaves it, is left out.
    """
    for journal in journals:
        if not journal.exists():
            continue  # merged since it was listed
        with storage_errors(f"read the ledger {journal}"), open_state(journal, "rb") as file:
            yield from filter(None, map(_entry_in, file))


def _entry_in(line: bytes) -> Entry | None:
    if not line.endswith(b"\n"):
        return None
    try:
        return _entry_of(orjson.loads(line))
    except ValueError:
        return None


def _open(table: Path) -> sqlite3.Connection:
    """Open the table; an empty one in memory where there is none yet."""
    if table.exists():
        return connect(table)
    connection = sqlite3.connect(":memory:")
    connection.execute(_CREATE)
    return connection


@contextmanager
def _opened(directory: Path) -> Iterator[sqlite3.Connection]:
    """The table, for the length of the block; what is changed in it is committed at its end."""
    table = directory / TABLE_NAME
    with _errors(table), closing(_open(table)) as connection, connection:
        yield connection


@contextmanager
def _errors(table: Path) -> Iterator[None]:
    try:
        yield
    except UnicodeEncodeError:
        raise  # it is about what we are asked
    except (sqlite3.Error, ValueError) as error:
        raise _table_error(table, error) from error


def _table_error(table: Path, error: Exception) -> StorageError:
    if tells_of_damage(error):
        return StorageError(f"{_set_aside(table, str(error))} Run the same command again.")
    return refusal(table, error)


def _set_aside(table: Path, what: str) -> str:
    """Give a damaged table another name, and what is to be rolled back in it.

    Returns:
        What was done, for people.

    Raises:
        StorageError: if the disk refuses.
    """
    damaged = table.with_name(table.name + ".damaged")
    with storage_errors(f"set the damaged {table} aside"):
        for suffix in ("-journal", "-wal", "-shm"):
            table.with_name(table.name + suffix).unlink(missing_ok=True)
        with suppress(FileNotFoundError):  # a sibling was quicker
            os.replace(table, damaged)
    lines = what.splitlines() or ["unreadable"]
    return (
        f"{table} is damaged ({lines[-1]}) and was renamed to {damaged.name}: each file that is "
        "here is asked about once instead."
    )
