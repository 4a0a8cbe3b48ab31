"""The documents of a source that is asked for them one by one, stored in one SQLite file.

A harvest reads them from a server: a crawl by their links, an API by its pages. Each batch of
answers is one transaction, together with what they say is still to be asked for, so a kill costs
nothing that was read. The next harvest finds the validators of all documents here, and need not
move again what has not changed.

Whoever harvests holds the lock of the download's directory: SQLite's own locks, which file systems
of clusters may not have, are not needed. Memory is bounded by SQLite's page cache and by the batch.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from isal import isal_zlib

from mlhub_core.exceptions import (
    ArchiveLimitExceeded,
    Interrupted,
    MLHubException,
    StorageError,
    storage_errors,
)
from mlhub_core.paths import DownloadPaths
from mlhub_core.room import Room
from mlhub_core.settings import ArchiveLimits
from mlhub_core.sources.base import ReadInPlace
from mlhub_core.sources.documents import Document, Kind, parse_document
from mlhub_core.sqlite_files import connect, refusal, tells_of_damage
from mlhub_core.state import read_state, remove_state, write_state
from mlhub_core.work import UNWATCHED, Work

log = logging.getLogger(__name__)

_VERSION = 1
"""``user_version`` of the file; what is newer is refused."""
_CACHE_KIB = 16 * 1024
_WANTED, _HERE, _LACKING = range(3)
"""What is known of a document in this harvest: its URL; all of it; why it cannot be had."""
_CREATE = """
CREATE TABLE IF NOT EXISTS documents (
    number INTEGER PRIMARY KEY, url TEXT NOT NULL UNIQUE, path TEXT NOT NULL,
    harvest INTEGER NOT NULL, state INTEGER NOT NULL, depth INTEGER NOT NULL,
    base TEXT, etag TEXT, modified TEXT, body BLOB, size INTEGER NOT NULL, sha256 BLOB,
    problem TEXT NOT NULL, lacks INTEGER NOT NULL DEFAULT 1
);
CREATE INDEX IF NOT EXISTS wanted ON documents (number) WHERE state = 0;
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
_WANT = """
INSERT INTO documents (url, path, depth, harvest, state, size, problem)
VALUES (?, ?, ?, ?, 0, 0, '')
ON CONFLICT (url) DO UPDATE SET path = excluded.path, depth = excluded.depth,
    harvest = excluded.harvest, state = 0 WHERE harvest < excluded.harvest
"""
_ADD = """
INSERT INTO documents
    (url, path, base, etag, modified, body, size, sha256, problem, lacks, state, harvest,
    depth)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)
ON CONFLICT (url) DO UPDATE SET path = excluded.path, base = excluded.base, etag = excluded.etag,
    modified = excluded.modified, body = excluded.body, size = excluded.size,
    sha256 = excluded.sha256, problem = excluded.problem, lacks = excluded.lacks,
    state = excluded.state,
    harvest = excluded.harvest
"""
_KEEP = "UPDATE documents SET state = 1, harvest = ?, problem = '' WHERE url = ?"
_PENDING = """
SELECT number, url, path, depth, etag, modified, body IS NOT NULL FROM documents
WHERE state = 0 AND number > ? AND harvest = ? ORDER BY number LIMIT ?
"""
_TOTALS = """
SELECT count(*), coalesce(sum(state > 0), 0), coalesce(sum((state > 0) * size), 0) FROM documents
"""


class Fetched(NamedTuple):
    """A document as it was answered.

    Attributes:
        url: What it was asked for by, or is called by; each is stored once, the latest of it.
        body: Its bytes, JSON; None where it is as it was stored (304), or cannot be had.
        path: Where it lies in the catalog, see :class:`~mlhub_core.sources.documents.Document`.
        base: What relative hrefs in it resolve against.
        etag: As the server gave it.
        modified: ``Last-Modified``, likewise.
        problem: Why it cannot be had.
        lacks: How many documents that stands for.
    """

    url: str
    body: bytes | None
    path: str
    base: str | None = None
    etag: str | None = None
    modified: str | None = None
    problem: str = ""
    lacks: int = 1


class Pending(NamedTuple):
    """A document that is still to be asked for.

    Attributes:
        number: Its place in the order.
        url: Its URL.
        path: Where it lies in the catalog.
        depth: Links from the first document.
        etag: Of what is stored of it from an earlier harvest.
        modified: ``Last-Modified`` of that.
        is_stored: Whether anything is.
    """

    number: int
    url: str
    path: str
    depth: int
    etag: str | None
    modified: str | None
    is_stored: bool


def store_path(paths: DownloadPaths) -> Path:
    """Where the documents of a download lie."""
    return paths.state_dir / "source" / "documents.sqlite"


def _in_use(paths: DownloadPaths) -> Path:
    return store_path(paths).with_name("in_use.json")


@contextmanager
def in_use(paths: DownloadPaths, catalog: object) -> Iterator[None]:
    """A run with a catalog: one that is broken off goes on with the same, and asks for nothing.

    A source that says by one request that nothing has changed needs no such note.

    Args:
        paths: The download; its lock is held.
        catalog: The catalog, of whatever kind.

    Raises:
        StorageError: if the disk refuses.
    """
    if isinstance(catalog, StoredCatalog):
        write_state(_in_use(paths), {"sha256": catalog.sha256})
    try:
        yield
    except (Interrupted, KeyboardInterrupt, StorageError):
        raise
    except BaseException:
        forget_use(paths)
        raise
    forget_use(paths)


def forget_use(paths: DownloadPaths) -> None:
    """Have the next run ask for the catalog.

    Raises:
        StorageError: if the disk refuses.
    """
    remove_state(_in_use(paths))


def still_in_use(paths: DownloadPaths, key: str) -> StoredCatalog | None:
    """The catalog of a run that was broken off, if the same is wanted now; None where none was.

    If documents of it could not be had, they are asked for again.

    Args:
        paths: The download.
        key: What is wanted, as for :meth:`DocumentStore.begin`.

    Raises:
        StorageError: if it cannot be read.
    """
    found = StoredCatalog.of(store_path(paths), key)
    if found is None or (read_state(_in_use(paths)) or {}).get("sha256") != found.sha256:
        return None
    with _errors(found.path), closing(connect(found.path)) as connection:
        query = "SELECT 1 FROM documents WHERE state = ? LIMIT 1"
        if connection.execute(query, (_LACKING,)).fetchone():
            return None
    log.info("going on with the catalog of the run that was broken off")
    return found


class DocumentStore:
    """The documents of a download, while they are harvested; a context manager.

    Call :meth:`begin` first, :meth:`finish` last. Use it under the directory's lock.

    Args:
        path: The file, see :func:`store_path`; made if need be.
        limits: Caps on documents and bytes; what is beyond is refused in one line.

    Attributes:
        known: Documents of this harvest that are known, those to be asked for included.
        answered: Those of them that have been answered.
        size: Bytes of these, unpacked.

    Raises:
        StorageError: from every method, if the disk refuses; here also if a later version wrote it.
    """

    def __init__(self, path: Path, limits: ArchiveLimits | None = None) -> None:
        self.path = path
        self._limits = limits or ArchiveLimits()
        self._harvest = 0
        self.known = self.answered = self.size = 0
        with storage_errors(f"write {path}"):
            path.parent.mkdir(parents=True, exist_ok=True)
        self._room = Room(path.parent, self._limits.keep_free)
        self._connection = self._prepared()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def _prepared(self) -> sqlite3.Connection:
        """The file, with its tables; another one where it is damaged."""
        try:
            return _prepare(self.path)
        except StorageError:
            raise
        except (sqlite3.Error, ValueError) as error:
            if not tells_of_damage(error):
                raise _told(self.path, error) from error
            log.warning("%s: all documents are asked for again", _set_aside(self.path, error))
        with _errors(self.path):
            return _prepare(self.path)

    def begin(self, key: str, *, anew: bool = False) -> bool:
        """Begin a harvest, or go on with one that did not get done.

        Args:
            key: What is harvested: the source, and what is left out of it. An unfinished harvest
                of another key is not gone on with; its documents are as good as those of a
                finished one.
            anew: Forget all that is stored.

        Returns:
            Whether this goes on.
        """
        with _errors(self.path), self._connection as connection:
            if anew:
                connection.execute("DELETE FROM documents")
                connection.execute("DELETE FROM facts WHERE name <> 'harvest'")
            facts = _facts(connection)
            goes_on = facts.get("key") == key and "sha256" not in facts and "harvest" in facts
            self._harvest = int(facts.get("harvest", 0)) + (not goes_on)
            if goes_on:  # what could not be had is asked for again
                connection.execute("UPDATE documents SET state = 0 WHERE state = 2")
            else:
                connection.execute("DELETE FROM facts")
                _write_facts(connection, {"key": key, "harvest": str(self._harvest)})
            query = f"{_TOTALS} WHERE harvest = ?"
            self.known, self.answered, self.size = connection.execute(
                query, (self._harvest,)
            ).fetchone()
        return goes_on

    @property
    def note(self) -> dict[str, Any]:
        """What was noted with the last batch of this harvest: a page to go on from, or the like."""
        with _errors(self.path):
            found = _facts(self._connection).get("note")
        return dict(json.loads(found)) if found else {}

    def want(self, documents: Iterable[tuple[str, str, int]]) -> None:
        """Note documents that are to be asked for, unless they are known in this harvest.

        Args:
            documents: URL, path and depth of each.
        """
        with _errors(self.path), self._connection as connection:
            self._want(connection, documents)
        self._check()

    def add(
        self,
        fetched: Iterable[Fetched],
        *,
        wanted: Iterable[tuple[str, str, int]] = (),
        note: dict[str, Any] | None = None,
    ) -> int:
        """Store a batch of answers, all of it or nothing.

        Args:
            fetched: The documents.
            wanted: As for :meth:`want`.
            note: What :attr:`note` is from now on; None leaves it as it is.

        Returns:
            How many of the documents had not been answered in this harvest before.

        Raises:
            ArchiveLimitExceeded: if there are more documents or bytes than the caps allow.
        """
        before = self.answered
        with _errors(self.path), self._connection as connection:
            for document in fetched:
                self._add(connection, document)
            self._want(connection, wanted)
            if note is not None:
                _write_facts(connection, {"note": json.dumps(note)})
        self._check()
        return self.answered - before

    def _add(self, connection: sqlite3.Connection, document: Fetched) -> None:
        found = connection.execute(
            "SELECT harvest, state, size FROM documents WHERE url = ?", (document.url,)
        ).fetchone()
        is_known = found is not None and found[0] == self._harvest
        is_answered = is_known and found[1] != _WANTED
        self.known += not is_known
        self.answered += not is_answered
        self.size -= found[2] if is_answered else 0
        body = document.body
        if body is None and not document.problem:
            connection.execute(_KEEP, (self._harvest, document.url))
            self.size += found[2] if found else 0
            return
        packed = digest = None
        if body is not None:
            packed = isal_zlib.compress(body, 0)  # zlib's fastest takes six times as long
            digest = hashlib.sha256(body).digest()
            self._room.take(len(packed))
        size = len(body or b"")
        self.size += size
        state = _LACKING if document.problem else _HERE
        about = document.url, document.path, document.base, document.etag, document.modified
        row = (*about, packed, size, digest, document.problem, document.lacks, state, self._harvest)
        connection.execute(_ADD, row)

    def _want(
        self, connection: sqlite3.Connection, documents: Iterable[tuple[str, str, int]]
    ) -> None:
        rows = [(*document, self._harvest) for document in documents]
        if rows:
            self.known += connection.executemany(_WANT, rows).rowcount

    def _check(self) -> None:
        limits = self._limits
        if self.known > limits.max_members:
            raise ArchiveLimitExceeded(
                f"The catalog has more than {limits.max_members:,} documents: if you trust it, "
                "raise ArchiveLimits.max_members (--max-members)."
            )
        if self.size > limits.max_bytes:
            raise ArchiveLimitExceeded(
                f"The catalog has more than {limits.max_bytes:,} bytes: if you trust it, raise "
                "ArchiveLimits.max_bytes (--max-bytes)."
            )

    def pending(self, after: int, count: int) -> list[Pending]:
        """Documents that are still to be asked for, in order.

        Args:
            after: The number of the last one that was given already; 0 for none.
            count: How many at most.
        """
        with _errors(self.path):
            rows = self._connection.execute(_PENDING, (after, self._harvest, count)).fetchall()
        return list(map(Pending._make, rows))

    def body(self, url: str) -> bytes | None:
        """What is stored of a document, of whatever harvest."""
        with _errors(self.path):
            query = "SELECT body FROM documents WHERE url = ?"
            found = self._connection.execute(query, (url,)).fetchone()
            return zlib.decompress(found[0]) if found and found[0] is not None else None

    def finish(self, dataset_id: str, left_out: str = "") -> StoredCatalog:
        """End the harvest: what it did not come upon is removed.

        Args:
            dataset_id: What the catalog describes.
            left_out: What was asked for, if all else was left out.
        """
        with _errors(self.path), self._connection as connection:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("DELETE FROM documents WHERE harvest < ?", (self._harvest,))
            digest = hashlib.sha256(_facts(connection)["key"].encode())
            query = "SELECT url, base, sha256, problem FROM documents WHERE state > 0 ORDER BY url"
            for url, base, sha256, problem in connection.execute(query):
                digest.update(f"\n{url}\t{base}\t{problem}\t".encode() + (sha256 or b""))
            sha256 = digest.hexdigest()
            facts = {
                "sha256": sha256,
                "dataset_id": dataset_id,
                "size": str(self.size),
                "left_out": left_out,
            }
            _write_facts(connection, facts)
        return StoredCatalog(self.path, dataset_id, self.size, sha256, left_out)


@dataclass(frozen=True, slots=True)
class StoredCatalog(ReadInPlace):
    """A harvested catalog: documents of a :class:`DocumentStore` whose harvest is finished.

    Attributes:
        path: The file.
        dataset_id: The dataset it describes.
        size: Bytes of its documents.
        sha256: Digest of its documents and of what was left out: what tells one state of it from
            the next. The order in which they came is not in it.
        left_out: What was asked for, if all else was left out.
    """

    path: Path
    dataset_id: str
    size: int
    sha256: str
    left_out: str = ""

    @classmethod
    def of(cls, path: Path, key: str | None = None) -> StoredCatalog | None:
        """The catalog in a file; None where there is none, or its harvest did not get done.

        Args:
            path: The file.
            key: What was harvested, as for :meth:`DocumentStore.begin`; None for whatever it is.

        Raises:
            StorageError: if it cannot be read.
        """
        if not path.is_file():
            return None
        with _errors(path), closing(connect(path)) as connection:
            _check_version(connection, path)
            facts = _facts(connection) if _has_tables(connection) else {}
        if "sha256" not in facts or key not in (None, facts.get("key")):
            return None
        size, left_out = int(facts["size"]), facts.get("left_out", "")
        return cls(path, facts["dataset_id"], size, facts["sha256"], left_out)

    def read(
        self,
        work: Work = UNWATCHED,
        on_read: Callable[[int], None] = lambda _: None,
    ) -> Iterator[Document]:
        """Give its documents one at a time, in the order in which they were found.

        Args:
            work: Caps, and what ends it early.
            on_read: Called with the bytes read so far.

        Raises:
            ArchiveLimitExceeded: if one is larger than the caps allow.
            StorageError: if it cannot be read, or is another one by now.
            Interrupted: if ``stop`` is set.
        """
        read = 0
        query = "SELECT url, path, base, body, size, problem, lacks FROM documents ORDER BY number"
        with _errors(self.path), closing(connect(self.path)) as connection:
            if _facts(connection).get("sha256") != self.sha256:
                raise StorageError(
                    f"{self.path} is not as it was when the catalog was read: run the same command "
                    "again."
                )
            for url, path, base, body, size, problem, lacks in connection.execute(query):
                work.stop.check()
                read += size
                on_read(read)
                if problem or body is None:
                    problem = problem or "not read"
                    yield Document(path, Kind.FILE, base=base, problem=problem, lacks=lacks)
                    continue
                check_size(url, size, work.limits)
                yield parse_document(zlib.decompress(body), path)._replace(base=base)


def check_size(url: str, size: int, limits: ArchiveLimits) -> None:
    """Check that a document is no larger than may be.

    Raises:
        ArchiveLimitExceeded: if it is.
    """
    if size > limits.max_json_bytes:
        raise ArchiveLimitExceeded(
            f"{url} has more than {limits.max_json_bytes:,} bytes of JSON: if you trust it, raise "
            "ArchiveLimits.max_json_bytes (--max-json-bytes)."
        )


def _prepare(path: Path) -> sqlite3.Connection:
    connection = connect(path)
    try:
        _check_version(connection, path)
        connection.execute("PRAGMA journal_mode = TRUNCATE")  # WAL needs what network mounts lack
        # A kill loses nothing of what the system has. Nor does a power failure of what is finished;
        # what it damages before is asked for again.
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        connection.executescript(_CREATE)
        connection.execute(f"PRAGMA user_version = {_VERSION}")
        connection.execute(
            f"{_TOTALS} WHERE harvest = 0"
        )  # a file of something else: no such column
    except BaseException:
        connection.close()
        raise
    return connection


def _check_version(connection: sqlite3.Connection, path: Path) -> None:
    if connection.execute("PRAGMA user_version").fetchone()[0] > _VERSION:
        raise StorageError(
            f"{path} was written by a newer version of mlhub-flows: use that version here, or "
            "another output directory."
        )


def _has_tables(connection: sqlite3.Connection) -> bool:
    query = "SELECT 1 FROM sqlite_master WHERE name = 'facts'"
    return connection.execute(query).fetchone() is not None


def _facts(connection: sqlite3.Connection) -> dict[str, str]:
    return dict(connection.execute("SELECT name, value FROM facts"))


def _write_facts(connection: sqlite3.Connection, facts: dict[str, str]) -> None:
    connection.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", facts.items())


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, zlib.error) as error:
        raise _told(path, error) from error


def _told(path: Path, error: Exception) -> MLHubException:
    if tells_of_damage(error):
        return StorageError(f"{_set_aside(path, error)}: run the same command again.")
    return refusal(path, error)


def _set_aside(path: Path, error: Exception) -> str:
    """Give a damaged file another name; what was done, for people."""
    damaged = path.with_name(f"{path.name}.damaged")
    with storage_errors(f"set the damaged {path} aside"):
        path.with_name(f"{path.name}-journal").unlink(missing_ok=True)
        os.replace(path, damaged)
    return f"{path} is damaged ({error}) and was renamed to {damaged.name}"
