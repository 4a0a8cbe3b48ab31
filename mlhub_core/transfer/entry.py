"""What the ledger says about one finished file, and how that is written in a line."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple

import orjson


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
        source: :func:`~mlhub_core.transfer.fingerprint.fingerprint` of its asset.
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


Row = tuple[str, int, str | None, str | None, str | None, str, str, float]
"""An entry as SQLite and JSON have it: its state is text."""

_MOST = 2**63 - 1
"""What SQLite takes for an integer."""
_STATES = {str(state): state for state in State}


def entry_of_row(row: Row) -> Entry:
    """An entry out of a row.

    Raises:
        ValueError: if its state is none of ours, or its size no number.
    """
    path, size, sha256, etag, modified, source, state, moment = row
    known = _STATES.get(state)  # calling State takes longer than all the rest
    if known is None or type(size) is not int:
        raise ValueError(f"no entry of ours: {state!r}, {size!r}")
    return Entry(path, size, sha256, etag, modified, source, known, moment)


def line_of(entry: Entry) -> bytes:
    """An entry as a line of a segment, without its end."""
    return orjson.dumps(tuple(entry))


def row_of_line(line: bytes) -> Row | None:
    """The row in a line of a segment, None where the line is torn or something else."""
    if line[-1:] != b"\n":
        return None
    try:
        row: Any = orjson.loads(line)
        path, size, sha256, etag, modified, source, state, moment = row
    except (ValueError, TypeError):
        return None
    # One expression, and types themselves: this is done millions of times.
    sound = (
        type(path) is str
        and type(size) is int
        and 0 <= size <= _MOST
        and (sha256 is None or type(sha256) is str)
        and (etag is None or type(etag) is str)
        and (modified is None or type(modified) is str)
        and type(source) is str
        and type(state) is str
        and state in _STATES
        and (type(moment) is float or type(moment) is int)
    )
    return tuple(row) if sound else None
