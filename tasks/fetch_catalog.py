"""Task ``fetch-catalog``: the catalog archive, on disk and verified."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.layout import DownloadPaths
from mlhub_core.settings import ArchiveLimits
from mlhub_core.sources import archive
from mlhub_core.sources.archive import CatalogArchive
from tasks.access import Access
from tasks.runtime import run_hooks


@task(
    name="fetch-catalog",
    task_run_name="fetch-catalog {paths.dataset_id}",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def fetch_catalog(
    paths: DownloadPaths, if_exists: DownloadIfExistsOpts, access: Access, limits: ArchiveLimits
) -> CatalogArchive:
    """See :func:`mlhub_core.sources.archive.fetch_catalog`."""
    with run_hooks() as hooks:
        return archive.fetch_catalog(
            paths,
            if_exists=if_exists,
            api_key=access.api_key(),
            profile=access.profile,
            limits=limits,
            stop=hooks.stop,
            on_progress=hooks.progress,
        )
