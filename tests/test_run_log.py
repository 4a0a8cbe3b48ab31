"""What a run leaves for whoever looks into it later: a log, and a bundle; no secret in either."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from mlhub_core.cli import main
from mlhub_core.hub.server import DemoHub
from mlhub_core.run_log import KEPT_LOGS, RunLog, logs

SECRET = "hunter2-and-more"
MIRROR = f"https://me:{SECRET}@old.example/?sig={SECRET}=https://new.example/?sig={SECRET}"


def test_a_run_leaves_its_log_and_a_bundle_has_it_without_secrets(
    at_demo_hub: DemoHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["download", "demo_crops", "--output-dir", str(tmp_path), "--limit", "2"]
    words += ["--collection", "demo_crops_labels=labels", "--mirror", MIRROR]
    monkeypatch.setenv("MLHUB_API_KEY", SECRET)
    subprocess.run([sys.executable, "-m", "mlhub_core", *words], check=True)
    directory = tmp_path / "demo_crops"
    (log,) = logs(directory / ".mlhub")
    said = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    assert said[0]["command"][1:3] == ["download", "demo_crops"]
    assert any("Demo Crops" in line.get("message", "") for line in said)
    assert said[-1]["event"] == "end"
    bundle = tmp_path / "bundle.tar.gz"
    bundle.write_text("mine")
    assert main(["debug-bundle", str(directory), "--output", str(bundle)]) == 4
    assert bundle.read_text() == "mine"
    bundle.unlink()
    assert main(["debug-bundle", str(directory), "--output", str(bundle)]) == 0
    with tarfile.open(bundle) as archive:
        held = {member.name: archive.extractfile(member) for member in archive}
        texts = {name: file.read().decode() for name, file in held.items() if file}
    assert SECRET not in "".join([*texts.values(), log.read_text("utf-8")])
    names = {name.partition("/")[2] for name in texts}
    assert {"environment.json", f"log/{log.name}", "state/plan/plan.json"} <= names
    found = json.loads(texts["mlhub-debug/environment.json"])
    assert found["variables"]["MLHUB_API_KEY"] == "(set)"
    assert found["packages"]["pystac"]


def test_a_run_that_fails_says_how_and_the_newest_logs_stay(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    for number in range(KEPT_LOGS + 5):
        (tmp_path / "log" / f"2020{number:02d}.jsonl").write_text("{}\n")
    log = RunLog(["mlhub"])
    log.open(tmp_path)
    log.end(ValueError("no"))
    *_, newest = found = logs(tmp_path)
    assert len(found) == KEPT_LOGS
    last = json.loads(newest.read_text("utf-8").splitlines()[-1])
    assert (last["error"], last["message"]) == ("ValueError", "no")
