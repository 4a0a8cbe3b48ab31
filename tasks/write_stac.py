"""Task ``write-stac``: the local STAC of what is here."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from mlhub_core import steps
from mlhub_core.paths import DownloadPaths
from mlhub_core.products.current import LocalStac
from mlhub_core.settings import ArchiveLimits
from mlhub_core.sources.base import Catalog
from tasks.runtime import run_hooks


@task(
    name="write-stac",
    task_run_name="write-stac {paths.dataset_id}",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def write_stac(
    paths: DownloadPaths, catalog: Catalog | None, limits: ArchiveLimits
) -> LocalStac | None:
    """See :func:`mlhub_core.steps.write_stac`."""
    with run_hooks() as hooks:
        return steps.write_stac(hooks.run, paths, catalog, limits)
