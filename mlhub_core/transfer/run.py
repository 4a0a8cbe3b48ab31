"""From a partition's list to verified files on disk: decide about each asset, then act."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import islice
from pathlib import Path

from mlhub_core.exceptions import StorageError
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.net.checksums import parse_checksum
from mlhub_core.net.http import Loop
from mlhub_core.net.limits import ConnectionLimits, limits_for
from mlhub_core.paths import DownloadPaths
from mlhub_core.progress import Progress, ProgressSink, Stage, ignore
from mlhub_core.selection.partition import Asset, Partition, read_assets
from mlhub_core.settings import TransferSettings
from mlhub_core.sources.members import shown
from mlhub_core.stores import store_of
from mlhub_core.threads import StopFlag
from mlhub_core.transfer.decide import Decider
from mlhub_core.transfer.download import AssetDownload, How
from mlhub_core.transfer.failures import Failure, FailureWriter
from mlhub_core.transfer.ledger import Entry, LedgerReader, LedgerWriter, State
from mlhub_core.transfer.partials import Partials
from mlhub_core.transfer.report import PartitionResult
from mlhub_core.transfer.sources import with_logins

logger = logging.getLogger(__name__)

_BATCH = 2_000
"""Assets looked up in the ledger at a time."""
_CHECK_EVERY = 256
"""Assets decided about between two looks at the stop flag."""
_FLUSH_SECONDS = 0.05
_PROGRESS_SECONDS = 0.1


def download_partitions(
    partitions: Sequence[Partition],
    paths: DownloadPaths,
    *,
    if_exists: DownloadIfExistsOpts = DownloadIfExistsOpts.resume,
    settings: TransferSettings | None = None,
    limits: ConnectionLimits | None = None,
    stop: StopFlag | None = None,
    on_progress: ProgressSink = ignore,
) -> tuple[PartitionResult, ...]:
    """Have all files of partitions, as far as they can be had, in one loop in this thread.

    An asset that cannot be had is no error here: it is counted, and its cause written to the
    result's ``failures_path``.

    What earlier runs left is known once :func:`~mlhub_core.workspace.tidy_state` has merged it,
    which :func:`~mlhub_core.workspace.workspace` sees to.

    Args:
        partitions: What to have. The next one is begun while the last files of one are on their
            way.
        paths: Where it goes.
        if_exists: What to do about files that lie there already.
        settings: How to fetch; the defaults when None.
        limits: Of connections, shared by all loops of the process that are given the same; those
            for these settings when None.
        stop: Looked at several times a second.
        on_progress: Told how far each partition is, at most ten times a second.

    Raises:
        Interrupted: if ``stop`` was set. Finished files are in the ledger, and partial files of at
            least ``settings.resume_threshold`` are kept.
        StorageError: if the disk refuses, or the process may open no more files. Finished files
            are in the ledger.
        InvalidArgument: if the environment names a CA bundle that is not there.
    """
    settings = with_logins(settings or TransferSettings())
    stop = stop or StopFlag()
    runs: list[_Run] = []

    def exchanges() -> Generator[AssetDownload, None, None]:
        for partition in partitions:
            run = _Run(partition, paths, if_exists, settings, stop, on_progress)
            runs.append(run)
            yield from run.exchanges()

    def tick() -> None:
        for run in runs:
            if not run.is_over():
                run.tick()

    try:
        with (
            closing(Loop(settings, limits or limits_for(settings.concurrency))) as loop,
            closing(exchanges()) as listed,
        ):
            loop.run(listed, tick, stop)
    finally:
        with ExitStack() as stack:
            for run in runs:
                stack.callback(run.close)
    return tuple(run.result() for run in runs)


def announce(partitions: Iterable[Partition], on_progress: ProgressSink) -> None:
    """Tell of partitions that have not begun: the whole is what the plan says, from the start."""
    for partition in partitions:
        size = None if partition.unknown_sizes else partition.known_bytes
        on_progress(
            Progress(Stage.DOWNLOAD, total=partition.files, bytes_total=size, part=partition.number)
        )


def _assets_of(path: Path) -> Iterator[Asset]:
    try:
        yield from read_assets(path)
    except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
        raise StorageError(
            f"Cannot read the partition {path}: {error}. Run the same command again: it plans anew."
        ) from error


class _Run:
    """One partition's run: where its downloads report, and the counts."""

    def __init__(
        self,
        partition: Partition,
        paths: DownloadPaths,
        if_exists: DownloadIfExistsOpts,
        settings: TransferSettings,
        stop: StopFlag,
        on_progress: ProgressSink,
    ) -> None:
        self.settings = settings
        self.stop = stop
        self.check = stop.check
        self.partials = Partials(paths.partial_dir)
        self.places = store_of(paths)
        self._moved = 0
        self._requests = self._retries = 0
        self._listed: int | None = None
        """Assets in the list, once all of them are decided about."""
        self._partition = partition
        self._paths = paths
        self._if_exists = if_exists
        self._on_progress = on_progress
        self._started = time.monotonic()
        self._flushed = self._told = self._started
        self._seconds: float | None = None
        self._counts = dict.fromkeys(
            ("fetched", "kept", "adopted", "resumed", "unchecked", "uncompared"), 0
        )
        self._uncompared_example = ""
        self._bytes_here = 0
        self._writer = LedgerWriter(paths.ledger_dir, partition.number)
        segment = paths.failures_dir / f"{partition.number:05d}.csv"
        self._failures = FailureWriter(segment, paths.dataset_id)

    # Deciding

    def exchanges(self) -> Generator[AssetDownload, None, None]:
        """Decide about every asset in turn; what must be fetched comes out."""
        assets = _assets_of(self._partition.path)
        decider = Decider(self, self._paths, self._if_exists)
        ledger = LedgerReader(self._paths.ledger_dir, partition=self._partition.number)
        listed = 0
        try:
            while batch := list(islice(assets, _BATCH)):
                entries = ledger.find([asset.save_path for asset in batch])
                listed += len(batch)
                for number, asset in enumerate(batch):
                    if number % _CHECK_EVERY == 0:
                        self.stop.check()
                        self.tick()
                    download = decider.download_of(asset, entries.get(asset.save_path))
                    if download is not None:
                        yield download
            self._listed = listed
        finally:
            ledger.close()

    # What downloads report

    def asked(self, *, again: bool) -> None:
        """A request is sent; not the first of its asset where it is another try."""
        self._requests += 1
        self._retries += again

    def moved(self, count: int) -> None:
        """Bytes of a body have come."""
        self._moved += count

    def kept(self, asset: Asset, entry: Entry) -> None:
        """A file is here and as it has to be: nobody was asked."""
        self._note_uncompared(asset)
        self._counts["kept"] += 1
        self._bytes_here += entry.size

    def record(self, entry: Entry) -> None:
        """Write down in the ledger what is known of a file."""
        self._writer.add(entry)

    def finished(self, asset: Asset, entry: Entry, how: How) -> None:
        """An asset lies at its place."""
        self._note_uncompared(asset)
        self.record(entry)
        self._bytes_here += entry.size
        if how is How.ADOPTED:
            self._counts["adopted"] += 1
        else:
            self._counts["fetched"] += 1
            self._counts["resumed"] += how is How.RESUMED
            self._counts["unchecked"] += entry.state is State.UNCHECKED
        logger.debug("%s: %s, %d bytes", asset.save_path, how.value, entry.size)

    def _note_uncompared(self, asset: Asset) -> None:
        """Count a file whose checksum cannot be read: nobody should believe it was compared."""
        if asset.checksum is not None and parse_checksum(asset.checksum) is None:
            self._counts["uncompared"] += 1
            if not self._uncompared_example:
                self._uncompared_example = f"{shown(asset.checksum)} of {asset.save_path}"

    def failed(self, asset: Asset, failure: Failure) -> None:
        """An asset cannot be had."""
        self._failures.add(asset, failure)
        logger.debug("%s: %s %s", asset.save_path, failure.cause, failure.detail)

    # The run

    def is_over(self) -> bool:
        """Whether all of its assets are there or have failed, and that has been told."""
        return self._seconds is not None

    def tick(self) -> None:
        """Write out what is pending and tell how far it is, each when it is due."""
        # One write for the few files of a turn of the loop: a kill loses no more than those.
        self._writer.flush()
        now = time.monotonic()
        if self._done() == self._listed:
            self._seconds = now - self._started
            self._tell(finished=True)
            return
        if now - self._flushed >= _FLUSH_SECONDS:
            self._flushed = now
            self._failures.flush()
        if now - self._told >= _PROGRESS_SECONDS:
            self._told = now
            self._tell(finished=False)

    def _tell(self, *, finished: bool) -> None:
        partition = self._partition
        self._on_progress(
            Progress(
                stage=Stage.DOWNLOAD,
                done=self._done(),
                total=partition.files,
                bytes_done=self._bytes_here,
                bytes_total=None if partition.unknown_sizes else partition.known_bytes,
                failed=self._failures.count,
                part=partition.number,
                finished=finished,
                here=self._counts["kept"] + self._counts["adopted"],
                bytes_moved=self._moved,
            )
        )

    def _done(self) -> int:
        counts = self._counts
        return counts["fetched"] + counts["kept"] + counts["adopted"] + self._failures.count

    def close(self) -> None:
        """Write out and close everything."""
        with ExitStack() as stack:
            stack.callback(self._failures.close)
            stack.callback(self._writer.close)

    def result(self) -> PartitionResult:
        """The counts, once the run is over.

        Raises:
            StorageError: if what was fetched has been removed meanwhile.
        """
        self.places.check_still_there()
        return PartitionResult(
            number=self._partition.number,
            files=self._done(),
            fetched_bytes=self._moved,
            failed=self._failures.count,
            failures_path=self._failures.path if self._failures.count else None,
            requests=self._requests,
            retries=self._retries,
            seconds=self._seconds or 0.0,
            uncompared_example=self._uncompared_example,
            **self._counts,
        )
