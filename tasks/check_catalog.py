"""Task ``check-catalog``: whether everything is here, and the catalog is still the same."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from mlhub_core.layout import DownloadPaths
from mlhub_core.request import DownloadRequest
from mlhub_core.sync import question
from tasks.access import Access


@task(
    name="check-catalog",
    task_run_name="check-catalog {paths.dataset_id}",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def check_catalog(
    request: DownloadRequest, paths: DownloadPaths, prune: bool, access: Access
) -> bool:
    """See :func:`mlhub_core.sync.question.is_current`."""
    return question.is_current(
        request, paths, prune=prune, api_key=access.api_key(), profile=access.profile
    )
