"""Task ``download-partition``: the files of one partition, verified and on disk."""

from __future__ import annotations

from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Failed

from mlhub_core.exceptions import Interrupted
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.paths import DownloadPaths
from mlhub_core.selection.partition import Partition
from mlhub_core.settings import TransferSettings
from mlhub_core.transfer.report import PartitionResult
from mlhub_core.transfer.run import download_partitions
from mlhub_core.transfer.workers import download_apart
from tasks.remote import stoppable, telling
from tasks.runtime import run_hooks


@task(
    name="download-partition",
    task_run_name="download {paths.dataset_id} {partition.label}",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def download_partition(
    partition: Partition,
    paths: DownloadPaths,
    if_exists: DownloadIfExistsOpts,
    settings: TransferSettings,
    apart: bool = False,
) -> PartitionResult | State[Any]:
    """See :func:`mlhub_core.transfer.run.download_partitions`.

    However many partitions run, a host sees no more than the set number of connections.

    Args:
        partition: What to have.
        paths: Where it goes.
        if_exists: What to do about files that lie there already.
        settings: How to fetch.
        apart: Whether in a process of its own; ``settings`` are its share then.

    Returns:
        What was done. If files failed, the task run is Failed all the same; if it was stopped, it
        is Cancelled.
    """
    directory = str(paths.asset_dir)
    try:
        result = _download(partition, paths, if_exists, settings, apart, directory)
    except Interrupted as error:
        return Cancelled(message=str(error), data=error)
    if result.failed:
        words = f"{result.failed:,} of {partition.files:,} files could not be had."
        return Failed(message=words, data=result)
    return result


def _download(
    partition: Partition,
    paths: DownloadPaths,
    if_exists: DownloadIfExistsOpts,
    settings: TransferSettings,
    apart: bool,
    directory: str,
) -> PartitionResult:
    with (
        run_hooks() as hooks,
        stoppable(directory, hooks.stop),
        telling(directory, hooks.progress),
    ):
        (result,) = (download_apart if apart else download_partitions)(
            (partition,),
            paths,
            if_exists=if_exists,
            settings=settings,
            stop=hooks.stop,
            on_progress=hooks.progress,
        )
    return result
