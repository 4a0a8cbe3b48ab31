"""Holds the files of a download against its ledger: there, as long, with the same digest.

Nobody is asked; the ledger is read in the order of its paths, a batch at a time, and a few threads
read the files, because digests release the interpreter lock.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import NamedTuple

from mlhub_core.chores import Pool
from mlhub_core.layout import DownloadPaths
from mlhub_core.progress import Progress, ProgressSink, Stage, ignore
from mlhub_core.stop import StopFlag
from mlhub_core.transfer.findings import Finding, Findings
from mlhub_core.transfer.judge import judge
from mlhub_core.transfer.ledger import Entry, entries, totals

_BLOCK = 1024 * 1024
_BATCH_FILES = 200
_BATCH_BYTES = 32 * 1024 * 1024
"""A thread takes so much at a time, or one file if that is larger."""
_AHEAD = 2
"""Batches that wait for each thread: enough that none is idle, and memory stays small."""
_TOLD_FILES = 20
"""Files after which the others hear of them: a lock for each would cost as much as a small file."""
_PROGRESS_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Checked:
    """What was looked at.

    Attributes:
        files: Files that the ledger knows.
        bytes: Their sizes together, by the ledger.
        sizes_only: Those of which only the size could be compared: the ledger has no digest.
    """

    files: int = 0
    bytes: int = 0
    sizes_only: int = 0


class _Outcome(NamedTuple):
    findings: list[Finding]
    files: int
    size: int
    sizes_only: int


def verify_files(
    paths: DownloadPaths,
    findings: Findings,
    *,
    threads: int | None = None,
    stop: StopFlag | None = None,
    on_progress: ProgressSink = ignore,
) -> Checked:
    """Check every file that the ledger knows.

    Call it under the directory's lock, with the journals merged.

    Args:
        paths: The download.
        findings: Gets what is wrong.
        threads: Files read at a time; None for one a processor, four at most.
        stop: Looked at after every MiB.
        on_progress: Gets files and bytes, as ``Stage.VERIFY``.

    Raises:
        Interrupted: if ``stop`` is set.
        StorageError: if the ledger cannot be read, or the process may open no more files.
    """
    threads = threads or min(4, os.cpu_count() or 1)
    stop = StopFlag(parent=stop)
    reader = _Reader(str(paths.asset_dir), stop, _Meter(totals(paths.ledger_dir), on_progress))
    waiting: deque[Future[_Outcome]] = deque()
    done = Checked()
    with Pool(threads, thread_name_prefix="mlhub-verify") as pool:
        try:
            for batch in _batches(entries(paths.ledger_dir)):
                stop.check()
                waiting.append(pool.submit(reader.check, batch))
                if len(waiting) > _AHEAD * threads:
                    done = _take(waiting.popleft().result(), done, findings)
            while waiting:
                done = _take(waiting.popleft().result(), done, findings)
        except BaseException:
            stop.set()
            for future in waiting:
                future.cancel()
            raise
    reader.meter.finish()
    return done


def _batches(all_entries: Iterator[Entry]) -> Iterator[list[Entry]]:
    batch: list[Entry] = []
    size = 0
    for entry in all_entries:
        batch.append(entry)
        size += entry.size
        if len(batch) >= _BATCH_FILES or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _take(outcome: _Outcome, done: Checked, findings: Findings) -> Checked:
    for finding in outcome.findings:
        findings.add(finding)
    return Checked(
        done.files + outcome.files,
        done.bytes + outcome.size,
        done.sizes_only + outcome.sizes_only,
    )


class _Meter:
    """Adds up what the threads have read, and tells of it ten times a second at most."""

    def __init__(self, total: tuple[int, int], on_progress: ProgressSink) -> None:
        self._files, self._bytes = total
        self._on_progress = on_progress
        self._lock = threading.Lock()
        self._told = 0.0
        self._done = self._read = self._wrong = 0

    def add(self, read: int, *, files: int = 0, wrong: int = 0) -> None:
        """Bytes have been read, files are done, some of them not as they should be."""
        with self._lock:
            self._read += read
            self._done += files
            self._wrong += wrong
            self._tell()

    def finish(self) -> None:
        """All files are done."""
        with self._lock:
            self._tell(finished=True)

    def _tell(self, *, finished: bool = False) -> None:
        now = time.monotonic()
        if not finished and now - self._told < _PROGRESS_SECONDS:
            return
        self._told = now
        self._on_progress(
            Progress(
                Stage.VERIFY,
                self._done,
                self._files,
                self._read,
                self._bytes,
                self._wrong,
                finished=finished,
            )
        )


class _Reader:
    def __init__(self, root: str, stop: StopFlag, meter: _Meter) -> None:
        self._root = root
        self._stop = stop
        self.meter = meter

    def check(self, batch: list[Entry]) -> _Outcome:
        found = []
        for start in range(0, len(batch), _TOLD_FILES):
            some = batch[start : start + _TOLD_FILES]
            self._stop.check()
            wrong = [finding for finding in map(self._check_one, some) if finding is not None]
            found += wrong
            # Bytes of large files were told of while they were read.
            read = sum(entry.size for entry in some if entry.sha256 and entry.size <= _BLOCK)
            self.meter.add(read, files=len(some), wrong=len(wrong))
        size = sum(entry.size for entry in batch)
        return _Outcome(found, len(batch), size, sum(entry.sha256 is None for entry in batch))

    def _check_one(self, entry: Entry) -> Finding | None:
        def same(descriptor: int) -> bool:
            if entry.sha256 is None:
                return True
            if entry.size <= _BLOCK:
                return _digest_small(descriptor, entry.size) == entry.sha256
            return self._digest(descriptor) == entry.sha256

        return judge(f"{self._root}/{entry.path}", entry.path, entry.size, "by the ledger", same)

    def _digest(self, descriptor: int) -> str:
        hasher = hashlib.sha256()
        while block := os.read(descriptor, _BLOCK):
            self._stop.check()
            hasher.update(block)
            self.meter.add(len(block))
        return hasher.hexdigest()


def _digest_small(descriptor: int, size: int) -> str:
    """Of a file of a known size: what comes in one piece needs no second read to know its end."""
    data = os.read(descriptor, size)
    while len(data) < size and (more := os.read(descriptor, size - len(data))):
        data += more
    return hashlib.sha256(data).hexdigest()
