"""Task ``unarchive``: the catalog, out of its archive."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from mlhub_core import steps
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.paths import DownloadPaths
from mlhub_core.settings import ArchiveLimits
from mlhub_core.sources.base import Catalog, Unarchived
from tasks.runtime import run_hooks


@task(
    name="unarchive",
    task_run_name="unarchive {paths.dataset_id}",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def unarchive(
    archive: Catalog,
    paths: DownloadPaths,
    if_exists: DownloadIfExistsOpts,
    limits: ArchiveLimits,
) -> Unarchived | None:
    """See :func:`mlhub_core.steps.unarchive`."""
    with run_hooks() as hooks:
        return steps.unarchive(hooks.run, archive, paths, if_exists, limits)
