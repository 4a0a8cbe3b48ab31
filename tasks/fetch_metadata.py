"""Task ``fetch-metadata``: what the hub says about a dataset."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from mlhub_core import steps
from mlhub_core.sources.base import DatasetInfo
from tasks.runtime import run_hooks


@task(
    name="fetch-metadata",
    task_run_name="fetch-metadata {dataset}",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def fetch_metadata(dataset: str) -> DatasetInfo:
    """See :func:`mlhub_core.steps.fetch_metadata`."""
    with run_hooks() as hooks:
        return steps.fetch_metadata(hooks.run, dataset)
