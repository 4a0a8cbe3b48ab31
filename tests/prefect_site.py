"""A machine with a Prefect server, its UI and a worker, set up as deployments/README.md says."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from tests.processes import Command, command

ROOT = Path(__file__).parents[1]
README = (ROOT / "deployments" / "README.md").read_text("utf-8")
BIN = Path(sys.executable).parent
PATIENCE = 300.0
# A server on SQLite says 503 while its database is locked; Prefect's own client tries again, too.
LOCKED = Retry(total=10, status_forcelist=[503], allowed_methods=None, backoff_factor=0.2)
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


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
    url: str
    env: dict[str, str]
    worker: Command | None = None

    @property
    def api(self) -> str:
        return f"{self.url}/api"

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

    def ask(self, path: str, **body: object) -> Any:
        """What the API answers; a GET without a body, else a POST."""
        post = body or path.endswith("filter")
        return self.send("POST" if post else "GET", path, body if post else None).json()

    def send(self, method: str, path: str, body: object = None) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            session.mount("http://", HTTPAdapter(max_retries=LOCKED))
            answer = session.request(method, f"{self.api}/{path}", json=body)
        answer.raise_for_status()
        return answer

    def start_run(self, deployment: str, **download: object) -> str:
        """Start a run as the UI does; gives its id."""
        found = self.ask(f"deployments/name/download-dataset/{deployment}")
        parameters = {"download": download} if download else {}
        path = f"deployments/{found['id']}/create_flow_run"
        run = self.ask(path, state={"type": "SCHEDULED"}, parameters=parameters)
        return str(run["id"])

    def set_state(self, run_id: str, kind: str, name: str) -> None:
        """Set a run's state as the buttons of the UI do."""
        state = {"type": kind, "name": name, "message": "From the UI"}
        self.ask(f"flow_runs/{run_id}/set_state", state=state, force=False)

    def flow_run(self, run_id: str) -> dict[str, Any]:
        return dict(self.ask(f"flow_runs/{run_id}"))

    def wait_for(self, run_id: str, *kinds: str) -> dict[str, Any]:
        """Ask until a run is in one of these states; pytest's own time limit ends the wait."""
        while (found := self.flow_run(run_id))["state_type"] not in kinds:
            assert found["state_type"] not in FINAL, found["state"]
            time.sleep(0.2)  # or asking would take the processor from what is asked about
        return found

    def task_runs(self, run_id: str) -> list[dict[str, Any]]:
        return list(self.ask("task_runs/filter", flow_runs={"id": {"any_": [run_id]}}))

    def messages(self, run_id: str) -> list[str]:
        """The lines of a run's log."""
        found = self.ask("logs/filter", logs={"flow_run_id": {"any_": [run_id]}})
        return [entry["message"] for entry in found]

    def artifacts(self, run_id: str) -> list[dict[str, Any]]:
        return list(self.ask("artifacts/filter", flow_runs={"id": {"any_": [run_id]}}))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@contextmanager
def prefect_site(home: Path, **env: str) -> Iterator[Site]:
    """Start a server and a worker, and deploy; end both in good order."""
    port = free_port()
    words = [str(BIN / "prefect"), *written("prefect server start")[1:]]
    url = f"http://127.0.0.1:{port}"
    env = {
        **os.environ,
        "HOME": str(home),  # the deployments write to ~/mlhub-data
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_API_URL": f"{url}/api",
        "PREFECT_SERVER_UI_API_URL": f"{url}/api",
        "MLHUB_HOME": str(home / "mlhub"),
        **env,
    }
    with command([*words, "--port", str(port)], home, **env) as server:
        with requests.Session() as waiting:
            waiting.trust_env = False
            patience = Retry(total=None, connect=300, backoff_factor=0.1, backoff_max=1.0)
            waiting.mount("http://", HTTPAdapter(max_retries=patience))
            assert waiting.get(f"{url}/api/health").ok, server.err
        made = Site(home, url, env)
        made.prefect("prefect work-pool create")
        made.prefect("prefect --no-prompt deploy")
        worker_words = [str(BIN / "prefect"), *written("prefect worker start")[1:]]
        with command(worker_words, home, **env) as worker:
            made.worker = worker
            yield made
            worker.process.send_signal(signal.SIGINT)
            assert worker.all_end(300), worker.err
        server.process.send_signal(signal.SIGINT)
        assert server.all_end(300), server.err
