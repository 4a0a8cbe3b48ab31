"""Task ``download-partition``: the files of one partition, verified and on disk."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.layout import DownloadPaths
from mlhub_core.selection.partition import Partition
from mlhub_core.settings import TransferSettings
from mlhub_core.transfer import dispatch
from mlhub_core.transfer.result import PartitionResult
from tasks.remote_progress import telling
from tasks.remote_stop import stoppable
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
) -> PartitionResult:
    """See :func:`mlhub_core.transfer.dispatch.download_partition`.

    Where the flow has started a crew, one of its processes does it. However many partitions run, a
    host sees no more than the set number of connections.
    """
    directory = str(paths.asset_dir)
    with (
        run_hooks() as hooks,
        stoppable(directory, hooks.stop),
        telling(directory, hooks.progress),
    ):
        return dispatch.download_partition(
            partition,
            paths,
            if_exists=if_exists,
            settings=settings,
            stop=hooks.stop,
            on_progress=hooks.progress,
        )
