"""The flow ``download-dataset``: the six tasks in order, and nothing else.

``python -m flows.download_dataset`` runs it ad hoc; deployments run it on a schedule.
"""

from __future__ import annotations

if __name__ == "__main__":
    # Importing Prefect takes seconds: arguments are read, and a first line printed, before that.
    from flows.command import run_and_exit

    run_and_exit()

import time
from contextlib import nullcontext

from prefect import flow, get_run_logger, runtime
from prefect.states import Cancelled, Completed

from flows.api_client import one_client
from flows.artifacts import progress_artifact, show_report
from flows.cancelling import stopping_when_cancelled
from flows.dataset_tags import tagged
from flows.directories import lasting
from flows.logs import core_lines_in_run_log, progress_lines_in_run_log
from flows.partitions import download_partitions
from flows.side_by_side import settle, side_by_side
from mlhub_core.cli.hub import demo_hub
from mlhub_core.exceptions import Interrupted
from mlhub_core.index.build import AssetIndex
from mlhub_core.layout import DownloadPaths
from mlhub_core.options import DownloadOptions
from mlhub_core.pipeline import check_collections, conclude
from mlhub_core.request import DownloadRequest
from mlhub_core.show.summary import outcome
from mlhub_core.sources.archive import CatalogArchive
from mlhub_core.sources.unarchive import Unarchived
from mlhub_core.transfer.report import DownloadReport
from mlhub_core.workspace import workspace
from tasks.access import Access
from tasks.fetch_catalog import fetch_catalog
from tasks.fetch_metadata import fetch_metadata
from tasks.filter_assets import filter_assets
from tasks.index_assets import index_assets
from tasks.runtime import new_run, with_chores
from tasks.unarchive import unarchive


def _run_name() -> str:
    download = runtime.flow_run.parameters.get("download") or {}
    dataset = dict(download).get("dataset", "dataset")
    return f"{dataset} {time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime())}"


@flow(name="download-dataset", flow_run_name=_run_name, persist_result=False)
def download_dataset(download: DownloadOptions) -> DownloadReport:
    """Download a dataset, or the part of it that matches, verified and resumable.

    Args:
        download: What to download, where to, and how.

    Returns:
        What was done.

    Raises:
        DownloadIncomplete: if some assets could not be had; all others are on disk.
        MLHubException: all that the steps raise.
    """
    download.check_public()
    request = lasting(download).request()
    request.check()
    access = Access(download.profile, download.api_key_block)
    with (
        new_run() as hooks,
        one_client(),
        core_lines_in_run_log(),
        progress_lines_in_run_log(hooks.progress),
        demo_hub() if download.demo else nullcontext(),
        stopping_when_cancelled(hooks.stop) as cancelled,
    ):
        try:
            report = _run(request, access)
        except Interrupted as error:
            if not cancelled.is_set():
                raise
            return Cancelled(message=str(error))  # type: ignore[return-value]
    get_run_logger().info(report.summary())
    report.raise_for_failures(strict=request.strict)
    # The state's message says in one sentence what came of it; who calls gets its data.
    return Completed(message=outcome(report), data=report)  # type: ignore[return-value]


def _run(request: DownloadRequest, access: Access) -> DownloadReport:
    started = time.monotonic()
    with tagged(request.dataset):
        info = fetch_metadata(request.dataset, access)
    check_collections(request.wanted, info)
    paths = request.paths(info.id)
    with tagged(info.id), workspace(paths), progress_artifact(info.id):
        archive = fetch_catalog(paths, request.if_exists, access, request.settings.limits)
        with with_chores():
            unarchived, index = _unpack(request, paths, archive)
            plan = None if index is None else filter_assets(request, paths, index)
            results = () if plan is None else download_partitions(request, paths, plan)
        report = conclude(
            info,
            paths,
            seconds=time.monotonic() - started,
            unarchived=unarchived,
            index=index,
            plan=plan,
            results=results,
            wanted=request.settles,
        )
        show_report(info, report, paths, request.wanted, plan, index)
        return report


def _unpack(
    request: DownloadRequest, paths: DownloadPaths, archive: CatalogArchive
) -> tuple[Unarchived | None, AssetIndex | None]:
    limits = request.settings.limits
    with side_by_side(2) as runner:
        steps = {"archive": archive, "paths": paths, "limits": limits}
        if not request.settings.unarchive:
            return None, settle([runner.submit(index_assets, steps)])[0]
        unarchiving = runner.submit(unarchive, {**steps, "if_exists": request.if_exists})
        if request.catalog_only:
            return settle([unarchiving])[0], None
        indexing = runner.submit(index_assets, steps)
        settle([unarchiving, indexing])
        return unarchiving.result(), indexing.result()
