"""Room on the disk: asked for before the first byte, and what happens when it ends all the same."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mlhub_core.cli import main
from mlhub_core.exceptions import Interrupted, StorageError
from mlhub_core.pipeline import download
from mlhub_core.request import DownloadRequest
from mlhub_core.selection.plan import Plan
from mlhub_core.settings import RunSettings
from mlhub_core.threads import StopFlag
from mlhub_core.transfer.report import PartitionResult
from mlhub_core.workspace import check_space, tidy_state
from tests.acceptance.kit import DATASET, collection, item, publish
from tests.faultserver import FaultServer
from tests.transfer.kit import Kit, content, quick

SETTINGS = RunSettings(transfer=quick())


def plan_of(kit: Kit) -> Plan:
    known = sum(asset.file_size or 0 for asset in kit.assets)
    unknown = sum(asset.file_size is None for asset in kit.assets)
    part = replace(kit.partition(), known_bytes=known, unknown_sizes=unknown)
    return Plan("ds", kit.paths.plan_dir, (part,), part.files, part.files, known, unknown, ())


@pytest.fixture
def too_much(kit: Kit) -> int:
    """More than the disk has room for, whatever other tests do to it meanwhile."""
    return 2 * shutil.disk_usage(kit.root).total


def test_more_than_there_is_room_for(kit: Kit, too_much: int) -> None:
    kit.want("/a.tif", file_size=too_much)
    kit.want("/b.tif")
    with pytest.raises(StorageError, match="are to come") as caught:
        check_space(plan_of(kit), kit.paths)
    assert caught.value.errno == errno.ENOSPC
    assert "1 files of unknown size" in str(caught.value)
    assert "--ignore-space" in str(caught.value)
    kit.assets[0] = kit.assets[0]._replace(file_size=10)
    check_space(plan_of(kit), kit.paths)


def sparse(path: Path, size: int) -> None:
    """A file that is long and takes no room."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    try:
        os.truncate(path, size)
    except OSError as error:
        pytest.skip(f"no sparse file of this length: {error}")


def test_what_is_here_needs_no_room(kit: Kit, too_much: int) -> None:
    kit.want("/a.tif", file_size=too_much)
    sparse(kit.final("/a.tif"), too_much - 10)
    check_space(plan_of(kit), kit.paths)
    kit.want("/b.tif", file_size=too_much)
    with pytest.raises(StorageError):
        check_space(plan_of(kit), kit.paths)
    kit.paths.partial_dir.mkdir()
    sparse(kit.paths.partial_dir / "x.part", too_much - 10)
    check_space(plan_of(kit), kit.paths)


def test_a_file_longer_than_wanted_makes_no_room_for_others(kit: Kit, too_much: int) -> None:
    kit.want("/a.tif", file_size=10)
    kit.want("/b.tif", file_size=too_much)
    sparse(kit.final("/a.tif"), 2 * too_much)
    with pytest.raises(StorageError):
        check_space(plan_of(kit), kit.paths)


def test_a_stop_ends_the_looking(kit: Kit, too_much: int) -> None:
    kit.want("/a.tif", file_size=too_much)
    stop = StopFlag()
    stop.set()
    with pytest.raises(Interrupted):
        check_space(plan_of(kit), kit.paths, stop=stop)


@pytest.fixture
def hub_of_too_much(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch, too_much: int
) -> FaultServer:
    assets = {"data": {"href": server.put("/assets/a.tif", b"a"), "file:size": too_much}}
    monkeypatch.setenv("MLHUB_ROOT_URL", publish(server, collection(), item("i", assets)))
    monkeypatch.setenv("MLHUB_PROFILE", "__anonymous__")
    return server


def test_a_run_is_refused_before_its_first_byte(
    tmp_path: Path, hub_of_too_much: FaultServer
) -> None:
    request = DownloadRequest(DATASET, tmp_path, settings=SETTINGS)
    with pytest.raises(StorageError, match="Not enough room"):
        download(request)
    assert "/assets/a.tif" not in hub_of_too_much.paths()
    assert download(replace(request, dry_run=True)).files == 1
    settings = replace(SETTINGS, check_space=False)
    assert download(replace(request, settings=settings)).failed == 1
    assert "/assets/a.tif" in hub_of_too_much.paths()


def test_the_command_is_refused(
    tmp_path: Path, hub_of_too_much: FaultServer, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["download", DATASET, "--output-dir", str(tmp_path), "--quiet"]
    assert main(words) == 4
    assert "Not enough room" in capsys.readouterr().err
    assert "/assets/a.tif" not in hub_of_too_much.paths()
    assert main([*words, "--ignore-space"]) == 1
    assert hub_of_too_much.count("/assets/a.tif") >= 1


# A disk that is full in the middle


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one MiB; skips where none can be mounted."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"nothing can be mounted here: {error}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.slow
def test_a_full_disk(small_disk: Path, server: FaultServer) -> None:
    kit = Kit(small_disk, server, settings=quick(concurrency=2, resume_threshold=100_000))
    truth = {f"/{number}.tif": content(number, 60_000) for number in range(30)}
    truth["/big.tif"] = content("big", 400_000)
    for path, whole in truth.items():
        server.put(path, whole)
        kit.want(path)
    with pytest.raises(StorageError, match="No space left on device") as caught:
        kit.run()
    assert caught.value.errno == errno.ENOSPC
    assert str(caught.value).count("\n") == 0
    with pytest.raises(StorageError, match="No space left on device"):
        go_on(kit)  # no better, and no worse
    finished = {f"/{path.name}": path.stat().st_size for path in kit.files()}
    assert 5 < len(finished) < len(truth)
    remount = ["mount", "-o", "remount,size=8m", str(small_disk)]
    subprocess.run(remount, check=True, capture_output=True)
    result = go_on(kit)
    assert (result.failed, result.kept + result.adopted) == (0, len(finished))
    assert result.fetched_bytes <= sum(map(len, truth.values())) - sum(finished.values())
    assert {f"/{path.name}": path.read_bytes() for path in kit.files()} == truth
    assert kit.partials() == []


def go_on(kit: Kit) -> PartitionResult:
    tidy_state(kit.paths)
    return kit.run()
