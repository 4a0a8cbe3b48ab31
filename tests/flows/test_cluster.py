"""The same flow on a Dask cluster of two worker processes."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prefect import flow

from flows.cluster import ClusterError, on_cluster
from flows.download_dataset import download_dataset
from mlhub_core.exceptions import DownloadIncomplete, InvalidArgument
from mlhub_core.options import DownloadOptions
from mlhub_core.pipeline import download
from mlhub_core.progress import Progress, Stage
from mlhub_core.selection.plan import Plan
from tasks.download_partition import download_partition
from tasks.remote import running_in
from tasks.runtime import new_run
from tests.faultserver import stall, status
from tests.flows.conftest import Files, Mirror

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.usefixtures("prefect_server"),
]

CONNECTIONS = 8


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
    ) as running:
        yield running


def parameters(root: Path, mirror: Mirror, cluster: Any = None) -> DownloadOptions:
    runner = {"runner": "dask", "dask_address": cluster.scheduler_address} if cluster else {}
    return DownloadOptions.create(
        dataset="demo_crops",
        output_dir=str(root),
        mirrors=mirror.mirrors,
        concurrency=CONNECTIONS,
        **runner,
    )


def pids(cluster: Any) -> set[int]:
    distributed = pytest.importorskip("distributed")
    with distributed.Client(cluster, set_as_default=False) as client:
        return set(client.run(os.getpid).values())


def test_its_files_are_those_of_a_local_run(
    mirror: Mirror, files_of: Files, tmp_path: Path, cluster: Any
) -> None:
    download_dataset(parameters(tmp_path / "here", mirror))
    local = files_of(tmp_path / "here")
    mirror.server.forget()
    told: dict[int, Progress] = {}
    with new_run() as hooks, hooks.progress.listen(lambda one: told.update({one.part: one})):
        report = download_dataset(parameters(tmp_path / "there", mirror, cluster))
    assert report.fetched == report.files == 876
    last = [told[number] for number in sorted(told) if told[number].stage is Stage.DOWNLOAD]
    assert sum(one.done for one in last) == 876
    assert all(one.finished for one in last)
    # The index and the table beside it hold nothing of where they lie, so they are alike as well.
    assert files_of(tmp_path / "there").keys() == local.keys()
    assert {k: v for k, v in files_of(tmp_path / "there").items() if not k.endswith(".db")} == {
        k: v for k, v in local.items() if not k.endswith(".db")
    }
    assert 2 <= mirror.server.most_open <= CONNECTIONS
    mirror.server.forget()
    again = download_dataset(parameters(tmp_path / "there", mirror, cluster))
    assert (again.kept, again.fetched) == (876, 0)
    assert mirror.server.paths() == []


def test_a_worker_that_is_killed_costs_no_file(
    mirror: Mirror, files_of: Files, tmp_path: Path, cluster: Any
) -> None:
    download_dataset(parameters(tmp_path / "here", mirror))
    mirror.server.forget()
    victim = min(pids(cluster))
    killed = threading.Event()
    wanted = sorted(path for path in mirror.files if path.endswith("B08.tif"))

    def kill() -> None:
        if not killed.is_set():
            killed.set()
            os.kill(victim, signal.SIGKILL)

    for path in wanted[len(wanted) // 2 :]:
        mirror.server.when_asked(path, kill)
    report = download_dataset(parameters(tmp_path / "there", mirror, cluster))
    assert killed.is_set()
    assert victim not in pids(cluster)
    assert report.failed == 0
    assert report.files == 876
    here, there = files_of(tmp_path / "here"), files_of(tmp_path / "there")
    assert there.keys() == here.keys()
    assert {k: v for k, v in there.items() if not k.endswith(".db")} == {
        k: v for k, v in here.items() if not k.endswith(".db")
    }
    # What the dead worker had finished is in its segment of the ledger: nobody asks again.
    assert len(mirror.server.paths()) <= len(mirror.files) + 2 * CONNECTIONS


def test_failures_of_all_workers_are_in_one_report(
    mirror: Mirror, tmp_path: Path, cluster: Any
) -> None:
    victims = [path for path in mirror.files if path.endswith("B08.tif")][::10]
    for path in victims:
        mirror.server.always(path, status(404))
    with pytest.raises(DownloadIncomplete) as caught:
        download_dataset(parameters(tmp_path / "there", mirror, cluster))
    assert caught.value.report.failed == len(victims)
    report = (tmp_path / "there" / "demo_crops" / "err_report.csv").read_text("utf-8")
    assert len(report.splitlines()) == 1 + len(victims)


class Left(Exception):
    pass


INSIDE: list[Callable[[], None]] = []


@flow
def around() -> None:
    """A flow for the length of a function. It travels to the workers, the function must not."""
    from tests.flows import test_cluster

    test_cluster.INSIDE[-1]()


def test_leaving_early_stops_the_partitions_wherever_they_run(
    mirror: Mirror, tmp_path: Path, cluster: Any
) -> None:
    request = parameters(tmp_path / "there", mirror, cluster).request()
    plans: list[Plan] = []
    download(replace(request, dry_run=True), on_plan=plans.append)
    (plan,) = plans
    paths = request.paths("demo_crops")
    transfer = replace(request.settings.transfer, stall_timeout=3600.0)
    reached = threading.Semaphore(0)
    started: list[Any] = []  # Dask lets go of what nobody holds
    for path in mirror.files:
        if path.endswith("B08.tif"):
            mirror.server.always(path, stall(10))
            mirror.server.when_asked(path, reached.release)

    def leave() -> None:
        with on_cluster(request.settings, paths) as (runner, share):
            settings = replace(transfer, concurrency=share.concurrency)
            fixed = {"paths": paths, "if_exists": request.if_exists, "settings": settings}
            started.extend(
                runner.submit(download_partition, {"partition": partition, **fixed})
                for partition in plan.partitions
            )
            assert reached.acquire(timeout=300)
            raise Left

    INSIDE.append(leave)
    with pytest.raises(Left):
        around()
    distributed = pytest.importorskip("distributed")
    with distributed.Client(cluster, set_as_default=False) as client:
        assert sum(client.run(running_in, str(paths.asset_dir)).values()) == 0


def test_a_cluster_of_its_own(mirror: Mirror, tmp_path: Path) -> None:
    wanted = parameters(tmp_path / "there", mirror).model_copy(update={"runner": "dask"})
    report = download_dataset(wanted)
    assert report.fetched == report.files == 876


def test_a_cluster_that_is_not_there_is_one_line(mirror: Mirror, tmp_path: Path) -> None:
    wanted = parameters(tmp_path / "there", mirror).model_copy(
        update={"runner": "dask", "dask_address": "tcp://127.0.0.1:1"}
    )
    with (
        pytest.importorskip("dask.config").set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(ClusterError, match="dask_address") as caught,
    ):
        download_dataset(wanted)
    assert "\n" not in str(caught.value)


def test_an_address_without_the_runner_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="runner"):
        DownloadOptions.create(dataset="demo_crops", dask_address="tcp://127.0.0.1:1")
