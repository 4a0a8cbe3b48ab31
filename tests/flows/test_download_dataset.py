"""The flow in this process, against a real Prefect server: runs, names, states, logs, files."""

from __future__ import annotations

import csv
import json
import logging
from pathlib import Path
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, Log, TaskRun
from prefect.states import State

from flows.download_dataset import download_dataset
from flows.prefect_api import drain
from flows.sync_dataset import sync_dataset
from mlhub_core.exceptions import (
    ArchiveCorrupt,
    DownloadIncomplete,
    InvalidArgument,
    NothingMatches,
)
from mlhub_core.options import DownloadOptions
from mlhub_core.transfer.report import DownloadReport
from tests import prefect_home
from tests.acceptance.kit import catalog_members, collection, item, tar_gz
from tests.faultserver import FaultServer, status
from tests.flows.conftest import Files, Mirror

PLOTS = "demo_crops_plots"
STEPS = {"fetch-metadata", "fetch-catalog", "unarchive", "index-assets", "filter", "write-stac"}

pytestmark = pytest.mark.usefixtures("prefect_server")


def run(output_dir: Path, **fields: object) -> State[DownloadReport]:
    parameters = {"dataset": "demo_crops", "output_dir": str(output_dir), **fields}
    return download_dataset(DownloadOptions(**parameters), return_state=True)


class Seen:
    """What the server knows of a flow run once everything has been sent.

    Args:
        state: The run's.
        tasks: So many task runs it has at least.
    """

    def __init__(self, state: State[DownloadReport], tasks: int = 1) -> None:
        drain()
        flow_run_id = state.state_details.flow_run_id
        assert flow_run_id is not None
        with get_client(sync_client=True) as client:
            self.flow_run: FlowRun = client.read_flow_run(flow_run_id)
            self.task_runs = _task_runs(client, flow_run_id, tasks)
            wanted = {"flow_run_id": {"any_": [str(flow_run_id)]}}
            found = client.request("POST", "/logs/filter", json={"logs": wanted}).json()
            self.logs = [Log.model_validate(entry) for entry in found]
            listed = client.read_artifacts(flow_run_filter=_just(flow_run_id))
            self.artifacts = {entry.type: entry for entry in listed}
            assert len(self.artifacts) == len(listed)

    @property
    def messages(self) -> str:
        return "\n".join(log.message for log in self.logs)


def results_kept() -> set[Path]:
    """What Prefect has stored beside its database; errors are, whatever one sets."""
    return set((prefect_home.HOME / "storage").glob("*"))


def _just(flow_run_id: UUID) -> FlowRunFilter:
    return FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))


def _task_runs(client: SyncPrefectClient, flow_run_id: UUID, least: int) -> list[TaskRun]:
    """The task runs; the server gets them as events, and writes them down a moment later."""
    while True:
        found = client.read_task_runs(flow_run_filter=_just(flow_run_id))
        if len(found) >= least and all(entry.state and entry.state.is_final() for entry in found):
            return found


def test_a_whole_dataset(mirror: Mirror, tmp_path: Path, files_of: Files) -> None:
    before = results_kept()
    state = run(tmp_path, mirrors=mirror.mirrors, workers=2)
    assert state.is_completed()
    report = state.result()
    assert (report.files, report.fetched, report.failed) == (876, 876, 0)

    ours = files_of(tmp_path)
    asked = mirror.server.paths()
    assert len(asked) == len(set(asked)) == 876
    placed = [path for path in asked if "/_common/" not in path]
    assert len(placed) > 870
    assert all(ours[path[1:]] == mirror.files[path] for path in placed)
    assert {mirror.files[path] for path in asked} <= set(ours.values())

    steps = sorted(f"{step} demo_crops" for step in STEPS)
    parts = [f"download demo_crops {number}/4" for number in range(1, 5)]
    seen = Seen(state, tasks=len(steps + parts))
    assert seen.flow_run.name.startswith("demo_crops 20")
    names = sorted(entry.name for entry in seen.task_runs)
    assert names == sorted(steps + parts)
    assert all(entry.state and entry.state.is_completed() for entry in seen.task_runs)

    assert seen.flow_run.tags == ["dataset:demo_crops"]
    assert all("dataset:demo_crops" in entry.tags for entry in seen.task_runs)
    assert state.message is not None
    assert state.message.startswith("All 876 files are here: 876 fetched (2.")

    progress, summary = seen.artifacts["progress"], seen.artifacts["markdown"]
    assert (progress.key, summary.key) == ("demo-crops-progress", "demo-crops-summary")
    assert progress.data == 100
    assert "- download: 876 of 876 files" in str(progress.description)
    page = str(summary.data)
    assert state.message in page
    assert "CC-BY-4.0" in page
    assert str(tmp_path / "demo_crops" / "mlhub_stac_assets.parquet") in page
    assert "](data:image/svg+xml;base64," in page
    assert len(page) < 60_000
    assert "table" not in seen.artifacts

    by_logger = {log.name for log in seen.logs}
    assert "mlhub_core.pipeline" in by_logger
    assert "876 files in the dataset" in seen.messages
    assert report.summary() in seen.messages
    assert "download: 876 of 876 files" in seen.messages
    assert results_kept() == before, "a result was kept"
    assert logging.getLogger("mlhub_core").handlers == []

    mirror.server.forget()
    again = run(tmp_path, mirrors=mirror.mirrors)
    assert again.is_completed()
    assert mirror.server.requests == []
    assert (again.result().kept, again.result().fetched) == (876, 0)
    assert again.message == "Everything was there already (876 files): nothing was fetched."


def test_failures_are_counted_and_asked_for_once(mirror: Mirror, tmp_path: Path) -> None:
    gone = [path for path in mirror.files if f"/{PLOTS}/" in path and path.endswith(".tif")][:3]
    for path in gone:
        mirror.server.script(path, status(404))
    options = {"mirrors": mirror.mirrors, "collection_filter": {PLOTS: []}}
    state = run(tmp_path, **options)
    assert state.is_failed()
    assert state.message is not None
    assert "DownloadIncomplete: 3 of " in state.message
    assert "assets of demo_crops could not be had, most often (3)" in state.message
    with pytest.raises(DownloadIncomplete):
        state.result()
    assert [mirror.server.count(path) for path in gone] == [1, 1, 1]
    with (tmp_path / "demo_crops" / "err_report.csv").open(encoding="utf-8") as stream:
        assert len(list(csv.DictReader(stream))) == 3
    seen = Seen(state)
    assert all(entry.run_count == 1 for entry in seen.task_runs)
    assert "3 of " in (seen.flow_run.state or state).message
    rows = json.loads(str(seen.artifacts["table"].data))
    host = mirror.server.url("").removeprefix("http://")
    assert [row["cause"] for row in rows] == ["HTTP 404 Not Found"] * 3
    assert {row["link"].rpartition("demo_crops/")[2] for row in rows} == {
        path.partition("demo_crops/")[2] for path in gone
    }
    assert all(row["file"].startswith(f"{PLOTS}/") for row in rows)
    page = str(seen.artifacts["markdown"].data)
    assert "could not be had" in page
    assert f"| 3 | HTTP 404 Not Found | {host} |" in page
    assert "Press Retry: only what is missing is asked for." in state.message
    assert "run the same command" not in state.message
    assert f"/runs/flow-run/{seen.flow_run.id}" in state.message
    assert "Traceback" not in seen.messages
    fared = {entry.name: str(entry.state_name) for entry in seen.task_runs}
    assert {name for name, how in fared.items() if how == "Failed"} <= {
        name for name in fared if name.startswith("download ")
    }
    assert "Failed" in fared.values()

    mirror.server.forget()
    mended = run(tmp_path, **options)
    assert mended.is_completed()
    assert sorted(mirror.server.paths()) == sorted(gone)
    table = Seen(mended).artifacts["table"]
    assert (table.key, str(table.data)) == ("demo-crops-failures", "[]")
    assert "No file fails any more" in str(table.description)
    assert "table" not in Seen(run(tmp_path, **options)).artifacts


def test_nothing_matches(at_demo_hub: object, tmp_path: Path) -> None:
    options = {"datetime": "1999", "collection_filter": {"demo_crops_labels": ["labels"]}}
    state = run(tmp_path, **options)
    assert state.is_failed()
    assert state.message is not None
    assert "NothingMatches" in state.message
    assert 'press "Copy to new run"' in state.message
    assert "Traceback" not in Seen(state).messages
    with pytest.raises(NothingMatches):
        state.result()
    allowed = run(tmp_path, **options, allow_empty=True)
    assert allowed.is_completed()
    assert allowed.result().files == 0
    assert "leave nothing, and that was allowed" in str(allowed.message)


def test_the_catalog_only(at_demo_hub: object, tmp_path: Path) -> None:
    state = run(tmp_path, catalog_only=True)
    assert state.result().catalog_only
    steps = STEPS - {"index-assets", "filter", "write-stac"}
    seen = Seen(state, tasks=len(steps))
    assert {entry.name.split()[0] for entry in seen.task_runs} == steps


@pytest.mark.slow  # the flow hands on what the core's own tests show of each kind of source
def test_the_catalog_left_in_its_archive(mirror: Mirror, tmp_path: Path, files_of: Files) -> None:
    state = run(
        tmp_path, mirrors=mirror.mirrors, collection_filter={PLOTS: []}, limit=5, unarchive=False
    )
    assert state.is_completed()
    assert state.result().fetched == state.result().files > 0
    steps = STEPS - {"unarchive"} | {"download"}
    seen = Seen(state, tasks=len(steps))
    assert {entry.name.split()[0] for entry in seen.task_runs} == steps
    ours = files_of(tmp_path)
    assert "demo_crops/catalog.json" not in ours
    asked = mirror.server.paths()
    assert {mirror.files[path] for path in asked} <= set(ours.values())
    assert len(asked) == state.result().files


def test_wrong_parameters_leave_nothing_behind(at_demo_hub: object, tmp_path: Path) -> None:
    target = tmp_path / "new"
    state = run(target, collection_filter={"demo_crops_plot": []})
    assert state.is_failed()
    with pytest.raises(InvalidArgument, match="demo_crops_plots"):
        state.result()
    assert not target.exists()


def test_of_two_that_fail_the_cause_is_told(mirror: Mirror, tmp_path: Path) -> None:
    """The archive is damaged: unarchive and index-assets both find out, or one stops the other."""
    run(tmp_path, catalog_only=True)
    archive = tmp_path / "demo_crops.tar.gz"
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 0xFF
    archive.write_bytes(content)
    state = run(tmp_path, if_exists="skip")
    with pytest.raises(ArchiveCorrupt):
        state.result()


def test_a_catalog_archive_of_this_machine(
    server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLHUB_ROOT_URL", "http://127.0.0.1:9/")
    url = server.put("/a.tif", b"picture")
    path = tmp_path / "mine.tar.gz"
    path.write_bytes(tar_gz(catalog_members(collection(), item("a", {"image": url}))))
    options = DownloadOptions(dataset=str(path), output_dir=str(tmp_path / "out"))
    report = download_dataset(options)
    assert (report.fetched, report.failed) == (1, 0)
    assert sync_dataset(options).current


@pytest.mark.slow
def test_a_static_catalog_by_url(
    server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLHUB_ROOT_URL", "http://127.0.0.1:9/")
    server.put("/i.tif", b"picture")
    links = [{"rel": "item", "href": "./i.json"}]
    root = {"type": "Catalog", "id": "static", "stac_version": "1.0.0", "links": links}
    url = server.put("/catalog.json", json.dumps(root).encode())
    server.put("/i.json", json.dumps(item("i", {"image": "./i.tif"})).encode())
    options = DownloadOptions(dataset=url, output_dir=str(tmp_path), strict=True)
    state = download_dataset(options, return_state=True)
    assert (state.result().fetched, server.count("/i.json")) == (1, 1)
    assert {task.name.partition(" ")[0] for task in Seen(state, 5).task_runs} >= STEPS
    assert sync_dataset(options).download.kept == 1
