from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlhub_core.exceptions import DirectoryBusy, StorageError
from mlhub_core.paths import DownloadPaths
from mlhub_core.state import directory_lock

HOLD = """
import sys
from mlhub_core.paths import DownloadPaths
from mlhub_core.state import directory_lock
with directory_lock(DownloadPaths.of("ds", sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_run_is_told_who_holds_it(tmp_path: Path) -> None:
    paths = DownloadPaths.of("ds", tmp_path)
    busy = pytest.raises(DirectoryBusy, match=rf"process {os.getpid()} on ")
    with directory_lock(paths):
        with busy as caught, directory_lock(paths):
            raise AssertionError("locked twice")
        assert str(paths.asset_dir) in str(caught.value)
    with directory_lock(paths):
        pass


def test_a_killed_run_is_no_obstacle(tmp_path: Path) -> None:
    paths = DownloadPaths.of("ds", tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(DirectoryBusy, match=rf"process {other.pid} "), directory_lock(paths):
            raise AssertionError("locked twice")
        other.kill()
        other.wait()
        with directory_lock(paths):
            assert paths.lock.read_text().startswith(f"{os.getpid()} ")


def test_two_datasets_side_by_side(tmp_path: Path) -> None:
    with (
        directory_lock(DownloadPaths.of("one", tmp_path)),
        directory_lock(DownloadPaths.of("two", tmp_path)),
    ):
        assert (tmp_path / "one/.mlhub/lock").exists()


def test_no_place_for_a_lock(tmp_path: Path) -> None:
    (tmp_path / "ds").write_text("a file")
    with (
        pytest.raises(StorageError, match="Cannot write in"),
        directory_lock(DownloadPaths.of("ds", tmp_path)),
    ):
        raise AssertionError("locked")
