"""Task ``prune``: files that the catalog no longer has, moved into the trash."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from mlhub_core import steps
from mlhub_core.paths import DownloadPaths
from mlhub_core.settings import ArchiveLimits
from tasks.runtime import run_hooks


@task(
    name="prune",
    task_run_name="prune {paths.dataset_id}",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def prune_files(paths: DownloadPaths, limits: ArchiveLimits) -> int:
    """See :func:`mlhub_core.steps.prune_files`."""
    with run_hooks() as hooks:
        return steps.prune_files(hooks.run, paths, limits)
