"""Task runs side by side: on threads of this process, or partitions on a Dask cluster.

The threads fetch themselves, or wait for a process of their own each, where that pays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from prefect.futures import PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.utilities.annotations import unmapped

from flows.host_limits import taking_turns
from mlhub_core.exceptions import Interrupted
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.paths import DownloadPaths
from mlhub_core.selection.partition import Partition
from mlhub_core.settings import RunSettings, TransferSettings
from mlhub_core.transfer.report import PartitionResult
from mlhub_core.transfer.workers import processes_for, share
from tasks.download_partition import download_partition
from tasks.runtime import announce, run_hooks

T = TypeVar("T")


def download_partitions(
    partitions: Sequence[Partition],
    paths: DownloadPaths,
    settings: RunSettings,
    if_exists: DownloadIfExistsOpts,
) -> tuple[PartitionResult, ...]:
    """Run the task ``download-partition`` for each partition, and wait for them.

    Raises:
        MLHubException: all that the task raises.
    """
    if not partitions:
        return ()
    announce(partitions)
    with (
        taking_turns(partitions, settings.transfer),
        _runner(partitions, paths, settings, if_exists) as (runner, transfer, apart),
    ):
        futures = runner.map(
            download_partition,
            {
                "partition": partitions,
                "paths": unmapped(paths),
                "if_exists": unmapped(if_exists),
                "settings": unmapped(transfer),
                "apart": unmapped(apart),
            },
        )
        return results_of(futures)


@contextmanager
def _runner(
    partitions: Sequence[Partition],
    paths: DownloadPaths,
    settings: RunSettings,
    if_exists: DownloadIfExistsOpts,
) -> Iterator[tuple[Any, TransferSettings, bool]]:
    """A task runner, the settings of each of its processes, and whether tasks start their own."""
    if settings.runner == "dask":
        from flows.cluster import on_cluster

        with on_cluster(settings, paths) as (runner, transfer):
            yield runner, transfer, False
        return
    processes = processes_for(partitions, paths, settings, if_exists)
    apart = processes > 1
    threads = ThreadPoolTaskRunner[Any](max_workers=processes if apart else settings.workers)
    # Leaving it waits for its tasks: left by an exception, they are asked to stop before.
    with threads as runner, run_hooks():
        yield runner, share(settings.transfer, processes), apart


def results_of(futures: Iterable[PrefectFuture[T]]) -> tuple[T, ...]:
    """Wait for all of them and return their results.

    A task that fails stops its siblings, which then end as interrupted. The failure is what people
    want to hear of.

    Raises:
        BaseException: what the first of them raised that was not just stopped by another.
    """
    listed = list(futures)
    outcomes = [future.result(raise_on_failure=False) for future in listed]
    errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    for error in errors:
        if not isinstance(error, Interrupted):
            raise error
    if errors:
        raise errors[0]
    return tuple(outcomes)
