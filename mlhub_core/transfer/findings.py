"""What a check of a download finds wrong: values, a file that lists all of them, and the report."""

from __future__ import annotations

import csv
import errno
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from mlhub_core.exceptions import DownloadIncomplete, StorageError, storage_error
from mlhub_core.selection.plan import counted, format_bytes
from mlhub_core.state import RowFile, open_state
from mlhub_core.transfer.report import DownloadReport, uncompared_text

_FIRST = 20
"""Findings of a kind that are kept in memory, to be shown."""
_SHOWN = 5
"""Findings of a kind in the summary."""
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


class Findings(RowFile):
    """Counts findings, keeps the first of each kind, and writes all of them to a file.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        # Names of foreign files need not be UTF-8.
        super().__init__(path, _HEADER, errors="surrogateescape")
        self.counts: Counter[Kind] = Counter()
        self.of_catalog = 0
        self.first: list[Finding] = []

    def add(self, finding: Finding) -> None:
        """Take one in.

        Raises:
            StorageError: if the disk refuses.
        """
        self.counts[finding.kind] += 1
        self.of_catalog += finding.part is Part.CATALOG
        if self.counts[finding.kind] <= _FIRST:
            self.first.append(finding)
        self.write(finding)

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


@dataclass(frozen=True)
class VerifyReport:
    """What was found.

    Attributes:
        dataset_id: The dataset.
        directory: Where its assets lie.
        files: Files that the ledger knows, each of them looked at.
        bytes: Their sizes together.
        sizes_only: Those of which only the size could be compared: they were taken over unread.
        missing: Files that are not there.
        truncated: Files that are too short.
        damaged: Files whose digest is another one, that are too long, or cannot be read.
        outdated: Files of which the catalog says something else today.
        unrecorded: Files of the dataset that the ledger does not know.
        foreign: Files that nothing of the dataset explains.
        sidecar: Files that other tools left beside the data; nothing is wrong with them.
        uncompared: Files whose checksum in the catalog cannot be read.
        uncompared_example: The first of them, with its checksum.
        catalog: Those of the missing, truncated and damaged that are files of the catalog.
        first: The first findings of each kind.
        listing: A file that lists all of them, None when there are none.
        err_report: What the last download could not have, None when nothing.
        repaired: What the repair did, None where there was none.
        seconds: From start to end.
    """

    dataset_id: str
    directory: Path
    files: int = 0
    bytes: int = 0
    sizes_only: int = 0
    missing: int = 0
    truncated: int = 0
    damaged: int = 0
    outdated: int = 0
    unrecorded: int = 0
    foreign: int = 0
    sidecar: int = 0
    uncompared: int = 0
    uncompared_example: str = ""
    catalog: int = 0
    first: tuple[Finding, ...] = ()
    listing: Path | None = None
    err_report: Path | None = None
    repaired: DownloadReport | None = None
    seconds: float = 0.0

    @property
    def repairable(self) -> int:
        """Files that a repair can do something about: all but what no download brought."""
        return self.missing + self.truncated + self.damaged + self.outdated + self.unrecorded

    @property
    def wrong(self) -> int:
        """Files that are not as they should be now, after the repair if there was one."""
        left = self.repairable if self.repaired is None else self.repaired.failed
        return left + self.foreign

    def summary(self) -> str:
        """A few lines for people."""
        checked = f"{counted(self.files, 'file')} checked ({format_bytes(self.bytes)})"
        lines = [
            f"{self.dataset_id}: {checked} in {self.seconds:.1f} s, {self._headline()}",
            f"In {self.directory}",
        ]
        for kind in Kind:
            lines += self._lines_of(kind)
        if self.listing is not None:
            lines.append(f"They are listed in {self.listing}")
        lines += self.shortcomings()
        if self.repaired is not None:
            lines += self._repair_lines(self.repaired)
        if self.err_report is not None:
            lines.append(
                f"Some files were never had, see {self.err_report}: `mlhub retry` asks for them."
            )
        return "\n".join(lines)

    def shortcomings(self) -> list[str]:
        """What could not be checked, or not wholly."""
        lines = []
        if self.uncompared:
            lines.append(uncompared_text(self.uncompared, self.uncompared_example))
        if self.sizes_only:
            lines.append(
                f"{self.sizes_only:,} files were taken over unread: only their size was compared."
            )
        return lines

    def _headline(self) -> str:
        found = {kind: getattr(self, kind.value) for kind in Kind if kind is not Kind.SIDECAR}
        told = [f"{count:,} {kind.value}" for kind, count in found.items() if count]
        left = f" Other tools left {counted(self.sidecar, 'file')}." if self.sidecar else ""
        return (f"{', '.join(told)}." if told else "all of them whole.") + left

    def _lines_of(self, kind: Kind) -> list[str]:
        named = [finding for finding in self.first if finding.kind is kind][:_SHOWN]
        lines = [f"  {escaped(str(finding))}" for finding in named]
        hidden = getattr(self, kind.value) - len(named)
        return [*lines, f"  and {hidden:,} more {kind.value}"] if hidden else lines

    @staticmethod
    def _repair_lines(repaired: DownloadReport) -> list[str]:
        good = repaired.files - repaired.failed
        lines = [f"{good:,} of {repaired.files:,} repaired."]
        for cause, host, count in repaired.causes:
            lines.append(f"  {count:,} x {cause}" + (f" ({host})" if host else ""))
        return lines

    def raise_for_findings(self) -> None:
        """Raise if anything is not as it should be.

        Raises:
            DownloadIncomplete: with this report as its ``report``.
        """
        if not self.wrong:
            return
        left = self.wrong - self.foreign
        told = []
        if left and self.repaired is None:
            told.append(f"`mlhub verify --repair {self.directory}` fetches {left:,} of them again")
        elif left:
            told.append(f"{left:,} could not be repaired")
        if self.foreign:
            told.append(f"{self.foreign:,} foreign to the dataset, left to you")
        raise DownloadIncomplete(
            f"{counted(self.wrong, 'file')} of {self.dataset_id} not as it should be: "
            f"{'; '.join(told)}. They are listed in {self.listing}.",
            report=self,
        )


def escaped(text: str) -> str:
    """Names of foreign files for a terminal: what is no text, or would control it, is escaped."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode()
        for char in text
    )
