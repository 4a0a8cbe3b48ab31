"""What is done for a download, and for a sync, in order.

The steps are functions of :mod:`mlhub_core.steps`; a runner runs them, in this process or as the
tasks of a Prefect flow. What is here is their order, and what surrounds them.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlhub_core import steps
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.index.build import AssetIndex
from mlhub_core.paths import DownloadPaths
from mlhub_core.products import product
from mlhub_core.request import DownloadRequest
from mlhub_core.runner import InProcess, Outcome, Runner
from mlhub_core.selection.filters import AssetFilter
from mlhub_core.selection.plan import Plan
from mlhub_core.sources import open_source, within_zones
from mlhub_core.sources.base import Catalog, DatasetInfo, Unarchived
from mlhub_core.sources.document_store import forget_use, in_use
from mlhub_core.sync.changes import SyncReport, forget_unfinished, index_place, prepare
from mlhub_core.sync.current import check_request, known_paths, note_complete
from mlhub_core.transfer.failures import ASSET_COLUMNS, earlier_failures, merge_failures
from mlhub_core.transfer.report import DownloadReport, PartitionResult, add_up
from mlhub_core.workspace import workspace

log = logging.getLogger(__name__)

_REMARKS = 100
"""What is unusual about a catalog, in words: enough to see a pattern, small enough to travel."""


def download(
    request: DownloadRequest,
    runner: Runner | None = None,
    *,
    on_plan: Callable[[Plan], None] = lambda plan: None,
) -> DownloadReport:
    """Download a dataset, or the part of it that matches.

    Args:
        request: What to download.
        runner: Runs the steps; this process by default.
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
    started = time.monotonic()
    runner = runner or InProcess()
    request.check()
    info = runner(steps.fetch_metadata, request.source)
    check_collections(request.wanted, info)
    paths = request.paths(info.id)
    _check_place(request, paths)
    log.info("%s: %s", info.id, info.title or "(no title)")
    with workspace(paths), runner.showing(info.id):
        limits = request.settings.limits
        archive = runner(steps.fetch_catalog, request.source, paths, request.if_exists, limits)
        with in_use(paths, archive):
            unarchived, index = _unpack(runner, request, archive, paths, request.if_exists)
            catalog = _Catalog(info, paths, archive, unarchived, index)
            return _have_assets(runner, request, catalog, started, on_plan=on_plan)


def sync(
    request: DownloadRequest,
    runner: Runner | None = None,
    *,
    prune: bool = False,
    on_plan: Callable[[Plan], None] = lambda plan: None,
) -> SyncReport:
    """Make a download what the catalog says today.

    If nothing has changed, that is one request for the catalog, and no write. The first time, and
    after a run that did not get done, everything that is missing is fetched.

    Args:
        request: What to have; ``if_exists`` is ``resume`` or ``skip``.
        runner: Runs the steps; this process by default.
        prune: Whether files that the catalog no longer has are moved into ``.mlhub/trash``.
        on_plan: Gets the plan before the first asset is fetched.

    Returns:
        What was done; failures of single assets are counted in it, not raised.

    Raises:
        InvalidArgument: if an argument cannot work.
        NothingMatches: if the filters leave nothing.
        StorageError: if the disk refuses.
        Interrupted: if stopped.
        MLHubException: all that the session raises.
    """
    started = time.monotonic()
    runner = runner or InProcess()
    check_request(request)
    request = replace(request, whole=prune)
    known = known_paths(request, open_source(request.source))
    if known is not None and runner(steps.check_catalog, request, known, prune):
        return _nothing_to_do(known)
    info = runner(steps.fetch_metadata, request.source)
    check_collections(request.wanted, info)
    paths = request.paths(info.id)
    if known is None and runner(steps.check_catalog, request, paths, prune):
        return _nothing_to_do(paths)
    _check_place(request, paths)
    with workspace(paths), runner.showing(info.id):
        maybe_gone = prepare(paths)
        forget_use(paths)  # a sync asks what there is today
        limits, resume = request.settings.limits, DownloadIfExistsOpts.resume
        archive = runner(steps.fetch_catalog, request.source, paths, resume, limits)
        place = index_place(paths, archive)
        unarchived, beside = _unpack(runner, request, archive, paths, resume, place)
        index, changes = runner(steps.compare_indexes, paths, archive, beside, limits)
        if changes is not None:
            log.info("the catalog has changed: %s", changes)
            runner.show_changes(info.id, changes)
        catalog = _Catalog(info, paths, archive, unarchived, index)
        report = _have_assets(
            runner, request, catalog, started, renewed=changes is not None, on_plan=on_plan
        )
        pruned = runner(steps.prune_files, paths, limits) if prune else None
        if pruned:
            _write_products(runner, request, paths, archive)
        if not report.failed:
            gone = pruned is None and (maybe_gone or bool(changes and changes.removed))
            note_complete(paths, request.wanted.digest(), gone=gone)
            forget_unfinished(paths)
        return SyncReport(info.id, paths.asset_dir, changes=changes, download=report, pruned=pruned)


def _check_place(request: DownloadRequest, paths: DownloadPaths) -> None:
    """Check that each product has a place, before any work.

    Raises:
        InvalidArgument: if something else lies there.
    """
    for name, mode in request.wanted_products():
        product(name).check_place(mode, paths)


def _write_products(
    runner: Runner, request: DownloadRequest, paths: DownloadPaths, catalog: Catalog
) -> dict[str, Path]:
    """Write the products that are wanted of what is here; where each is, by name."""
    limits = request.settings.limits
    written = {
        name: runner(steps.writing(name), paths, catalog, mode, limits)
        for name, mode in request.wanted_products()
    }
    return {name: made.path for name, made in written.items() if made}


def check_collections(wanted: AssetFilter, info: DatasetInfo) -> None:
    """Check the collections of a filter against those that the source lists, before any work.

    Raises:
        InvalidArgument: naming an unknown one, near misses and what there is.
    """
    if info.collections and wanted.collections:
        names = tuple((collection, ()) for collection, _ in wanted.collections)
        AssetFilter(names).check_against({entry.id: () for entry in info.collections})


@dataclass(frozen=True, slots=True)
class _Catalog:
    """The catalog of a dataset, on disk; no index where only the catalog is wanted."""

    info: DatasetInfo
    paths: DownloadPaths
    source: Catalog
    unarchived: Unarchived | None
    index: AssetIndex | None


def _unpack(
    runner: Runner,
    request: DownloadRequest,
    archive: Catalog,
    paths: DownloadPaths,
    if_exists: DownloadIfExistsOpts,
    place: DownloadPaths | None = None,
) -> tuple[Unarchived | None, Any]:
    """Unarchive and index, as far as that is wanted.

    One after the other: on two threads of one interpreter both took longer than that.
    """
    limits = request.settings.limits
    unarchived = index = None
    if request.settings.unarchive:
        unarchived = runner(steps.unarchive, archive, paths, if_exists, limits)
    if not request.catalog_only:
        index = runner(steps.index_assets, archive, place or paths, limits)
    return unarchived, index


def _have_assets(
    runner: Runner,
    request: DownloadRequest,
    catalog: _Catalog,
    started: float,
    *,
    renewed: bool = False,
    on_plan: Callable[[Plan], None] = lambda plan: None,
) -> DownloadReport:
    """Plan what is wanted of a catalog, fetch it, and report.

    Args:
        runner: Runs the steps.
        request: What is wanted.
        catalog: The catalog.
        started: When the run began, by the monotonic clock.
        renewed: Whether the catalog is another one than the files here were fetched for.
        on_plan: Gets the plan.
    """
    paths, index, plan = catalog.paths, catalog.index, None
    products: dict[str, Path] = {}
    results: tuple[PartitionResult, ...] = ()
    if index is not None:
        plan = runner(steps.filter_assets, request, paths, index, renewed)
        on_plan(plan)
        if not request.dry_run:
            settings = within_zones(request.settings, paths)
            results = runner.download(plan.partitions, paths, settings, request.if_exists)
            products = _write_products(runner, request, paths, catalog.source)
    report = conclude(request, catalog, plan, results, time.monotonic() - started)
    report = replace(report, products=products)
    runner.show(Outcome(catalog.info, paths, request.wanted, report, plan, index))
    return report


def conclude(
    request: DownloadRequest,
    catalog: _Catalog,
    plan: Plan | None,
    results: tuple[PartitionResult, ...],
    seconds: float,
) -> DownloadReport:
    """Merge what the partitions report, and write ``err_report.csv`` if anything failed.

    If everything is here, that is written down, for the filter that it is everything of.

    Raises:
        StorageError: if the disk refuses.
    """
    paths, index, wanted = catalog.paths, catalog.index, request.completes
    causes = _merge_failures(paths, plan, results, wanted)
    sums = add_up(results)
    totals: dict[str, Any] = {**sums, "files": plan.files if plan else 0}
    if plan and wanted is not None and not sums["failed"] and sums["files"] == plan.files:
        note_complete(paths, wanted.digest())
    readers = [reader for reader in (catalog.unarchived, index) if reader]
    report = DownloadReport(
        dataset_id=catalog.info.id,
        title=catalog.info.title,
        directory=paths.asset_dir,
        index_path=index.path if index else None,
        err_report=paths.err_report if totals["failed"] else None,
        **totals,
        seconds=seconds,
        causes=tuple((cause, host, count) for (cause, host), count in causes.most_common()),
        funnel=plan.funnel if plan else (),
        licenses=plan.licenses if plan else (),
        without_place=plan.without_place if plan else 0,
        without_time=plan.without_time if plan else 0,
        remark_count=sum(reader.remark_count for reader in readers),
        remarks=tuple(text for reader in readers for text in reader.remarks)[:_REMARKS],
        missing=index.missing if index else 0,
        catalog_only=plan is None,
    )
    if report.catalog_only:
        log.info("catalog saved to %s", paths.catalog_dir)
    elif not request.dry_run:
        log.info("assets saved to %s", paths.asset_dir)
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


def _nothing_to_do(paths: DownloadPaths) -> SyncReport:
    report = SyncReport(paths.dataset_id, paths.asset_dir, current=True)
    log.info("%s", report.summary())
    return report
