"""The partitions of a plan, as task runs: on threads of this process, or on a Dask cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prefect.utilities.annotations import unmapped

from flows.host_limits import taking_turns
from flows.side_by_side import settle, side_by_side
from mlhub_core.layout import DownloadPaths
from mlhub_core.request import DownloadRequest
from mlhub_core.selection.plan import Plan
from mlhub_core.settings import TransferSettings
from mlhub_core.transfer.dispatch import crew_for
from mlhub_core.transfer.result import PartitionResult
from tasks.download_partition import download_partition
from tasks.runtime import announce


def download_partitions(
    request: DownloadRequest, paths: DownloadPaths, plan: Plan
) -> tuple[PartitionResult, ...]:
    """Run the task ``download-partition`` for each partition of a plan, and wait for them.

    Raises:
        MLHubException: all that the task raises.
    """
    if not plan.partitions:
        return ()
    settings = request.settings
    announce(plan.partitions)
    with (
        taking_turns(plan.partitions, settings.transfer),
        _runner(request, paths, plan) as (runner, transfer),
    ):
        futures = runner.map(
            download_partition,
            {
                "partition": plan.partitions,
                "paths": unmapped(paths),
                "if_exists": unmapped(request.if_exists),
                "settings": unmapped(transfer),
            },
        )
        return settle(futures)


@contextmanager
def _runner(
    request: DownloadRequest, paths: DownloadPaths, plan: Plan
) -> Iterator[tuple[Any, TransferSettings]]:
    """A task runner, and the settings that hold for each of its processes."""
    settings = request.settings
    if settings.runner == "dask":
        from flows.cluster import on_cluster

        with on_cluster(settings, paths) as found:
            yield found
    else:
        with (
            crew_for(plan.partitions, paths, settings, request.if_exists),
            side_by_side(settings.workers) as runner,
        ):
            yield runner, settings.transfer
