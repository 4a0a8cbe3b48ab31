"""Where partitions run: in this process, or, when there is enough to do, in a crew of others."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.layout import DownloadPaths
from mlhub_core.progress import ProgressSink, ignore
from mlhub_core.selection.partition import Partition
from mlhub_core.settings import MIB, RunSettings, TransferSettings
from mlhub_core.stop import StopFlag
from mlhub_core.transfer import run
from mlhub_core.transfer.crew import CannotStart, Crew, can_start
from mlhub_core.transfer.governor import governor_for
from mlhub_core.transfer.ledger import totals
from mlhub_core.transfer.result import PartitionResult

logger = logging.getLogger(__name__)

_UNKNOWN_SIZE = 2 * MIB
"""What a file counts as whose size the catalog does not give."""

_AT_WORK: dict[str, Crew] = {}
"""The crews of this process, by the directory that they fill."""


@contextmanager
def crew_for(
    partitions: Sequence[Partition],
    paths: DownloadPaths,
    settings: RunSettings,
    if_exists: DownloadIfExistsOpts = DownloadIfExistsOpts.resume,
) -> Iterator[int]:
    """Have :func:`download_partition` use a crew for the length of the block, if that pays.

    A crew is started where so much is expected to be fetched that it makes up for the start of the
    processes.

    Args:
        partitions: What is going to run.
        paths: Where it goes; its lock is held.
        settings: How, and how many partitions at a time.
        if_exists: What to do about files that lie there already.

    Yields:
        How many partitions to run at a time: one, where it is all in this process, because two
        loops would wait for one interpreter.

    Raises:
        StorageError: if the ledger cannot be read.
    """
    there = _AT_WORK.get(str(paths.state_dir))
    if there is not None:
        yield there.size
        return
    size = min(_most(settings), len(partitions))
    if size < 2 or not is_worth_it(partitions, paths, settings, if_exists):
        yield 1
        return
    with _crew_at_work(size, paths, settings.transfer) as crew:
        yield crew.size if crew else 1


@contextmanager
def crew_ahead(
    catalog: int, paths: DownloadPaths, settings: RunSettings, expected: int | None = None
) -> Iterator[None]:
    """Start a crew before it is known what there is to fetch, if it looks like much.

    It gets ready while the catalog is read. How much there is to fetch shows in the size of the
    catalog, or in what the hub says, where nothing has been fetched yet; where something has, it is
    better to wait and see. A crew that is there already stays the only one.

    Args:
        catalog: Bytes of the archive.
        paths: Where everything goes; its lock is held.
        settings: How, and how many partitions at a time.
        expected: Bytes of all files, as far as anybody says.
    """
    size = _most(settings)
    much = catalog >= settings.crew_catalog_bytes or (expected or 0) >= settings.crew_bytes
    there = str(paths.state_dir) in _AT_WORK
    if there or size < 2 or not much or paths.ledger_dir.exists():
        yield
        return
    with _crew_at_work(size, paths, settings.transfer):
        yield


def _most(settings: RunSettings) -> int:
    """How many processes there may be; one means none beside this."""
    most = min(settings.workers, os.cpu_count() or 1, settings.transfer.concurrency)
    return most if can_start() else 1


@contextmanager
def _crew_at_work(
    size: int, paths: DownloadPaths, settings: TransferSettings
) -> Iterator[Crew | None]:
    """Have a crew during the block, or none where the system lets no further process start."""
    key = str(paths.state_dir)
    try:
        crew = _AT_WORK[key] = Crew(size, paths, settings)
    except CannotStart as error:
        logger.warning("%s: all is done in this one", error)
        yield None
        return
    try:
        yield crew
    finally:
        del _AT_WORK[key]
        crew.close()


def is_worth_it(
    partitions: Sequence[Partition],
    paths: DownloadPaths,
    settings: RunSettings,
    if_exists: DownloadIfExistsOpts,
) -> bool:
    """Whether enough is left to fetch, by the number of files that the ledger does not have."""
    files = sum(partition.files for partition in partitions)
    size = sum(
        partition.known_bytes + partition.unknown_sizes * _UNKNOWN_SIZE for partition in partitions
    )
    if files < settings.crew_files and size < settings.crew_bytes:
        return False  # not even with all of it
    here = 0 if if_exists is DownloadIfExistsOpts.overwrite else totals(paths.ledger_dir)[0]
    left = max(0, files - here)
    return left >= settings.crew_files or left * size >= settings.crew_bytes * files


def download_partition(
    partition: Partition,
    paths: DownloadPaths,
    *,
    if_exists: DownloadIfExistsOpts = DownloadIfExistsOpts.resume,
    settings: TransferSettings | None = None,
    stop: StopFlag | None = None,
    on_progress: ProgressSink = ignore,
) -> PartitionResult:
    """Have all files of a partition, by the crew for its directory if there is one.

    See :func:`mlhub_core.transfer.run.download_partition`. In this process, all partitions share
    one governor; a crew has a share of the connections for each of its processes.

    Raises:
        HandLost: if a process was killed twice.
        Interrupted: if ``stop`` was set.
        StorageError: if the disk refuses.
    """
    crew = _AT_WORK.get(str(paths.state_dir))
    if crew is not None:
        try:
            return crew.download_partition(
                partition, if_exists=if_exists, stop=stop, on_progress=on_progress
            )
        except CannotStart as error:
            logger.warning("%s: partition %s is done in this one", error, partition.label)
    settings = settings or TransferSettings()
    return run.download_partition(
        partition,
        paths,
        if_exists=if_exists,
        settings=settings,
        governor=governor_for(settings),
        stop=stop,
        on_progress=on_progress,
    )
