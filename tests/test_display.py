"""Progress as people see it: lines where there is no terminal, bars where there is one."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlhub_core.display import StageProgress, showing_progress
from mlhub_core.hub.server import DemoHub
from mlhub_core.pipeline import download
from mlhub_core.progress import Broadcast, Progress, Stage
from mlhub_core.request import DownloadRequest
from mlhub_core.runner import InProcess
from mlhub_core.settings import RunSettings


def test_parts_add_up() -> None:
    total = StageProgress(Stage.DOWNLOAD)
    total.parts[1] = Progress(Stage.DOWNLOAD, 3, 10, 300, 1000, part=1)
    total.parts[2] = Progress(Stage.DOWNLOAD, 5, 5, 700, None, failed=2, part=2, finished=True)
    assert total.added_up() == Progress(Stage.DOWNLOAD, 8, 15, 1000, None, failed=2)
    assert total.fraction() == (8, 15)


def test_lines_tell_count_bytes_and_failures(capsys: pytest.CaptureFixture[str]) -> None:
    with showing_progress() as sink:
        sink(Progress(Stage.CATALOG, 1, 1, 5000, 5000, finished=True))
        sink(Progress(Stage.INDEX, 7, 7, finished=True))
        sink(Progress(Stage.DOWNLOAD, 2, 9, 1_500_000, failed=1, finished=True))
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["catalog", "index", "download"]
    assert "5.0 kB" in lines[0]
    assert "7 of 7 assets" in lines[1]
    assert "2 of 9 files" in lines[2]
    assert "1.5 MB" in lines[2]
    assert "1 failed" in lines[2]


def test_what_was_here_already_has_no_rate_and_does_not_shorten_the_time_left() -> None:
    stage = StageProgress(Stage.DOWNLOAD, started=time.monotonic() - 100_000)
    stage.parts[1] = Progress(Stage.DOWNLOAD, 60, 60, 600, part=1, here=60, bytes_moved=0)
    stage.parts[2] = Progress(Stage.DOWNLOAD, total=40, part=2)
    assert stage.line() == "download: 60 of 100 files, 600 B"
    stage.parts[2] = Progress(Stage.DOWNLOAD, 10, 40, 5_000_000, part=2, bytes_moved=5_000_000)
    # Thirty to come, of which ten took 100,000 seconds: 83 hours, and not by the sixty here.
    assert stage.line().startswith("download: 70 of 100 files, 5.0 MB, 50 B/s, 83:")


def test_what_took_no_time_has_no_rate_and_what_has_not_begun_no_numbers() -> None:
    stage = StageProgress(Stage.FILTER, started=time.monotonic() + 1000)
    stage.parts[0] = Progress(Stage.FILTER, 1309, 1309)
    assert stage.numbers() == ["1,309 of 1,309 assets"]
    begun = StageProgress(Stage.STAC, started=time.monotonic() - 100)
    begun.parts[0] = Progress(Stage.STAC)
    assert begun.line() == "stac: started"


def test_the_whole_is_the_plan_from_the_start(
    at_demo_hub: DemoHub, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    told: list[Progress] = []
    request = DownloadRequest("demo_crops", output_dir=str(tmp_path), settings=RunSettings())
    report = download(request, InProcess(on_progress=told.append))
    stage = StageProgress(Stage.DOWNLOAD)
    shown = []
    for message in told:
        if message.stage is Stage.DOWNLOAD:
            stage.parts[message.part] = message
            shown.append(stage.fraction())
    # The announcements of the partitions come first, and then the whole stays what it is.
    parts = len(stage.parts)
    assert parts > 1
    assert {total for _, total in shown[parts - 1 :]} == {report.files}
    done = [done for done, _ in shown]
    assert done == sorted(done)
    assert done[-1] == report.files


def test_nothing_is_shown_when_nobody_wants_it(capsys: pytest.CaptureFixture[str]) -> None:
    with showing_progress(False) as sink:
        sink(Progress(Stage.CATALOG, 1, 1, finished=True))
    assert capsys.readouterr().err == ""


def test_a_broadcast_reaches_who_listens() -> None:
    broadcast, heard = Broadcast(), list[Progress]()
    message = Progress(Stage.FILTER, 1, 2)
    with broadcast.listen(heard.append):
        broadcast(message)
    broadcast(Progress(Stage.FILTER, 2, 2))
    assert heard == [message]


def test_bars_on_a_terminal(at_demo_hub: DemoHub, tmp_path_factory: pytest.TempPathFactory) -> None:
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "mlhub_core", "download", "demo_crops"]
    command += ["--output-dir", str(tmp_path_factory.mktemp("bars"))]
    command += ["--collection", "demo_crops_labels=labels"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=slave,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "120"},
    )
    os.close(slave)
    shown = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:  # how Linux tells that the other end has gone
            break
        if not piece:
            break
        shown += piece
    os.close(master)
    assert process.stdout is not None
    output = process.stdout.read().decode()
    process.stdout.close()
    assert process.wait() == 0
    text = shown.decode()
    assert text.startswith("download demo_crops …"), "the first sign of life"
    for stage in ("catalog", "unarchive", "index", "filter", "download"):
        assert stage in text
    assert "━" in text, "a bar"
    assert "97/97 files" in text
    assert "97 of 97 files are here" in output
