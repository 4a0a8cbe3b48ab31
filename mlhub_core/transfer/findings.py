"""What a check of a download finds wrong: values, in a file that lists all of them."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, TextIO

from mlhub_core.exceptions import StorageError
from mlhub_core.state import open_state

_FIRST = 20
"""Findings of a kind that are kept in memory, to be shown."""
_HEADER = ("finding", "file", "detail", "part")


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
    """It lies where an asset goes, and the ledger does not know it: nobody ever checked it. A
    killed run leaves a few of these, and so does another client."""
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
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise _refused(path, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def add(self, finding: Finding) -> None:
        """Take one in.

        Raises:
            StorageError: if the disk refuses.
        """
        self.counts[finding.kind] += 1
        self.of_catalog += finding.part is Part.CATALOG
        if self.counts[finding.kind] <= _FIRST:
            self.first.append(finding)
        try:
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                # Names of foreign files need not be UTF-8.
                self._file = open_state(self.path, "w", errors="surrogateescape", newline="")
                csv.writer(self._file).writerow(_HEADER)
            csv.writer(self._file).writerow(finding)
        except OSError as error:
            raise _refused(self.path, error) from error

    def close(self) -> None:
        """Write out what is pending.

        Raises:
            StorageError: if the disk refuses.
        """
        if self._file is not None:
            try:
                self._file.close()
            except OSError as error:
                raise _refused(self.path, error) from error
            self._file = None


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


def _refused(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"Cannot write {path}: {error.strerror or error}. Make room or fix the permissions, and "
        "run the same command again."
    )
