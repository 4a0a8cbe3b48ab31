"""Task ``filter``: a spatial and temporal query over the index, and the plan that comes of it."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from mlhub_core import steps
from mlhub_core.index.build import AssetIndex
from mlhub_core.paths import DownloadPaths
from mlhub_core.request import DownloadRequest
from mlhub_core.selection.plan import Plan
from tasks.runtime import run_hooks


@task(
    name="filter",
    task_run_name="filter {paths.dataset_id}",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def filter_assets(
    request: DownloadRequest, paths: DownloadPaths, index: AssetIndex, renewed: bool
) -> Plan:
    """See :func:`mlhub_core.steps.filter_assets`."""
    with run_hooks() as hooks:
        return steps.filter_assets(hooks.run, request, paths, index, renewed)
