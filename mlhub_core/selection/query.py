"""A plan is made here: the rows of the index that match, counted, and cut into partitions."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from mlhub_core.exceptions import StorageError
from mlhub_core.index.schema import IDENTITY_KEY
from mlhub_core.progress import Progress, ProgressSink, Stage, ignore
from mlhub_core.selection.asset_db import is_current, write_asset_db
from mlhub_core.selection.engine import Query
from mlhub_core.selection.filters import AssetFilter
from mlhub_core.selection.index_reader import IndexReader, open_index, telling
from mlhub_core.selection.partition import Partition
from mlhub_core.selection.plan import PLAN_NAME, Plan, reusable, seal
from mlhub_core.threads import StopFlag

PLAN_VERSION = 1
"""Raised whenever the same index and filter give another plan: older ones are then made anew."""


def plan_assets(
    dataset_id: str,
    index: Path,
    wanted: AssetFilter,
    directory: Path,
    *,
    workers: int = 2,
    asset_db: Path | None = None,
    allow_empty: bool = False,
    stop: StopFlag | None = None,
    on_progress: ProgressSink = ignore,
) -> Plan:
    """Select the assets that match, and cut them into partitions.

    A plan that lies there already and was made from the same is used again.

    Args:
        dataset_id: The dataset.
        index: Its asset index, GeoParquet.
        wanted: The filter.
        directory: Where the plan goes; another one there is replaced.
        workers: Partitions that will run at a time.
        asset_db: Where to write the reference client's table, None to leave it out.
        allow_empty: Whether a filter that leaves nothing is fine.
        stop: Stops the query when set.
        on_progress: Gets rows of the index, as ``Stage.FILTER``.

    Raises:
        NothingMatches: if the filters leave nothing; says how many were left after each.
        InvalidArgument: if ``index`` is no asset index.
        StorageError: if the disk refuses.
        Interrupted: if stopped.
    """
    with telling(index, f"{directory} cannot be written"):
        made_from = identity(index, wanted, workers)
        plan = reusable(directory / PLAN_NAME, made_from)
        if plan and (asset_db is None or is_current(asset_db, made_from)):
            rows = plan.funnel[0][1]
            on_progress(Progress(Stage.FILTER, rows, rows, finished=True))
            return plan
        query = Query(IndexReader(index, stop), wanted, on_progress)
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True, exist_ok=True)
        query.run(allow_empty=allow_empty)
        partitions = query.cut(directory, workers)
        plan = plan_of(
            query,
            dataset_id,
            directory,
            partitions,
            known_bytes=sum(part.known_bytes for part in partitions),
            unknown_sizes=sum(part.unknown_sizes for part in partitions),
            made_from=made_from,
            seals=tuple(seal(part.path) for part in partitions),
        )
        plan.save()
    if asset_db is not None:
        with telling(index, f"{asset_db} cannot be written"):
            write_asset_db(asset_db, query, made_from)
    return plan


def plan_of(
    query: Query,
    dataset_id: str,
    directory: Path,
    partitions: tuple[Partition, ...],
    **more: Any,
) -> Plan:
    """What the matching rows of a query add up to.

    Args:
        query: The query, run.
        dataset_id: The dataset.
        directory: Where the partition files lie.
        partitions: The files, in batches.
        more: Further attributes.
    """
    summary = query.summary
    return Plan(
        dataset_id,
        directory,
        partitions,
        files=summary.files,
        items=summary.items,
        funnel=query.funnel(),
        without_place=query.lacking("place"),
        without_time=query.lacking("time"),
        collections=summary.collections,
        span=summary.span,
        box=summary.box,
        **more,
    )


def identity(index: Path, wanted: AssetFilter, workers: int) -> dict[str, Any]:
    """What a plan is made from: equal ones give equal plans.

    The index counts by what it says of its archive, and by size and time of its file: whoever
    changes or replaces it gets a new plan.
    """
    try:
        status = index.stat()
    except OSError as error:
        raise StorageError(f"{index} cannot be read: {error.strerror}.") from error
    return {
        "version": PLAN_VERSION,
        "archive": archive_of(index),
        "index": [status.st_size, status.st_mtime_ns],
        "filter": wanted.digest(),
        "workers": workers,
    }


def archive_of(index: Path) -> Any:
    """What an index says of the archive that it was made from; None if it says nothing.

    Raises:
        InvalidArgument: if it is no asset index.
        StorageError: if it cannot be read.
    """
    with open_index(index) as reader:
        return reader.noted(IDENTITY_KEY)


def kept_plan(state_dir: Path, made_from: dict[str, Any]) -> Path:
    """The directory of a plan that is kept."""
    canonical = json.dumps(made_from, sort_keys=True).encode()
    return state_dir / "plans" / hashlib.sha256(canonical).hexdigest()[:12]
