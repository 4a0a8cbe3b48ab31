"""The flow ``download-dataset``: the six tasks in order, and nothing else.

``python -m flows.download_dataset`` runs it ad hoc; deployments run it on a schedule.
"""

from __future__ import annotations

if __name__ == "__main__":
    # Importing Prefect takes seconds: arguments are read, and a first line printed, before that.
    from flows.command import main

    raise SystemExit(main())

import time
from contextlib import nullcontext

from prefect import flow, runtime
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.utilities.annotations import unmapped

from flows.signals import stopping_on_signals
from mlhub_core.cli import demo_hub
from mlhub_core.parameters import DownloadParameters
from mlhub_core.pipeline import DownloadRequest, check_collections, conclude
from mlhub_core.transfer.report import DownloadReport
from mlhub_core.workspace import workspace
from tasks.access import Access
from tasks.download_partition import download_partition
from tasks.fetch_catalog import fetch_catalog
from tasks.fetch_metadata import fetch_metadata
from tasks.filter_assets import filter_assets
from tasks.index_assets import index_assets
from tasks.runtime import STOP
from tasks.unarchive import unarchive


def _run_name() -> str:
    parameters = runtime.flow_run.parameters.get("download") or {}
    dataset = getattr(parameters, "dataset", None) or dict(parameters).get("dataset", "dataset")
    return f"{dataset} {time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime())}"


@flow(
    name="download-dataset",
    flow_run_name=_run_name,
    # Two tasks at a time beside the partitions: unarchive and index-assets.
    task_runner=ThreadPoolTaskRunner(max_workers=2),  # type: ignore[arg-type]
)
def download_dataset(download: DownloadParameters) -> DownloadReport:
    """Download a dataset, or the part of it that matches, verified and resumable.

    Args:
        download: What to download, where to, and how.

    Returns:
        What was done.

    Raises:
        DownloadIncomplete: if some assets could not be had; all others are on disk.
        MLHubException: all that the steps raise.
    """
    request = download.request()
    request.check()
    access = Access(download.profile, download.api_key_block)
    with stopping_on_signals(STOP), demo_hub() if download.demo else nullcontext():
        report = _run(request, access)
    report.raise_for_failures()
    return report


def _run(request: DownloadRequest, access: Access) -> DownloadReport:
    started = time.monotonic()
    info = fetch_metadata(request.dataset, access)
    check_collections(request.wanted, info)
    paths = request.paths(info.id)
    with workspace(paths):
        archive = fetch_catalog(paths, request.if_exists, access)
        limits = request.settings.limits
        extraction = unarchive.submit(archive, paths, request.if_exists, limits)
        if request.catalog_only:
            unarchived = extraction.result()
            return conclude(info, paths, seconds=time.monotonic() - started, unarchived=unarchived)
        index = index_assets.submit(archive, paths, limits).result()
        unarchived = extraction.result()
        plan = filter_assets(request, paths, index)
        with ThreadPoolTaskRunner(max_workers=request.settings.workers) as runner:
            futures = runner.map(
                download_partition,
                {
                    "partition": plan.partitions,
                    "paths": unmapped(paths),
                    "if_exists": unmapped(request.if_exists),
                    "settings": unmapped(request.settings.transfer),
                },
            )
            results = tuple(future.result() for future in futures)
        return conclude(
            info,
            paths,
            seconds=time.monotonic() - started,
            unarchived=unarchived,
            index=index,
            plan=plan,
            results=results,
        )
