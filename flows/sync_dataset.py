"""The flow ``sync-dataset``: a question, and if the answer asks for it, the tasks of a download.

``python -m flows.sync_dataset`` runs it ad hoc, deployments every night; ``mlhub sync`` does the
same without Prefect.
"""

from __future__ import annotations

if __name__ == "__main__":
    # Importing Prefect takes seconds: arguments are read, and a first line printed, before that.
    from flows.command import SYNC, run_and_exit

    run_and_exit(SYNC)

import time
from contextlib import nullcontext

from prefect import flow, get_run_logger, runtime
from prefect.states import Cancelled, Completed

from flows.api_client import one_client
from flows.artifacts import progress_artifact, show_report
from flows.cancelling import stopping_when_cancelled
from flows.changes_artifact import show_changes
from flows.dataset_tags import tagged
from flows.directories import lasting
from flows.logs import core_lines_in_run_log, progress_lines_in_run_log
from flows.partitions import download_partitions
from flows.side_by_side import settle, side_by_side
from mlhub_core.cli.hub import demo_hub
from mlhub_core.exceptions import Interrupted
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.index.build import AssetIndex
from mlhub_core.layout import DownloadPaths
from mlhub_core.metadata import DatasetInfo
from mlhub_core.options import DownloadOptions
from mlhub_core.pipeline import check_collections, conclude
from mlhub_core.request import DownloadRequest
from mlhub_core.show.summary import outcome
from mlhub_core.sources.archive import CatalogArchive
from mlhub_core.sources.unarchive import Unarchived
from mlhub_core.sync.changes import index_place, prepare
from mlhub_core.sync.question import check_request, known_paths
from mlhub_core.sync.report import SyncReport
from mlhub_core.sync.run import current_report, finish, planned
from mlhub_core.workspace import workspace
from tasks.access import Access
from tasks.check_catalog import check_catalog
from tasks.compare_indexes import compare_indexes
from tasks.fetch_catalog import fetch_catalog
from tasks.fetch_metadata import fetch_metadata
from tasks.filter_assets import filter_assets
from tasks.index_assets import index_assets
from tasks.prune_files import prune_files
from tasks.runtime import new_run, with_chores
from tasks.unarchive import unarchive


def _run_name() -> str:
    download = runtime.flow_run.parameters.get("download") or {}
    dataset = dict(download).get("dataset", "dataset")
    return f"sync {dataset} {time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime())}"


@flow(name="sync-dataset", flow_run_name=_run_name, persist_result=False)
def sync_dataset(download: DownloadOptions, prune: bool = False) -> SyncReport:
    """Make a download what the catalog says today: fetch what is new or different.

    Args:
        download: What to have, where, and how. The first time all of it is fetched.
        prune: Whether files that the catalog no longer has are moved into .mlhub/trash.

    Returns:
        What was done.

    Raises:
        DownloadIncomplete: if some assets could not be had; all others are on disk.
        MLHubException: all that the steps raise.
    """
    download.check_public()
    request = lasting(download).request()
    check_request(request)
    access = Access(download.profile, download.api_key_block)
    with (
        new_run() as hooks,
        one_client(),
        core_lines_in_run_log(),
        progress_lines_in_run_log(hooks.progress),
        demo_hub() if download.demo else nullcontext(),
        tagged(request.dataset),
        stopping_when_cancelled(hooks.stop) as cancelled,
    ):
        try:
            report = _run(request, prune, access)
        except Interrupted as error:
            if not cancelled.is_set():
                raise
            return Cancelled(message=str(error))  # type: ignore[return-value]
    get_run_logger().info(report.summary())
    report.raise_for_failures(strict=request.strict)
    return Completed(message=_message(report), data=report)  # type: ignore[return-value]


def _message(report: SyncReport) -> str:
    if report.download is None:
        return "The catalog has not changed, and everything is here: nothing was done."
    changes = f"In the catalog: {report.changes}. " if report.changes else ""
    return changes + outcome(report.download)


def _run(request: DownloadRequest, prune: bool, access: Access) -> SyncReport:
    started = time.monotonic()
    known = known_paths(request)
    if known is not None and check_catalog(request, known, prune, access):
        return current_report(known)
    info = fetch_metadata(request.dataset, access)
    check_collections(request.wanted, info)
    paths = request.paths(info.id)
    if known is None and check_catalog(request, paths, prune, access):
        return current_report(paths)
    with workspace(paths), progress_artifact(info.id):
        return _renew(request, info, paths, prune, access, started)


def _renew(
    request: DownloadRequest,
    info: DatasetInfo,
    paths: DownloadPaths,
    prune: bool,
    access: Access,
    started: float,
) -> SyncReport:
    maybe_gone = prepare(paths)
    archive = fetch_catalog(paths, DownloadIfExistsOpts.resume, access, request.settings.limits)
    unarchived, beside = _unpack(request, paths, archive)
    index, changes = compare_indexes(paths, archive, beside, request.settings.limits)
    if changes is not None:
        show_changes(info.id, changes)
    with with_chores():
        plan = filter_assets(planned(request, changes), paths, index)
        results = download_partitions(request, paths, plan)
    report = conclude(
        info,
        paths,
        seconds=time.monotonic() - started,
        unarchived=unarchived,
        index=index,
        plan=plan,
        results=results,
        wanted=request.wanted,
    )
    show_report(info, report, paths, request.wanted, plan, index)
    pruned = prune_files(paths, request.settings.limits) if prune else None
    return finish(request, paths, changes, report, pruned=pruned, maybe_gone=maybe_gone)


def _unpack(
    request: DownloadRequest, paths: DownloadPaths, archive: CatalogArchive
) -> tuple[Unarchived | None, AssetIndex]:
    steps = {"archive": archive, "limits": request.settings.limits}
    place = index_place(paths, archive)
    if not request.settings.unarchive:
        return None, index_assets(archive, place, request.settings.limits)
    with side_by_side(2) as runner:
        resume = {"paths": paths, "if_exists": DownloadIfExistsOpts.resume}
        unarchiving = runner.submit(unarchive, {**steps, **resume})
        indexing = runner.submit(index_assets, {**steps, "paths": place})
        settle([unarchiving, indexing])
        return unarchiving.result(), indexing.result()
