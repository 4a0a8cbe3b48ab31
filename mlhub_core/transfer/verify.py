"""Checks a download offline: what is recorded, what the catalog says, and what else lies there.

Nothing is asked over the network. Entries and the index are read a batch at a time.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

from mlhub_core.exceptions import StorageError
from mlhub_core.net.body import digest_file, first_bytes
from mlhub_core.net.checksums import parse_checksum
from mlhub_core.paths import DownloadPaths
from mlhub_core.progress import Progress, ProgressSink, Stage
from mlhub_core.selection.partition import COLUMNS, Asset
from mlhub_core.threads import Pool, StopFlag
from mlhub_core.transfer.catalog_files import check_catalog
from mlhub_core.transfer.contents import LOOKED_AT, Answer, cause_against
from mlhub_core.transfer.findings import Finding, Findings, Kind, VerifyReport, look_at
from mlhub_core.transfer.ledger import Entry, LedgerReader, State, entries, totals
from mlhub_core.transfer.names import index_batches
from mlhub_core.transfer.sources import is_unchanged
from mlhub_core.transfer.unrecorded import check_unrecorded
from mlhub_core.work import UNWATCHED, Work

FINDINGS_NAME = "findings.csv"

_BLOCK = 1024 * 1024
_BATCH_FILES = 200
_BATCH_BYTES = 32 * 1024 * 1024
"""A thread takes so much at a time, or one file if that is larger."""
_AHEAD = 2
"""Batches that wait for each thread: enough that none is idle, and memory stays small."""
_INDEX_ROWS = 2_000
_PROGRESS_SECONDS = 0.1


def check_download(
    paths: DownloadPaths,
    work: Work = UNWATCHED,
) -> VerifyReport:
    """Check every file that the ledger knows, and every file that it does not.

    Args:
        paths: The download, its lock held and its journals merged.
        work: Caps on what is read of the catalog archive, what ends it early, and who gets
            ``Stage.VERIFY``.

    Raises:
        StorageError: if the disk refuses.
        Interrupted: if stopped.
    """
    started = time.monotonic()
    with Findings(paths.state_dir / FINDINGS_NAME) as findings:
        files, size, sizes_only = check_recorded(paths, findings, work)
        catalog = check_catalog(paths, findings, work)
        uncompared, example = check_outdated(paths, findings, work.stop)
        check_unrecorded(paths, catalog, findings, work.stop)
    counts: dict[str, Any] = {kind.value: findings.counts[kind] for kind in Kind}
    return VerifyReport(
        dataset_id=paths.dataset_id,
        directory=paths.asset_dir,
        files=files,
        bytes=size,
        sizes_only=sizes_only,
        **counts,
        uncompared=uncompared,
        uncompared_example=example,
        catalog=findings.of_catalog,
        first=tuple(findings.first),
        listing=findings.path if findings.counts else None,
        err_report=paths.err_report if paths.err_report.exists() else None,
        seconds=time.monotonic() - started,
    )


def check_recorded(
    paths: DownloadPaths,
    findings: Findings,
    work: Work = UNWATCHED,
) -> tuple[int, int, int]:
    """Check every file that the ledger knows: there, as long, with the same digest.

    Call it under the directory's lock, with the journals merged. A few threads read the files,
    because digests release the interpreter lock.

    Args:
        paths: The download.
        findings: Gets what is wrong.
        work: What ends it early, looked at after every MiB; and who gets files and bytes, as
            ``Stage.VERIFY``.

    Returns:
        How many files the ledger knows, their sizes together, and how many of them have no digest
        there, so that only their size could be compared.

    Raises:
        Interrupted: if ``stop`` is set.
        StorageError: if the ledger cannot be read, or the process may open no more files.
    """
    threads = min(4, os.cpu_count() or 1)
    stop = StopFlag(parent=work.stop)
    reader = _Reader(str(paths.asset_dir), stop, totals(paths.ledger_dir), work.on_progress)
    waiting: deque[Future[list[Finding]]] = deque()
    files = size = sizes_only = 0
    with Pool(threads, thread_name_prefix="mlhub-verify") as pool:
        try:
            for batch in _batches(entries(paths.ledger_dir)):
                stop.check()
                files += len(batch)
                size += sum(entry.size for entry in batch)
                sizes_only += sum(entry.sha256 is None for entry in batch)
                waiting.append(pool.submit(reader.check, batch))
                if len(waiting) > _AHEAD * threads:
                    findings.add_all(waiting.popleft().result())
            while waiting:
                findings.add_all(waiting.popleft().result())
        except BaseException:
            stop.set()
            for future in waiting:
                future.cancel()
            raise
    reader.tell(finished=True)
    return files, size, sizes_only


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


class _Reader:
    """Reads files, in several threads, and tells ten times a second at most how far they are."""

    def __init__(
        self, root: str, stop: StopFlag, total: tuple[int, int], on_progress: ProgressSink
    ) -> None:
        self._root = root
        self._stop = stop
        self._files, self._bytes = total
        self._on_progress = on_progress
        self._lock = threading.Lock()
        self._told = 0.0
        self._done = self._read = self._wrong = 0

    def check(self, batch: list[Entry]) -> list[Finding]:
        """What is wrong with some files."""
        found = []
        for entry in batch:
            full = f"{self._root}/{entry.path}"
            wrong = look_at(full, entry.path, entry.size, "by the ledger", self._same(entry))
            self._add(files=1, wrong=wrong is not None)
            if wrong is not None:
                found.append(wrong)
        return found

    def _same(self, entry: Entry) -> Callable[[int], bool]:
        def same(descriptor: int) -> bool:
            return entry.sha256 is None or self._digest(descriptor) == entry.sha256

        return same

    def _digest(self, descriptor: int) -> str:
        hasher = hashlib.sha256()
        while block := os.read(descriptor, _BLOCK):
            self._stop.check()
            hasher.update(block)
            self._add(read=len(block))
        return hasher.hexdigest()

    def _add(self, *, read: int = 0, files: int = 0, wrong: bool = False) -> None:
        with self._lock:
            self._read += read
            self._done += files
            self._wrong += wrong
            if time.monotonic() - self._told >= _PROGRESS_SECONDS:
                self._told = time.monotonic()
                self.tell()

    def tell(self, *, finished: bool = False) -> None:
        """Tell how far it is."""
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


def check_outdated(paths: DownloadPaths, findings: Findings, stop: StopFlag) -> tuple[int, str]:
    """Compare what the ledger knows with what the index says.

    Found are files that are as they were fetched, and not what the catalog says: changed since, or
    a page in place of a file, as earlier versions took them for some formats.

    Args:
        paths: The download, its journals merged.
        findings: Gets them, as outdated or damaged.
        stop: Looked at now and then.

    Returns:
        Of how many files the checksum in the catalog cannot be read, and the first of them with it.

    Raises:
        Interrupted: if ``stop`` is set.
        StorageError: if the disk refuses.
    """
    if not paths.index.is_file():
        return 0, ""
    ledger = LedgerReader(paths.ledger_dir)
    uncompared, example = 0, ""
    common: dict[str, bool] = {}
    try:
        for columns in index_batches(paths.index, (*COLUMNS, "common_asset"), stop, _INDEX_ROWS):
            known = ledger.find(columns[0])
            for *fields, is_common in zip(*columns, strict=True):
                asset = Asset(*fields)
                entry = known.get(asset.save_path)
                if entry is None:
                    continue
                if asset.checksum is not None and parse_checksum(asset.checksum) is None:
                    uncompared += 1
                    example = example or f"{asset.checksum[:80]!r} of {asset.save_path}"
                outdated = _is_outdated(paths, entry, asset, stop)
                if is_common:  # of many items, which may describe it differently
                    common[asset.save_path] = common.get(asset.save_path, True) and outdated
                elif outdated:
                    findings.add(_outdated(asset.save_path))
                elif cause := _page_in_place(paths, entry, asset):
                    findings.add(Finding(Kind.DAMAGED, asset.save_path, cause))
    finally:
        ledger.close()
    findings.add_all([_outdated(path) for path, outdated in common.items() if outdated])
    return uncompared, example


def _is_outdated(paths: DownloadPaths, entry: Entry, asset: Asset, stop: StopFlag) -> bool:
    """Whether a file is another one by now; where the catalog has a checksum, its bytes tell."""
    if entry.state is not State.OUTDATED and is_unchanged(entry, asset) is not False:
        return False
    place = paths.asset_dir / asset.save_path
    if not place.exists():  # what is missing is told of already
        return False
    checksum = parse_checksum(asset.checksum)
    if checksum is None or asset.file_size not in (None, entry.size):
        return True
    algorithm, digest = checksum
    try:
        return digest_file(str(place), [algorithm], stop.check)[algorithm] != digest
    except StorageError:  # what cannot be read is told of already
        return False


def _page_in_place(paths: DownloadPaths, entry: Entry, asset: Asset) -> str:
    """What lies there instead of the file, in words; empty where nothing speaks against it."""
    if "://" not in asset.href or parse_checksum(asset.checksum) is not None:
        return ""
    place = paths.asset_dir / asset.save_path
    try:
        if place.stat().st_size != entry.size:
            return ""  # what is wrong with it is told already
        answer = Answer(first_bytes(str(place), LOOKED_AT), entry.size, None, entry.etag)
    except OSError:  # likewise
        return ""
    return cause_against(answer, asset)


def _outdated(path: str) -> Finding:
    return Finding(Kind.OUTDATED, path, "the catalog has changed since it was fetched")
