"""The key in a Secret block is used, and found nowhere else: a canary."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.store_api_key import main as store_api_key
from flows.command import main as command
from flows.prefect_api import drain
from mlhub_core.exceptions import (
    APIKeyNotFound,
    AuthenticationError,
    EntityDoesNotExist,
    HubUnreachable,
    InvalidArgument,
    MLHubException,
)
from mlhub_core.hub.server import DemoHub
from tests.faultserver import Fault, FaultServer, redirect, reset_before, status
from tests.flows.test_download_dataset import Seen, run

CANARY = "canary-5e1f0c9ab7d24"
BLOCK = "mlhub-api-key"
ELSEWHERE = "http://127.0.0.1:9/elsewhere"

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture(scope="module")
def block(prefect_server: str) -> str:
    stored = subprocess.run(
        [sys.executable, "-m", "deployments.store_api_key", BLOCK],
        input=f"{CANARY}\n",
        env={**os.environ, "PREFECT_API_URL": prefect_server},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert stored.returncode == 0, stored.stderr
    assert f"Stored in the Secret block {BLOCK}" in stored.stdout
    assert CANARY not in stored.stdout + stored.stderr
    return BLOCK


@pytest.fixture(scope="module")
def locked_hub() -> Iterator[DemoHub]:
    with DemoHub(api_key=CANARY) as hub:
        yield hub


def assert_nowhere(database: Path, *places: Path) -> None:
    drain()
    files = [*database.parent.rglob("*"), *(path for place in places for path in place.rglob("*"))]
    assert database in files
    for path in files:
        if path.is_file():
            assert CANARY.encode() not in path.read_bytes(), path


def test_the_key_opens_the_hub(
    block: str,
    locked_hub: DemoHub,
    database: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    monkeypatch.setenv("MLHUB_ROOT_URL", locked_hub.url)
    options = {"collection_filter": {"demo_crops_plots": ["labels"]}, "api_key_block": block}
    state = run(tmp_path, **options)
    assert state.is_completed()
    assert state.result().fetched > 10
    seen = Seen(state)
    assert BLOCK in str(seen.flow_run.parameters)
    assert CANARY not in str(seen.flow_run.parameters) + seen.messages
    assert CANARY not in caplog.text
    assert CANARY not in "".join(capfd.readouterr())
    assert_nowhere(database, tmp_path)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        pytest.param(status(401), AuthenticationError, id="401"),
        pytest.param(status(404), EntityDoesNotExist, id="404", marks=pytest.mark.slow),
        pytest.param(status(500), MLHubException, id="500", marks=pytest.mark.slow),
        pytest.param(reset_before(), HubUnreachable, id="reset", marks=pytest.mark.slow),
        pytest.param(redirect(ELSEWHERE), MLHubException, id="redirect", marks=pytest.mark.slow),
        pytest.param(None, HubUnreachable, id="refused"),
    ],
)
def test_failures_do_not_tell_it(
    block: str,
    server: FaultServer,
    database: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    fault: Fault | None,
    error: type[MLHubException],
) -> None:
    caplog.set_level("DEBUG")
    root = "http://127.0.0.1:9/" if fault is None else server.url("/")
    monkeypatch.setenv("MLHUB_ROOT_URL", root)
    if fault is not None:
        for path in ("/datasets/demo_crops", f"/datasets/demo_crops?key={CANARY}"):
            server.always(path, fault)
    state = run(tmp_path / "new", api_key_block=block)
    assert state.is_failed()
    with pytest.raises(error):
        state.result()
    if fault is not None:
        assert any(CANARY in path for path in server.paths()), "the key was not sent"
    assert CANARY not in Seen(state).messages
    assert CANARY not in (state.message or "")
    assert CANARY not in caplog.text
    assert CANARY not in "".join(capfd.readouterr())
    assert_nowhere(database, tmp_path)


@pytest.mark.parametrize("module", ["download_dataset", "sync_dataset"])
def test_a_login_in_a_url_never_comes_to_prefect(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["demo_crops", "--output-dir", str(tmp_path / "new")]
    mirror = ["--mirror", f"https://old/=http://me:{CANARY}@h/"]
    assert command([*words, *mirror], flow=module) == 2
    monkeypatch.setenv("MLHUB_ROOT_URL", f"http://me:{CANARY}@127.0.0.1:9/")
    assert command(words, flow=module) == 2
    monkeypatch.setenv("MLHUB_ROOT_URL", f"ftp://me:{CANARY}@127.0.0.1:9/")
    assert command(words, flow=module) == 2
    told = capsys.readouterr()
    assert CANARY not in told.out + told.err
    assert len(told.err.splitlines()) == 3
    assert told.err.count("netrc") == 2
    assert not (tmp_path / "new").exists()


def test_a_login_in_the_url_of_the_hub_of_a_worker(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLHUB_ROOT_URL", f"http://me:{CANARY}@127.0.0.1:9/")
    state = run(tmp_path / "new")
    with pytest.raises(InvalidArgument, match="MLHUB_ROOT_URL"):
        state.result()
    assert CANARY not in Seen(state, tasks=0).messages + (state.message or "")
    assert_nowhere(database, tmp_path)


def test_a_block_that_is_not_there(at_demo_hub: DemoHub, tmp_path: Path) -> None:
    state = run(tmp_path, api_key_block="no-such-block")
    with pytest.raises(APIKeyNotFound, match="no-such-block"):
        state.result()
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_name_of_a_block(capsys: pytest.CaptureFixture[str]) -> None:
    assert store_api_key(["My Block"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
