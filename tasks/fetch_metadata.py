"""Task ``fetch-metadata``: what the hub says about a dataset."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from mlhub_core import metadata
from mlhub_core.metadata import DatasetInfo
from tasks.access import Access


@task(
    name="fetch-metadata",
    task_run_name="fetch-metadata {dataset}",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def fetch_metadata(dataset: str, access: Access) -> DatasetInfo:
    """See :func:`mlhub_core.metadata.fetch_metadata`."""
    return metadata.fetch_metadata(dataset, api_key=access.api_key(), profile=access.profile)
