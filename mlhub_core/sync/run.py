"""The steps of a sync in order, without an orchestrator.

The same steps as those of a download, with a question before them, and a comparison in between.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace

from mlhub_core.console import ensure_handler
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.index.build import index_assets
from mlhub_core.layout import DownloadPaths
from mlhub_core.metadata import fetch_metadata
from mlhub_core.pipeline import check_collections, conclude
from mlhub_core.planning import make_plan
from mlhub_core.progress import ProgressSink, ignore
from mlhub_core.request import DownloadRequest
from mlhub_core.settled import settle
from mlhub_core.sources.archive import fetch_catalog
from mlhub_core.sources.unarchive import unarchive
from mlhub_core.stop import StopFlag
from mlhub_core.sync.changes import Changes, adopt_index, forget_unfinished, index_place, prepare
from mlhub_core.sync.prune import prune as prune_files
from mlhub_core.sync.question import check_request, is_current, known_paths
from mlhub_core.sync.report import SyncReport
from mlhub_core.transfer.report import DownloadReport
from mlhub_core.transfer.workers import download_partitions
from mlhub_core.workspace import workspace

log = logging.getLogger(__name__)


def sync(
    request: DownloadRequest,
    *,
    prune: bool = False,
    api_key: str | None = None,
    profile: str | None = None,
    stop: StopFlag | None = None,
    on_progress: ProgressSink = ignore,
) -> SyncReport:
    """Make a download what the catalog says today.

    If nothing has changed, that is one request for the catalog, and no write. The first time, and
    after a run that did not get done, everything that is missing is fetched.

    Args:
        request: What to have; ``if_exists`` is ``resume`` or ``skip``.
        prune: Whether files that the catalog no longer has are moved into ``.mlhub/trash``.
        api_key: As for :func:`~mlhub_core.session.get_session`.
        profile: As for :func:`~mlhub_core.session.get_session`.
        stop: Stops the run when set.
        on_progress: Gets the progress of all steps.

    Returns:
        What was done; failures of single assets are counted in it, not raised.

    Raises:
        InvalidArgument: if an argument cannot work.
        NothingMatches: if the filters leave nothing.
        StorageError: if the disk refuses.
        Interrupted: if stopped.
        MLHubException: all that the session raises.
    """
    ensure_handler()
    started = time.monotonic()
    stop = StopFlag(parent=stop)
    check_request(request)
    access = {"api_key": api_key, "profile": profile}
    known = known_paths(request)
    if known is not None and is_current(request, known, prune=prune, **access):
        return current_report(known)
    info = fetch_metadata(request.dataset, **access)
    check_collections(request.wanted, info)
    paths = request.paths(info.id)
    if known is None and is_current(request, paths, prune=prune, **access):
        return current_report(paths)
    with workspace(paths):
        maybe_gone = prepare(paths)
        steps = {"stop": stop, "on_progress": on_progress}
        limits = request.settings.limits
        archive = fetch_catalog(paths, limits=limits, **steps, **access)  # type: ignore[arg-type]
        unarchived = None
        if request.settings.unarchive:
            unarchived = unarchive(archive, paths, limits=limits, **steps)  # type: ignore[arg-type]
        place = index_place(paths, archive)
        beside = index_assets(archive, place, limits=limits, **steps)  # type: ignore[arg-type]
        index, changes = adopt_index(paths, archive, beside, limits=limits, stop=stop)
        if changes is not None:
            log.info("the catalog has changed: %s", changes)
        plan = make_plan(
            planned(request, changes), paths, index, stop=stop, on_progress=on_progress
        )
        results = download_partitions(
            plan.partitions,
            paths,
            request.settings,
            if_exists=request.if_exists,
            stop=stop,
            on_progress=on_progress,
        )
        download = conclude(
            info,
            paths,
            seconds=time.monotonic() - started,
            unarchived=unarchived,
            index=index,
            plan=plan,
            results=results,
            wanted=request.wanted,
        )
        pruned = prune_files(paths, limits=limits, stop=stop) if prune else None
        return finish(request, paths, changes, download, pruned=pruned, maybe_gone=maybe_gone)


def planned(request: DownloadRequest, changes: Changes | None) -> DownloadRequest:
    """The request to plan with, after a comparison.

    Files that the archive carries are taken out of it where they are not here. If the catalog has
    changed, those that are here may be others by now, and are taken out again.

    Args:
        request: What is wanted.
        changes: What the catalog changed.
    """
    if changes is None or request.settings.unarchive:
        return request
    return replace(request, if_exists=DownloadIfExistsOpts.overwrite)


def current_report(paths: DownloadPaths) -> SyncReport:
    """The report of a sync that had nothing to do."""
    report = SyncReport(paths.dataset_id, paths.asset_dir, current=True)
    log.info("%s", report.summary())
    return report


def finish(
    request: DownloadRequest,
    paths: DownloadPaths,
    changes: Changes | None,
    download: DownloadReport,
    *,
    pruned: int | None,
    maybe_gone: bool,
) -> SyncReport:
    """Write down that the sync is done, if it is, and report.

    Args:
        request: What was wanted.
        paths: Where it lies.
        changes: What the catalog changed.
        download: What was fetched.
        pruned: Files moved into the trash, None where that was not asked for.
        maybe_gone: Whether files may have lain there before that the catalog did not have.

    Raises:
        StorageError: if the disk refuses.
    """
    if not download.failed:
        gone = pruned is None and (maybe_gone or bool(changes and changes.removed))
        settle(paths, request.wanted.digest(), gone=gone)
        forget_unfinished(paths)
    return SyncReport(
        paths.dataset_id, paths.asset_dir, changes=changes, download=download, pruned=pruned
    )
