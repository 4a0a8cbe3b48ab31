"""Task ``index-assets``: the asset index, GeoParquet, made of the catalog archive."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from mlhub_core import steps
from mlhub_core.index.build import AssetIndex
from mlhub_core.paths import DownloadPaths
from mlhub_core.settings import ArchiveLimits
from mlhub_core.sources.base import Catalog
from tasks.runtime import run_hooks


@task(
    name="index-assets",
    task_run_name="index-assets {paths.dataset_id}",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def index_assets(archive: Catalog, paths: DownloadPaths, limits: ArchiveLimits) -> AssetIndex:
    """See :func:`mlhub_core.steps.index_assets`."""
    with run_hooks() as hooks:
        return steps.index_assets(hooks.run, archive, paths, limits)
