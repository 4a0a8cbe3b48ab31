"""``python -m flows.download_dataset`` as a process: what it prints and how it ends."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State, StateType
from prefect.client.schemas.sorting import FlowRunSort

from flows.command import DOWNLOAD, SYNC, main
from mlhub_core.hub.server import DemoHub
from mlhub_core.paths import DownloadPaths
from mlhub_core.transfer.ledger import LedgerReader
from tests.flows.conftest import PATIENCE, Files, Mirror
from tests.foreign import fill, ran_in
from tests.processes import Command, command, download_words


def in_ledger(output_dir: Path) -> list[str]:
    paths = DownloadPaths.of("demo_crops", output_dir)
    listed = sorted(
        path.relative_to(paths.asset_dir).as_posix()
        for path in paths.asset_dir.rglob("*")
        if path.is_file()
    )
    reader = LedgerReader(paths.ledger_dir)
    try:
        return sorted(reader.find(listed))
    finally:
        reader.close()


def mirror_options(mirror: Mirror) -> list[str]:
    return [f"--mirror={prefix}={url}" for prefix, url in mirror.mirrors.items()]


def assert_stopped(running: Command, output_dir: Path) -> None:
    """Status 130, one line, nothing alive, and every file that is there is whole and known."""
    assert running.wait(300) == 130, running.err
    assert running.all_end(300)
    assert running.out == ""
    assert "Traceback" not in running.err
    assert running.err.splitlines()[-1].startswith("download_dataset: Stopped. What is finished")
    done = in_ledger(output_dir)
    assert len(done) > 10
    assert list((output_dir / "demo_crops").rglob("*.part")) == []


def test_sigterm_in_the_middle_of_a_download(
    prefect_server: str,
    mirror: Mirror,
    stalled: Callable[[], None],
    tmp_path: Path,
    files_of: Files,
) -> None:
    words = download_words("demo_crops", "--output-dir", "out", *mirror_options(mirror))
    with command(words, tmp_path, PREFECT_API_URL=prefect_server) as running:
        stalled()
        running.process.send_signal(signal.SIGTERM)
        assert_stopped(running, tmp_path / "out")
    for path, content in files_of(tmp_path / "out").items():
        assert mirror.files.get(f"/{path}", content) == content


@pytest.mark.slow
def test_cancelled_in_the_ui(
    prefect_server: str, mirror: Mirror, stalled: Callable[[], None], tmp_path: Path
) -> None:
    words = download_words("demo_crops", "--output-dir", "out", *mirror_options(mirror))
    with (
        get_client(sync_client=True) as client,
        command(words, tmp_path, PREFECT_API_URL=prefect_server) as running,
    ):
        stalled()
        (flow_run,) = client.read_flow_runs(sort=FlowRunSort.START_TIME_DESC, limit=1)
        client.set_flow_run_state(flow_run.id, State(type=StateType.CANCELLING))
        assert_stopped(running, tmp_path / "out")
        state = client.read_flow_run(flow_run.id).state
    assert state is not None
    assert state.is_cancelled()


def test_among_foreign_modules_behind_proxies_that_are_gone_and_without_a_home(
    prefect_server: str, mirror: Mirror, tmp_path: Path
) -> None:
    """Nothing of the current directory runs, loopback is asked directly, no home is needed."""
    fill(tmp_path)
    dead = "http://user:s3cr3t@127.0.0.1:9"
    proxies = {"http_proxy": dead, "HTTPS_PROXY": "socks5h://127.0.0.1:9", "ALL_PROXY": dead}
    words = download_words("demo_crops", "--output-dir", "out", "--datetime", "2021-03")
    homeless = {"HOME": "/proc/nowhere", "PREFECT_HOME": ""}
    around = {**proxies, **homeless, "PREFECT_API_URL": prefect_server}
    with command(words, tmp_path, **around) as running:
        assert running.wait(PATIENCE) == 0, running.err
        assert "no home that can be written" in running.err
        assert "s3cr3t" not in running.err
    assert ran_in(tmp_path) == ""


@pytest.mark.parametrize(
    "proxy",
    [pytest.param("socks4://127.0.0.1:9", marks=pytest.mark.slow), "http://u:s3cr3t@"],
)
def test_a_proxy_that_prefect_cannot_use_is_refused(
    at_demo_hub: DemoHub, tmp_path: Path, proxy: str
) -> None:
    words = download_words("demo_crops", "--output-dir", "out")
    with command(words, tmp_path, PREFECT_API_URL="http://h.invalid/api", all_proxy=proxy) as run:
        assert run.wait(PATIENCE) == 2
        assert "all_proxy" in run.err
        assert "s3cr3t" not in run.err
        assert len(run.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_an_api_that_does_not_answer(at_demo_hub: DemoHub, tmp_path: Path) -> None:
    words = download_words("demo_crops", "--output-dir", "out")
    with command(words, tmp_path, PREFECT_API_URL="http://127.0.0.1:9/api") as running:
        assert running.wait(PATIENCE) == 3
        (first, last) = running.err.splitlines()
        assert first == "Connecting to the Prefect API …"
        assert last.startswith("download_dataset: The Prefect API at http://127.0.0.1:9/api")
        assert running.out == ""
    assert not (tmp_path / "out").exists()


def test_the_sync_is_a_command_too(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "flows.sync_dataset", "demo_crops", "--dry-run"]
    with command(words, tmp_path) as running:
        assert running.wait(PATIENCE) == 2
        assert running.err.startswith("sync_dataset: dry_run: a sync has to index")
        assert len(running.err.splitlines()) == 1
        assert running.out == ""
    assert not (tmp_path / "demo_crops").exists()


@pytest.mark.parametrize("flow", [DOWNLOAD, SYNC])
@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["demo_crops", "--dask-address=tcp://127.0.0.1:9"], 2),
        (["demo_crops", "--runner=ray"], 2),
        (["--bbox=1,2,3", "demo_crops"], 2),
        (["demo_crops", "--collection", "demo_crops_label"], 2),
        (["no_such_dataset"], 2),
        ([], 2),
    ],
)
def test_bad_arguments_wait_for_no_orchestrator(
    at_demo_hub: DemoHub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    status: int,
    flow: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")  # asked for nothing
    assert main(words, flow) == status
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_importing_the_command_imports_no_prefect(tmp_path: Path) -> None:
    code = "import sys, flows.command; sys.exit('prefect' in sys.modules)"
    with command([sys.executable, "-c", code], tmp_path) as running:
        assert running.wait(PATIENCE) == 0
