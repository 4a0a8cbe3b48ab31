"""Task ``check-catalog``: whether everything is here, and the catalog is still the same."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from mlhub_core import steps
from mlhub_core.paths import DownloadPaths
from mlhub_core.request import DownloadRequest
from tasks.runtime import run_hooks


@task(
    name="check-catalog",
    task_run_name="check-catalog {paths.dataset_id}",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def check_catalog(request: DownloadRequest, paths: DownloadPaths, pruning: bool) -> bool:
    """See :func:`mlhub_core.steps.check_catalog`."""
    with run_hooks() as hooks:
        return steps.check_catalog(hooks.run, request, paths, pruning)
