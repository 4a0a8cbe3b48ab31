"""The way of deployments/README.md, from an empty Prefect home to files on disk."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from mlhub_core.parameters import DownloadParameters
from tests.processes import command

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
README = (ROOT / "deployments" / "README.md").read_text("utf-8")
BIN = Path(sys.executable).parent
PATIENCE = 300.0


def written(start: str) -> list[str]:
    """The words of the README's command that begins so."""
    commands = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    lines = "".join(commands).replace("\\\n", " ").splitlines()
    found = next(line for line in lines if line.startswith(start))
    return shlex.split(found)


@dataclass
class Site:
    """A machine with a Prefect server and a worker."""

    home: Path
    api: str
    env: dict[str, str]

    def run(self, words: list[str]) -> subprocess.CompletedProcess[str]:
        """Run a command in the checkout."""
        words = [str(BIN / words[0]), *words[1:]]
        return subprocess.run(
            words, cwd=ROOT, env=self.env, capture_output=True, text=True, timeout=PATIENCE
        )

    def prefect(self, start: str) -> None:
        """Run a command of the README."""
        done = self.run(written(start))
        assert done.returncode == 0, done.stdout + done.stderr

    def ask(self, path: str, **body: object) -> list[dict[str, Any]]:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.post(f"{self.api}/{path}", json=body)
        answer.raise_for_status()
        return list(answer.json())


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("site")
    port = free_port()
    words = [str(BIN / "prefect"), *written("prefect server start")[1:]]
    env = {
        **os.environ,
        "HOME": str(home),  # the deployments write to ~/mlhub-data
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "MLHUB_HOME": str(home / "mlhub"),
    }
    with command([*words, "--port", str(port)], home, **env) as server:
        waiting = requests.Session()
        waiting.trust_env = False
        patience = Retry(total=None, connect=120, backoff_factor=0.1, backoff_max=1.0)
        waiting.mount("http://", HTTPAdapter(max_retries=patience))
        assert waiting.get(f"{env['PREFECT_API_URL']}/health").ok, server.err
        made = Site(home, env["PREFECT_API_URL"], env)
        made.prefect("prefect work-pool create")
        made.prefect("prefect --no-prompt deploy")
        worker_words = [str(BIN / "prefect"), *written("prefect worker start")[1:]]
        with command(worker_words, home, **env) as worker:
            yield made
            worker.process.send_signal(signal.SIGINT)
            assert worker.all_end(60), worker.err
        server.process.send_signal(signal.SIGINT)
        assert server.all_end(60), server.err


def test_the_nightly_one_has_a_schedule(site: Site) -> None:
    found = {entry["name"]: entry for entry in site.ask("deployments/filter")}
    assert set(found) == {"nightly", "on-demand"}
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
        assert entry["entrypoint"] == "flows.download_dataset.download_dataset"
        assert not entry["pull_steps"]
        assert DownloadParameters(**entry["parameters"]["download"]).demo


def test_a_run_on_demand_and_a_nightly_one(site: Site) -> None:
    site.prefect("prefect deployment run download-dataset/on-demand --watch")
    data = site.home / "mlhub-data" / "demo_crops"
    index = pyarrow.parquet.read_table(data / "mlhub_stac_assets.parquet", columns=["save_path"])
    places = {data / place.as_py() for place in index["save_path"]}
    assert len(places) == 876
    when = {path: path.stat().st_mtime_ns for path in places}

    site.prefect("prefect deployment run download-dataset/nightly --start-in")
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
