"""Task ``download-partition``: the files of one partition, verified and on disk."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.layout import DownloadPaths
from mlhub_core.selection.partition import Partition
from mlhub_core.settings import TransferSettings
from mlhub_core.transfer import run
from mlhub_core.transfer.governor import governor_for
from mlhub_core.transfer.result import PartitionResult
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
    """See :func:`mlhub_core.transfer.run.download_partition`.

    The governor of connections is the process's: however many partitions run, a host sees no more
    than the set number.
    """
    with run_hooks() as hooks, stoppable(str(paths.asset_dir), hooks.stop):
        return run.download_partition(
            partition,
            paths,
            if_exists=if_exists,
            settings=settings,
            governor=governor_for(settings),
            stop=hooks.stop,
            on_progress=hooks.progress,
        )
