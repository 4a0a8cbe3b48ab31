"""Segments of the ledger: JSON lines, one file a partition and run, so that no two writers share.

A line counts once its end is there. Segments live until the next run merges them into the table.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from mlhub_core.exceptions import StorageError
from mlhub_core.state import open_descriptor, open_state
from mlhub_core.transfer.entry import Entry, Row, entry_of_row, line_of, row_of_line
from mlhub_core.transfer.storage import storage_error

logger = logging.getLogger(__name__)

_SUFFIX = ".jsonl"
_FLUSH_ENTRIES = 64
_LONGEST_LINE = 64 * 1024
"""Bytes read for one entry that is looked up: paths of 4 KiB, escaped, and ETags fit well."""


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
        self._pending.append(line_of(entry))
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
                self._fd = open_descriptor(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
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


class SegmentIndex:
    """Where in some segments the latest entry of each path begins: two numbers a path.

    Args:
        segments: The segments, the oldest first.

    Raises:
        StorageError: if the disk refuses.
    """

    def __init__(self, segments: Iterable[Path]) -> None:
        self._files: list[int] = []
        self._places: dict[int, tuple[int, int]] = {}
        try:
            for segment in segments:
                self._read(segment)
        except BaseException:
            self.close()
            raise

    def _read(self, segment: Path) -> None:
        try:
            with open_state(segment, "rb") as file:
                descriptor = os.dup(file.fileno())
                self._files.append(descriptor)
                start = 0
                for line in file:
                    row = row_of_line(line)
                    if row is not None:
                        self._places[hash(row[0])] = (descriptor, start)
                    start += len(line)
        except FileNotFoundError:
            return  # merged since it was listed
        except OSError as error:
            raise _unreadable(segment, error) from error

    def find(self, paths: Iterable[str]) -> dict[str, Entry]:
        """Entries of those of ``paths`` that are here.

        Raises:
            StorageError: if the disk refuses.
        """
        found = {}
        for path in paths:
            place = self._places.get(hash(path))
            if place is not None:
                row = _row_at(*place)
                if row is not None and row[0] == path:  # hashes may be the same, seldom as it is
                    found[path] = entry_of_row(row)
        return found

    def close(self) -> None:
        """Close the segments."""
        for descriptor in self._files:
            os.close(descriptor)
        self._files.clear()
        self._places.clear()


def _row_at(descriptor: int, start: int) -> Row | None:
    try:
        data = os.pread(descriptor, _LONGEST_LINE, start)
    except OSError as error:
        raise storage_error("read the ledger", error) from error
    return row_of_line(data[: data.find(b"\n") + 1])


def segments_in(directory: Path, partition: int | None = None) -> list[Path]:
    """Segments, the oldest first.

    Args:
        directory: The ledger's directory, which need not exist.
        partition: Only those of the partition with this number; None for all.

    Raises:
        StorageError: if the directory cannot be read.
    """
    try:
        found = sorted(path for path in directory.iterdir() if path.name.endswith(_SUFFIX))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _unreadable(directory, error) from error
    if partition is None:
        return found
    own = f"{partition:05d}"
    return [path for path in found if path.name.split("-")[1:2] in ([], [own])]


def read_segment(segment: Path) -> Iterator[Entry]:
    """Entries of one segment; a torn line, as a kill or a power failure leaves it, is left out.

    Raises:
        StorageError: if the disk refuses.
    """
    return map(entry_of_row, rows_of((segment,)))


def rows_of(segments: Iterable[Path]) -> Iterator[Row]:
    """Rows of some segments, in the order in which they were written.

    Raises:
        StorageError: if the disk refuses.
    """
    for segment in segments:
        try:
            with open_state(segment, "rb") as file:
                for line in file:
                    row = row_of_line(line)
                    if row is None:
                        logger.debug("torn line in %s left out", segment.name)
                    else:
                        yield row
        except FileNotFoundError:
            continue  # merged since it was listed
        except OSError as error:
            raise _unreadable(segment, error) from error


def _unreadable(path: Path, error: OSError) -> StorageError:
    return StorageError(f"Cannot read the ledger {path}: {error.strerror}.")
