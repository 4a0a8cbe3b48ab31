"""What is remembered of a file that was or is being fetched, as JSON among the run's state."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from mlhub_core.state import open_state


@dataclass(frozen=True, slots=True)
class FetchedFile:
    """A file that is whole.

    Attributes:
        path: Where it lies.
        size: Bytes.
        sha256: Hexadecimal digest.
        etag: As the server gave it, None when unknown.
        moved: Bytes that came over the network for it in this call.
    """

    path: Path
    size: int
    sha256: str
    etag: str | None = None
    moved: int = 0


@dataclass(frozen=True, slots=True)
class Note:
    """What is remembered of a finished or partial file.

    Attributes:
        size: Bytes, -1 where it is not finished.
        sha256: Hexadecimal digest of a finished one.
        etag: As the server gave it.
    """

    size: int = -1
    sha256: str | None = None
    etag: str | None = None


def known_file(target: Path, state: Path) -> FetchedFile | None:
    """What is known of a file that was fetched and lies there, without reading it.

    Args:
        target: Its place.
        state: As for :class:`~mlhub_core.net.fetch.FileFetcher`.

    Returns:
        None where nothing is known, or where a file of another size lies there.
    """
    known = read_note(state / f"{state_name(target)}.json")
    try:
        size = target.stat().st_size
    except OSError:
        return None
    if known.sha256 is None or known.size != size:
        return None
    return FetchedFile(target, size, known.sha256, known.etag)


def state_name(target: Path) -> str:
    """The name, without ending, of what is kept about a file."""
    return "archive-" + hashlib.sha256(target.name.encode()).hexdigest()[:16]


def read_note(path: Path) -> Note:
    """Read a note; one that is missing or damaged counts as empty, and costs one request."""
    try:
        with open_state(path) as file:
            fields = json.load(file)
        texts = fields["sha256"], fields["etag"]
        if not all(text is None or (type(text) is str and text.isprintable()) for text in texts):
            return Note()
        return Note(int(fields["size"]), *texts)
    except (OSError, ValueError, KeyError, TypeError, RecursionError, OverflowError):
        return Note()


def write_note(path: Path, note: Note) -> None:
    """Write a note, all of it or nothing."""
    temporary = path.with_suffix(".tmp")
    with open_state(temporary, "w") as file:
        json.dump(asdict(note), file)
    os.replace(temporary, path)
