"""Task ``fetch-catalog``: the catalog, on disk and whole."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from mlhub_core import steps
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.paths import DownloadPaths
from mlhub_core.settings import ArchiveLimits
from mlhub_core.sources.base import Catalog, SourceSpec
from tasks.runtime import run_hooks


@task(
    name="fetch-catalog",
    task_run_name="fetch-catalog {paths.dataset_id}",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def fetch_catalog(
    source: SourceSpec, paths: DownloadPaths, if_exists: DownloadIfExistsOpts, limits: ArchiveLimits
) -> Catalog:
    """See :func:`mlhub_core.steps.fetch_catalog`."""
    with run_hooks() as hooks:
        return steps.fetch_catalog(hooks.run, source, paths, if_exists, limits)
