"""The extraction itself: one pass over an archive, in whatever process it runs."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mlhub_core.exceptions import ArchiveLimitExceeded, StorageError
from mlhub_core.room import Room
from mlhub_core.settings import MIB, ArchiveLimits
from mlhub_core.sources.members import Placement
from mlhub_core.sources.remarks import Remarks
from mlhub_core.sources.tarheader import Kind
from mlhub_core.sources.tarstream import Member, TarStream
from mlhub_core.sources.tree import Outcome, Tree
from mlhub_core.stop import StopFlag

_REMARKS_KEPT = 100
_IN_MEMORY = 8 * MIB
"""Files up to this size are read whole and compared with what lies there; larger ones written."""


@dataclass(frozen=True, slots=True)
class Job:
    """What to extract.

    Attributes:
        archive: The archive.
        dataset_id: The dataset it describes.
        directory: Where its files go.
        within: Symbolic links must not lead out of here.
        keep_same: Leave files alone that have their content already.
        limits: Caps.
    """

    archive: Path
    dataset_id: str
    directory: Path
    within: Path
    keep_same: bool
    limits: ArchiveLimits


@dataclass(frozen=True, slots=True)
class Unarchived:
    """The catalog on disk.

    Attributes:
        directory: Where it lies.
        files: Files of the archive that lie there.
        bytes: Their sizes together.
        written: Files that this run wrote.
        kept: Files that were there already, the same.
        oddities: The first members that were left out, and why.
        oddity_count: How many there were.
    """

    directory: Path
    files: int
    bytes: int
    written: int
    kept: int
    oddities: tuple[str, ...] = ()
    oddity_count: int = 0


def extract_here(
    job: Job,
    stop: StopFlag | None,
    on_read: Callable[[int, int], None],
    is_wanted: Callable[[str], bool] | None = None,
) -> Unarchived:
    """Extract in this very thread.

    Args:
        job: What.
        stop: Ends the work early.
        on_read: Told the bytes of the archive read and the files so far.
        is_wanted: Which files to extract, by their paths in the directory; None takes all.

    Raises:
        ArchiveCorrupt: if the archive is broken off or damaged.
        ArchiveLimitExceeded: if it holds more than the caps allow.
        StorageError: if the disk refuses.
        Interrupted: if ``stop`` is set.
    """
    return _Extraction(job, is_wanted).run(stop, on_read)


class _Extraction:
    """One pass over the archive."""

    def __init__(self, job: Job, is_wanted: Callable[[str], bool] | None) -> None:
        self._job = job
        self._is_wanted = is_wanted
        self._placement = Placement(job.dataset_id)
        self._tree = Tree(job.directory, job.within)
        self._room = Room(job.directory, job.limits.keep_free)
        self._remarks = Remarks(_REMARKS_KEPT)
        self._written = self._kept = self._bytes = 0

    def run(self, stop: StopFlag | None, on_read: Callable[[int, int], None]) -> Unarchived:
        def report(packed_read: int) -> None:
            on_read(packed_read, self._written + self._kept)

        if stop is not None:
            stop.check()
        try:
            self._extract(stop, report)
        except (ArchiveLimitExceeded, StorageError) as error:
            if isinstance(error, ArchiveLimitExceeded) or error.errno == errno.ENOSPC:
                self._tree.give_back()
            raise
        return Unarchived(
            directory=self._job.directory,
            files=self._written + self._kept,
            bytes=self._bytes,
            written=self._written,
            kept=self._kept,
            oddities=self._remarks.first,
            oddity_count=self._remarks.count,
        )

    def _extract(self, stop: StopFlag | None, report: Callable[[int], None]) -> None:
        job = self._job
        with TarStream(job.archive, job.limits, stop=stop, on_read=report) as stream:
            for member in stream:
                if member.kind is Kind.FILE:
                    self._file(stream, member)
                elif self._is_wanted is not None:
                    continue
                elif member.kind is not Kind.DIRECTORY:
                    # Directories are made for the files in them; an empty one says nothing.
                    self._remarks.add(member.name, f"a {member.kind}, not extracted")

    def _file(self, stream: TarStream, member: Member) -> None:
        path, why = self._placement.place(member.name)
        if self._is_wanted is not None and not self._is_wanted(path):
            return
        if why:
            self._remarks.add(member.name, f"not extracted: {why}")
            return
        self._room.take(member.size)
        if member.size <= _IN_MEMORY:
            outcome = self._tree.put(path, stream.read(), keep_same=self._job.keep_same)
        else:
            outcome = self._tree.put_pieces(path, stream.pieces())
        if outcome is Outcome.WRITTEN:
            self._written += 1
        elif outcome is Outcome.KEPT:
            self._kept += 1
        elif outcome is Outcome.REPLACED:
            self._remarks.add(member.name, outcome.value)
            return
        else:
            self._remarks.add(member.name, f"not extracted: {outcome.value}")
            return
        self._bytes += member.size
