"""Task ``fetch-metadata``: what the source says about a dataset."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from mlhub_core import steps
from mlhub_core.sources.base import DatasetInfo, SourceSpec
from tasks.runtime import run_hooks


@task(
    name="fetch-metadata",
    task_run_name="fetch-metadata {source}",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def fetch_metadata(source: SourceSpec) -> DatasetInfo:
    """See :func:`mlhub_core.steps.fetch_metadata`."""
    with run_hooks() as hooks:
        return steps.fetch_metadata(hooks.run, source)
