"""The steps of a download in order, without an orchestrator.

``Dataset.download()`` and ``mlhub download`` run them from here; the Prefect flow runs the same
steps as tasks. Each step is a function of the core that takes and returns small values; what is
here is their order, and what surrounds them.
"""

from __future__ import annotations

import importlib
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from mlhub_core.chores import Chores, Pool, settle_all, start_thread
from mlhub_core.console import ensure_handler
from mlhub_core.index.build import AssetIndex, index_assets
from mlhub_core.layout import DownloadPaths
from mlhub_core.metadata import DatasetInfo, fetch_metadata
from mlhub_core.planning import make_plan
from mlhub_core.progress import ProgressSink, ignore
from mlhub_core.request import DownloadRequest
from mlhub_core.selection.filters import AssetFilter
from mlhub_core.selection.plan import Plan
from mlhub_core.settled import settle
from mlhub_core.sources.archive import CatalogArchive, fetch_catalog
from mlhub_core.sources.unarchive import Unarchived, unarchive
from mlhub_core.stop import StopFlag
from mlhub_core.transfer.failures import ASSET_COLUMNS, earlier_failures, merge_failures
from mlhub_core.transfer.report import DownloadReport, add_up, uncompared_text
from mlhub_core.transfer.result import PartitionResult
from mlhub_core.transfer.workers import download_partitions
from mlhub_core.workspace import workspace

log = logging.getLogger(__name__)

_ODD_KEPT = 100
"""What is odd about a catalog, in words: enough to see a pattern, small enough to travel."""


def check_collections(wanted: AssetFilter, info: DatasetInfo) -> None:
    """Check the collections of a filter against those that the hub lists, before any work.

    Raises:
        InvalidArgument: naming an unknown one, near misses and what there is.
    """
    if info.collections and wanted.collections:
        names = tuple((collection, ()) for collection, _ in wanted.collections)
        AssetFilter(names).check_against({entry.id: () for entry in info.collections})


def conclude(
    info: DatasetInfo,
    paths: DownloadPaths,
    *,
    seconds: float,
    unarchived: Unarchived | None = None,
    index: AssetIndex | None = None,
    plan: Plan | None = None,
    results: tuple[PartitionResult, ...] = (),
    wanted: AssetFilter | None = None,
) -> DownloadReport:
    """Merge what the partitions report, and write ``err_report.csv`` if anything failed.

    If everything is here, that is written down, for the filter that it is everything of.

    Raises:
        StorageError: if the disk refuses.
    """
    causes = _merge_failures(paths, plan, results, wanted)
    sums = add_up(results)
    totals: dict[str, Any] = {**sums, "files": plan.files if plan else 0}
    if sums["uncompared"]:
        log.warning("%s", uncompared_text(sums["uncompared"], sums["uncompared_example"]))
    if plan and wanted is not None and not sums["failed"] and sums["files"] == plan.files:
        settle(paths, wanted.digest())
    readers = [reader for reader in (unarchived, index) if reader]
    report = DownloadReport(
        dataset_id=info.id,
        title=info.title,
        directory=paths.asset_dir,
        index_path=index.path if index else None,
        err_report=paths.err_report if totals["failed"] else None,
        **totals,
        seconds=seconds,
        causes=tuple((cause, host, count) for (cause, host), count in causes.most_common()),
        funnel=plan.funnel if plan else (),
        without_place=plan.without_place if plan else 0,
        without_time=plan.without_time if plan else 0,
        oddities=sum(reader.oddity_count for reader in readers),
        odd=tuple(text for reader in readers for text in reader.oddities)[:_ODD_KEPT],
        missing=index.missing if index else 0,
        catalog_only=plan is None,
    )
    what = "catalog saved to %s" if report.catalog_only else "assets saved to %s"
    log.info(what, paths.catalog_dir if report.catalog_only else paths.asset_dir)
    return report


def _merge_failures(
    paths: DownloadPaths,
    plan: Plan | None,
    results: tuple[PartitionResult, ...],
    wanted: AssetFilter | None,
) -> Counter[tuple[str, str]]:
    """Write the report of failures anew; rows about what this run did not try stay in it."""
    if plan is None or not results:
        return Counter()
    kept: Iterable[list[str]] = ()
    if paths.err_report.exists() and not (wanted and wanted.is_everything):
        from mlhub_core.selection.pick import without_tried  # pandas and Arrow, seldom needed here

        earlier = earlier_failures(paths.err_report)
        kept = without_tried(paths.index, plan.partitions, earlier, ASSET_COLUMNS)
    return merge_failures(results, paths.err_report, kept=kept)


def download(
    request: DownloadRequest,
    *,
    api_key: str | None = None,
    profile: str | None = None,
    stop: StopFlag | None = None,
    on_progress: ProgressSink = ignore,
    on_plan: Callable[[Plan], None] = lambda plan: None,
) -> DownloadReport:
    """Run all steps.

    Args:
        request: What to download.
        api_key: As for :func:`~mlhub_core.session.get_session`.
        profile: As for :func:`~mlhub_core.session.get_session`.
        stop: Stops the run when set.
        on_progress: Gets the progress of all steps.
        on_plan: Gets the plan before the first asset is fetched.

    Returns:
        What was done; failures of single assets are counted in it, not raised.

    Raises:
        InvalidArgument: if an argument cannot work; nothing has been written.
        NothingMatches: if the filters leave nothing.
        StorageError: if the disk refuses.
        Interrupted: if stopped.
        MLHubException: all that the session raises.
    """
    ensure_handler()
    started = time.monotonic()
    stop = StopFlag(parent=stop)
    request.check()
    info = fetch_metadata(request.dataset, api_key=api_key, profile=profile)
    check_collections(request.wanted, info)
    paths = request.paths(info.id)
    log.info("%s: %s", info.id, info.title or "(no title)")
    with workspace(paths):
        if not request.catalog_only:
            # While the hub is waited for: importing takes as long as a few of its answers.
            start_thread(threading.Thread(target=_load_arrow, name="mlhub-imports"))
        archive = fetch_catalog(
            paths,
            if_exists=request.if_exists,
            api_key=api_key,
            profile=profile,
            limits=request.settings.limits,
            stop=stop,
            on_progress=on_progress,
        )
        unarchived, index = _unpack(request, paths, archive, stop, on_progress)
        if index is None:
            return conclude(info, paths, seconds=time.monotonic() - started, unarchived=unarchived)
        results: tuple[PartitionResult, ...] = ()
        with Chores(stop) as chores:
            plan = make_plan(
                request, paths, index, chores=chores, stop=stop, on_progress=on_progress
            )
            on_plan(plan)
            if not request.dry_run:
                results = download_partitions(
                    plan.partitions,
                    paths,
                    request.settings,
                    if_exists=request.if_exists,
                    stop=stop,
                    on_progress=on_progress,
                )
        return conclude(
            info,
            paths,
            seconds=time.monotonic() - started,
            unarchived=unarchived,
            index=index,
            plan=plan,
            results=results,
            wanted=request.settles,
        )


def _load_arrow() -> None:
    with suppress(ImportError, MemoryError):  # whoever needs it says what is missing
        importlib.import_module("mlhub_core.selection.query")


def _unpack(
    request: DownloadRequest,
    paths: DownloadPaths,
    archive: CatalogArchive,
    stop: StopFlag,
    on_progress: ProgressSink,
) -> tuple[Unarchived | None, AssetIndex | None]:
    """Unarchive and index, side by side: both read the archive, neither reads the other's."""
    limits = request.settings.limits
    if not request.settings.unarchive:
        log.info("create stac asset list ...")
        return None, index_assets(archive, paths, limits=limits, stop=stop, on_progress=on_progress)
    log.info("unarchive %s ...", archive.path.name)
    with Pool(2, thread_name_prefix="mlhub") as pool:
        extraction = pool.submit(
            unarchive,
            archive,
            paths,
            if_exists=request.if_exists,
            limits=limits,
            stop=stop,
            on_progress=on_progress,
        )
        if request.catalog_only:
            settle_all([extraction], stop)
            return extraction.result(), None
        log.info("create stac asset list ...")
        indexing = pool.submit(
            index_assets, archive, paths, limits=limits, stop=stop, on_progress=on_progress
        )
        settle_all([extraction, indexing], stop)
    return extraction.result(), indexing.result()
