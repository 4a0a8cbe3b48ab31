"""Task ``compare-indexes``: what the new index changes, on record, and the index in its place."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from mlhub_core import steps
from mlhub_core.index.build import AssetIndex
from mlhub_core.paths import DownloadPaths
from mlhub_core.settings import ArchiveLimits
from mlhub_core.sources.base import Catalog
from mlhub_core.sync.changes import Changes
from tasks.runtime import run_hooks


@task(
    name="compare-indexes",
    task_run_name="compare-indexes {paths.dataset_id}",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def compare_indexes(
    paths: DownloadPaths, archive: Catalog, index: AssetIndex, limits: ArchiveLimits
) -> tuple[AssetIndex, Changes | None]:
    """See :func:`mlhub_core.steps.compare_indexes`."""
    with run_hooks() as hooks:
        return steps.compare_indexes(hooks.run, paths, archive, index, limits)
