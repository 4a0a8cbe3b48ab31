"""A run of a deployment that is killed or cancelled, and retried as the UI's button does."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.flows.conftest import Files, Gate, Mirror
from tests.flows.test_command import in_ledger
from tests.prefect_site import Site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

Stalled = Callable[[], None]
CONNECTIONS = 32


def processes_of(run: str) -> list[int]:
    """The processes of a flow run: what the worker started, and what that did."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"PREFECT__FLOW_RUN_ID={run}".encode() in (directory / "environ").read_bytes():
                found.append(int(directory.name))
    return sorted(found)


def start_and_wait(site: Site, mirror: Mirror, reached: Stalled, output_dir: Path) -> str:
    """A run whose files have stopped coming, after some have been written down."""
    fields = {"output_dir": str(output_dir), "mirrors": mirror.mirrors}
    run = site.start_run("on-demand", dataset="demo_crops", **fields)
    reached()
    while len(in_ledger(output_dir)) < 50:
        assert processes_of(run)
        time.sleep(0.2)
    return run


def all_end(run: str) -> None:
    while processes_of(run):
        time.sleep(0.1)  # pytest's own time limit ends the wait


def assert_complete(mirror: Mirror, output_dir: Path, before: set[str], files_of: Files) -> None:
    """All is there and right, and nothing that was finished was asked for again."""
    after = set(in_ledger(output_dir))
    assert before < after
    assert len(after) == 876
    asked = mirror.server.paths()
    assert len(asked) == len(set(asked))
    assert not before & {path.removeprefix("/demo_crops/") for path in asked}
    for path, content in files_of(output_dir).items():
        assert mirror.files.get(f"/{path}", content) == content


def test_a_run_that_is_killed_goes_on_when_it_is_retried(
    site: Site, mirror: Mirror, stalled: Stalled, tmp_path: Path, files_of: Files
) -> None:
    run = start_and_wait(site, mirror, stalled, tmp_path)
    os.kill(processes_of(run)[0], signal.SIGKILL)
    crashed = site.wait_for(run, "CRASHED")
    assert "-9" in crashed["state"]["message"]
    all_end(run)
    before = set(in_ledger(tmp_path))
    mirror.heal()

    site.set_state(run, "SCHEDULED", "AwaitingRetry")
    done = site.wait_for(run, "COMPLETED")
    assert done["run_count"] == 2
    here = re.search(r"([\d,]+) were here already", done["state"]["message"])
    assert here is not None
    # Beside what is recorded: what one turn of the loop had put in its place when it was killed.
    assert 0 <= int(here[1].replace(",", "")) - len(before) <= CONNECTIONS
    assert_complete(mirror, tmp_path, before, files_of)


def test_a_run_that_is_cancelled_leaves_nothing_running(
    site: Site, mirror: Mirror, stalled: Stalled, tmp_path: Path, files_of: Files
) -> None:
    run = start_and_wait(site, mirror, stalled, tmp_path)
    site.set_state(run, "CANCELLING", "Cancelling")
    site.wait_for(run, "CANCELLED")
    all_end(run)
    before = set(in_ledger(tmp_path))
    (progress,) = [entry for entry in site.artifacts(run) if entry["type"] == "progress"]
    assert "Ended early" in progress["description"]
    mirror.heal()

    site.set_state(run, "SCHEDULED", "AwaitingRetry")
    site.wait_for(run, "COMPLETED")
    assert_complete(mirror, tmp_path, before, files_of)


def test_two_runs_take_turns_at_a_host(
    site: Site, mirror: Mirror, gate: Gate, tmp_path: Path
) -> None:
    host = mirror.server.url("").removeprefix("http://")
    site.ask("v2/concurrency_limits/", name=f"mlhub:{host}", limit=1)
    first = start_and_wait(site, mirror, gate.wait, tmp_path / "a")
    fields = {"output_dir": str(tmp_path / "b"), "mirrors": mirror.mirrors}
    second = site.start_run("on-demand", dataset="demo_crops", **fields)
    while not any("taking turns" in entry for entry in site.messages(second)):
        time.sleep(0.2)
    # Lines of the log and task runs come to the server by different ways.
    while "filter demo_crops" not in (names := [run["name"] for run in site.task_runs(second)]):
        time.sleep(0.2)
    assert not any("download" in name for name in names)
    assert len(set(mirror.server.paths())) == len(mirror.server.paths()), "both fetch"
    gate.open()
    for run in (first, second):
        assert "876" in site.wait_for(run, "COMPLETED")["state"]["message"]
