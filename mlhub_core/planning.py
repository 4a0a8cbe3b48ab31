"""The step between index and transfer: the plan, made or taken up, and what has to precede it."""

from __future__ import annotations

import logging
from dataclasses import replace

from mlhub_core.carry import carry_out
from mlhub_core.chores import Chores
from mlhub_core.index.build import AssetIndex
from mlhub_core.layout import DownloadPaths
from mlhub_core.progress import ProgressSink, ignore
from mlhub_core.request import DownloadRequest
from mlhub_core.selection.plan import Plan, counted, load_saved, save_plan
from mlhub_core.space import check_space
from mlhub_core.stop import StopFlag

log = logging.getLogger(__name__)


def make_plan(
    request: DownloadRequest,
    paths: DownloadPaths,
    index: AssetIndex,
    *,
    chores: Chores | None = None,
    stop: StopFlag | None = None,
    on_progress: ProgressSink = ignore,
) -> Plan:
    """Filter the index and cut what is left into partitions.

    Args:
        request: What is wanted.
        paths: Where everything goes; its lock is held.
        index: The asset index.
        chores: Where what nothing waits for is done later, such as the SQLite table; None to have
            it done with the plan.
        stop: Stops it when set.
        on_progress: Gets rows of the index.

    Raises:
        InvalidArgument: if the filter names a collection or asset key that does not exist, or a
            saved plan cannot be run any more.
        NothingMatches: if nothing is left.
        StorageError: if the disk refuses, or has not the room that the files will take.
    """
    if request.plan is not None:
        from mlhub_core.selection.query import archive_of

        plan = load_saved(request.plan, paths.dataset_id, archive_of(index.path))
    else:
        request.wanted.check_against(dict(index.asset_keys))
        for phrase in request.wanted.describe():
            log.info("filter: %s", phrase)
        plan = _new_plan(request, paths, index, chores, stop, on_progress)
    for name, left in plan.funnel:
        log.info("%s %s", counted(left, "file"), name)
    if request.settings.check_space and not request.dry_run:
        check_space(plan, paths, stop=stop)
    if not request.settings.unarchive and not request.dry_run:
        carry_out(
            plan.partitions,
            paths,
            if_exists=request.if_exists,
            limits=request.settings.limits,
            stop=stop,
            on_progress=on_progress,
        )
    return plan


def _new_plan(
    request: DownloadRequest,
    paths: DownloadPaths,
    index: AssetIndex,
    chores: Chores | None,
    stop: StopFlag | None,
    on_progress: ProgressSink,
) -> Plan:
    """Make a plan: in a place of its own if it is to be kept, and there too if one is kept."""
    from mlhub_core.selection.query import identity, kept_plan, plan_assets

    workers = request.settings.workers
    kept = kept_plan(paths.state_dir, identity(index.path, request.wanted, workers))
    plan = plan_assets(
        paths.dataset_id,
        index.path,
        request.wanted,
        kept if request.dry_run or kept.exists() else paths.plan_dir,
        workers=workers,
        asset_db=paths.asset_db if request.settings.asset_db and not request.dry_run else None,
        chores=chores,
        allow_empty=request.allow_empty,
        stop=stop,
        on_progress=on_progress,
    )
    if request.dry_run:
        plan = replace(
            plan,
            output_dir=str(paths.output_dir),
            asset_output_dir=str(paths.asset_output_dir),
        )
        save_plan(plan)
    return plan
