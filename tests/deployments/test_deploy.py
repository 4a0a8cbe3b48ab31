"""The way of deployments/README.md, from an empty Prefect home to files on disk."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pyarrow.parquet
import pytest

from mlhub_core.options import DownloadOptions
from tests.prefect_site import Site, prefect_site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with prefect_site(tmp_path_factory.mktemp("site")) as made:
        yield made


def test_the_nightly_one_has_a_schedule(site: Site) -> None:
    found = {entry["name"]: entry for entry in site.ask("deployments/filter")}
    assert {name: entry["entrypoint"] for name, entry in found.items()} == {
        "nightly": "flows.sync_dataset.sync_dataset",
        "on-demand": "flows.download_dataset.download_dataset",
    }
    (schedule,) = found["nightly"]["schedules"]
    assert schedule["active"]
    assert schedule["schedule"]["cron"] == "0 2 * * *"
    assert schedule["schedule"]["timezone"] == "UTC"
    assert found["on-demand"]["schedules"] == []
    wanted = {"deployments": {"name": {"any_": ["nightly"]}}}
    while not (runs := site.ask("flow_runs/filter", **wanted)):
        pass  # the scheduler comes by every few seconds; pytest's own time limit ends the wait
    assert {entry["state_type"] for entry in runs} == {"SCHEDULED"}
    assert all("T02:00:00" in entry["expected_start_time"] for entry in runs)
    for entry in found.values():
        assert not entry["pull_steps"]
        assert DownloadOptions(**entry["parameters"]["download"]).demo


def test_a_run_on_demand_and_a_nightly_one(site: Site) -> None:
    site.prefect("prefect deployment run download-dataset/on-demand --watch")
    data = site.home / "mlhub-data" / "demo_crops"
    index = pyarrow.parquet.read_table(data / "mlhub_stac_assets.parquet", columns=["save_path"])
    places = {data / place.as_py() for place in index["save_path"]}
    assert len(places) == 876
    when = {path: path.stat().st_mtime_ns for path in places}

    site.prefect("prefect deployment run sync-dataset/nightly --start-in")
    assert {path: path.stat().st_mtime_ns for path in places} == when

    wanted = {"flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}
    assert len(site.ask("flow_runs/filter", **wanted)) == 2
    messages = [entry["message"] for entry in site.ask("logs/filter")]
    assert any("876 fetched" in message for message in messages)
    assert any("876 were here already" in message for message in messages)
    assert "876 files in the dataset" in messages, "no lines of the core"


def test_a_run_that_fails_says_why_and_is_not_retried_on_demand(site: Site) -> None:
    words = ["prefect", "deployment", "run", "download-dataset/on-demand", "--watch", "--param"]
    download = {"dataset": "demo_crop", "demo": True, "output_dir": str(site.home / "no")}
    done = site.run([*words, f"download={json.dumps(download)}"])
    assert done.returncode != 0
    wanted = {"flow_runs": {"state": {"type": {"any_": ["FAILED"]}}}}
    (failed,) = site.ask("flow_runs/filter", **wanted)
    assert "EntityDoesNotExist" in failed["state"]["message"]
    assert "demo_crop" in failed["state"]["message"]
    assert failed["run_count"] == 1
    assert not (site.home / "no").exists()
