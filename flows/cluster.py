"""A Dask cluster whose workers fetch the partitions, through prefect-dask.

All workers and the flow see the same directory under the same path. What each worker writes to the
ledger is a segment of its own, which the next run merges. A partition whose worker dies is given to
another one, which goes on where the ledger and the partial files are. How far each is, the workers
tell by events of the cluster.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mlhub_core.exceptions import InvalidArgument, MLHubException
from mlhub_core.paths import DownloadPaths
from mlhub_core.redact import redact
from mlhub_core.settings import RunSettings, TransferSettings
from mlhub_core.transfer.workers import share
from tasks.remote import heard, stop_all_in, topic_of
from tasks.runtime import run_hooks

_STOP_SECONDS = 60.0
"""How long partitions may take to stop, those included that are still being started."""


class ClusterError(MLHubException):
    """The Dask cluster cannot be reached, or lost what it was doing."""


@contextmanager
def on_cluster(
    settings: RunSettings, paths: DownloadPaths
) -> Iterator[tuple[Any, TransferSettings]]:
    """A task runner on a cluster, and the settings that hold for each of its processes.

    Without an address, the cluster is made on this machine, of as many processes as there are
    workers, for the length of the block. When the block is left by an exception, the partitions
    that run are stopped, on whatever machine, and waited for: the next run must find none of them.

    Args:
        settings: Of the run.
        paths: Whose partitions are stopped.

    Raises:
        InvalidArgument: if prefect-dask is not installed.
        ClusterError: if the cluster cannot be reached, or gives a partition up.
    """
    try:
        from distributed import KilledWorker
        from distributed.comm.core import CommClosedError
        from prefect_dask.task_runners import DaskTaskRunner
    except ImportError as error:
        raise InvalidArgument(
            "runner is dask, but prefect-dask is not installed: pip install 'mlhub-flows[dask]'."
        ) from error
    runner = DaskTaskRunner(**_cluster(settings))
    try:
        with runner, run_hooks() as hooks:
            client = _client(runner)
            topic = topic_of(str(paths.asset_dir))
            client.subscribe_topic(topic, lambda event: hooks.progress(heard(event)))
            processes = max(1, len(client.scheduler_info(n_workers=-1)["workers"]))
            try:
                yield runner, share(settings.transfer, processes)
            except BaseException:
                _stop(client, str(paths.asset_dir))
                raise
            finally:
                client.unsubscribe_topic(topic)
    except (KilledWorker, CommClosedError, OSError) as error:
        if isinstance(error, MLHubException):
            raise
        reason = redact(error).strip().splitlines() or [type(error).__name__]
        raise ClusterError(
            f"The Dask cluster failed: {reason[0]}. What is finished is kept; the same run goes on "
            "there. Is the scheduler up, and has each worker the memory it needs?"
        ) from error


def _client(runner: Any) -> Any:
    """Connect to the cluster, or make it.

    Raises:
        ClusterError: if that fails.
    """
    try:
        return runner.client
    except (RuntimeError, OSError) as error:
        reason = redact(error).strip().splitlines() or [type(error).__name__]
        raise ClusterError(
            f"There is no Dask cluster to be had: {reason[0]}. Is dask_address the scheduler's, "
            "and does it run?"
        ) from error


def _stop(client: Any, directory: str) -> None:
    """Stop what runs for this client, and what is about to: the scheduler knows of both."""
    deadline = time.monotonic() + _STOP_SECONDS
    while _is_busy(client) and time.monotonic() < deadline:
        client.run(stop_all_in, directory, on_error="ignore")
        time.sleep(0.1)


def _is_busy(client: Any) -> bool:
    ours = set(client.futures)
    return any(ours.intersection(keys) for keys in client.processing().values())


def _cluster(settings: RunSettings) -> dict[str, Any]:
    if settings.dask_address:
        return {"address": settings.dask_address}
    return {
        "cluster_kwargs": {
            "n_workers": settings.workers,
            "threads_per_worker": 1,
            "dashboard_address": ":0",  # the usual port may be taken, by another run's
        }
    }
