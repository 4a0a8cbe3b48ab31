"""What a check of a download finds wrong: values, in a file that lists all of them."""

from __future__ import annotations

import csv
import errno
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, TextIO

from mlhub_core.exceptions import StorageError, storage_error, storage_errors
from mlhub_core.state import open_state

_FIRST = 20
"""Findings of a kind that are kept in memory, to be shown."""
_HEADER = ("finding", "file", "detail", "part")
_OPEN = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_OPEN |= getattr(os, "O_NONBLOCK", 0)  # a pipe in place of a file must not block us
_OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""Errors that say nothing about the file."""


class Kind(StrEnum):
    """What can be wrong with a file."""

    MISSING = "missing"
    """The ledger knows it, and it is not there."""
    TRUNCATED = "truncated"
    """It is shorter than the ledger says."""
    DAMAGED = "damaged"
    """Its digest is another one, it is too long, or it cannot be read."""
    OUTDATED = "outdated"
    """It is as it was fetched, and the catalog says something else of it today."""
    UNRECORDED = "unrecorded"
    """It lies where an asset goes, and the ledger does not know it: it was never checked. A killed
    run leaves a few of these, and so does another client."""
    FOREIGN = "foreign"
    """Nothing of the dataset explains it."""
    SIDECAR = "sidecar"
    """Another tool left it beside the data: it is named, and nothing is wrong."""


class Part(StrEnum):
    """What a file is a part of, as far as that is known."""

    ASSETS = "assets"
    CATALOG = "catalog"


class Finding(NamedTuple):
    """One file that is not as it should be.

    Attributes:
        kind: What is wrong.
        path: The file, relative to the dataset's asset directory.
        detail: Numbers, or the operating system's words.
        part: Whether the catalog's archive has it, or an asset host.
    """

    kind: Kind
    path: str
    detail: str = ""
    part: Part = Part.ASSETS

    def __str__(self) -> str:
        return f"{self.kind}: {self.path}" + (f" ({self.detail})" if self.detail else "")


class Findings:
    """Counts findings, keeps the first of each kind, and writes all of them to a file.

    Use it as a context manager. The file appears with the first finding; an older one is removed.

    Args:
        path: The file, CSV.

    Raises:
        StorageError: if the disk refuses.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.counts: Counter[Kind] = Counter()
        self.of_catalog = 0
        self.first: list[Finding] = []
        self._file: TextIO | None = None
        with storage_errors(f"write {path}"):
            path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            with storage_errors(f"write {self.path}"):
                self._file.close()

    def add(self, finding: Finding) -> None:
        """Take one in.

        Raises:
            StorageError: if the disk refuses.
        """
        self.counts[finding.kind] += 1
        self.of_catalog += finding.part is Part.CATALOG
        if self.counts[finding.kind] <= _FIRST:
            self.first.append(finding)
        with storage_errors(f"write {self.path}"):
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                # Names of foreign files need not be UTF-8.
                self._file = open_state(self.path, "w", errors="surrogateescape", newline="")
                csv.writer(self._file).writerow(_HEADER)
            csv.writer(self._file).writerow(finding)

    def add_all(self, findings: Iterable[Finding]) -> None:
        """Take some in.

        Raises:
            StorageError: if the disk refuses.
        """
        for finding in findings:
            self.add(finding)


def read_findings(path: Path) -> Iterator[Finding]:
    """All findings of a closed file; none where there is no file.

    Raises:
        StorageError: if it cannot be read.
    """
    try:
        with open_state(path, errors="surrogateescape", newline="") as file:
            rows = csv.reader(file)
            next(rows, None)
            for kind, name, detail, part in rows:
                yield Finding(Kind(kind), name, detail, Part(part))
    except FileNotFoundError:
        return
    except (OSError, ValueError, csv.Error) as error:
        raise StorageError(
            f"Cannot read {path}: {error}. Run the same command again, which writes it anew."
        ) from error


def look_at(
    full: str, path: str, size: int, by: str, same: Callable[[int], bool]
) -> Finding | None:
    """Hold a file against what is known of it: is it there, as long, and the same?

    Args:
        full: Where it is.
        path: What the finding calls it.
        size: How long it has to be.
        by: Whose word that is, such as ``by the ledger``.
        same: Whether the content of an open file is what it has to be; asked if the size is.

    Returns:
        What is wrong with it, None when nothing.

    Raises:
        StorageError: if the process may open no more files.
    """
    try:
        descriptor = os.open(full, _OPEN)
        try:
            return _compared(descriptor, path, size, by, same)
        finally:
            os.close(descriptor)
    except (FileNotFoundError, NotADirectoryError):
        return Finding(Kind.MISSING, path)
    except OSError as error:
        if error.errno is None or error.errno in _OURS:
            raise storage_error(f"read {full}", error) from error
        # A disk that loses sectors says so here, and there is no better word for the file.
        return Finding(Kind.DAMAGED, path, f"cannot be read: {error.strerror}")


def _compared(
    descriptor: int, path: str, size: int, by: str, same: Callable[[int], bool]
) -> Finding | None:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        return Finding(Kind.DAMAGED, path, "not a file")
    sizes = f"{status.st_size} bytes, {size} {by}"
    if status.st_size < size:
        return Finding(Kind.TRUNCATED, path, sizes)
    if status.st_size > size:
        return Finding(Kind.DAMAGED, path, sizes)
    return None if same(descriptor) else Finding(Kind.DAMAGED, path, f"other bytes than {by}")
