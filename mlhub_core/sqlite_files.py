"""SQLite files of ours: opened without locks, and what their errors mean."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mlhub_core.exceptions import StorageError, storage_error

_DAMAGED = (
    sqlite3.SQLITE_ERROR,  # a file of something else: no such column
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
)
"""Errors that tell of what is in the file; all others are the disk's, or another process's."""
_ERRNO = {sqlite3.SQLITE_FULL: errno.ENOSPC, sqlite3.SQLITE_NOMEM: errno.ENOMEM}

_SCRATCH_KIB = 16 * 1024
"""Memory that SQLite may use for a file that is worked in."""


def connect(path: Path, **settings: Any) -> sqlite3.Connection:
    """Open a file without SQLite's locks, which file systems of clusters may not have.

    Whoever writes holds the lock of the download's directory.

    Args:
        path: The file; made if there is none.
        **settings: As for ``sqlite3.connect``.
    """
    place = f"file:{quote(os.fsencode(path))}?vfs=unix-none"
    connection: sqlite3.Connection = sqlite3.connect(place, uri=True, **settings)
    return connection


def connect_scratch(path: Path, **settings: Any) -> sqlite3.Connection:
    """Open a new file to work in and throw away: what was there is gone, and no kill is survived.

    Args:
        path: The file.
        **settings: As for ``sqlite3.connect``.
    """
    path.unlink(missing_ok=True)
    connection = connect(path, isolation_level=None, **settings)
    for pragma in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = -{_SCRATCH_KIB}"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def tells_of_damage(error: Exception) -> bool:
    """Whether it is the file that is bad, and not the disk or another process that refuses."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    return code & 0xFF in _DAMAGED


def refusal(path: Path, error: Exception) -> StorageError:
    """What an error that does not tell of damage means: what the system says, where it is known."""
    code = _ERRNO.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
    reason = OSError(code, os.strerror(code)) if code else OSError(str(error))
    return storage_error(f"use {path}", reason)
