"""Archives that a disk has not the room for: refused in one line, and the room given back."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlhub_core.cli import main
from tests.acceptance.kit import DATASET, catalog_members, collection, item, publish
from tests.faultserver import Fault, FaultServer, endless

ARCHIVE = "/archives/tiny.tar.gz"
NOISE = random.Random(1).randbytes(65536)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of eight MiB; skips where none can be mounted."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"nothing can be mounted here: {error}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.fixture
def hub(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> FaultServer:
    """One whose catalog unpacks to more than the disk has, after a few files that fit."""
    server.put("/a.tif", b"data")
    documents = [collection(), item("i1", {"data": server.url("/a.tif")})]
    members = catalog_members(*documents)
    for number in range(40):
        members[f"{DATASET}/more/{number}.bin"] = bytes(1_000_000)
    monkeypatch.setenv("MLHUB_ROOT_URL", publish(server, members=members))
    monkeypatch.setenv("MLHUB_PROFILE", "__anonymous__")
    return server


def download(root: Path, *words: str) -> int:
    return main(["download", DATASET, "--output-dir", str(root), "-q", *words])


@pytest.mark.parametrize(
    "fault",
    [
        endless(NOISE),
        Fault(body=NOISE, headers=(("Content-Length", "100000000"),), cut=65536),
        Fault(),
    ],
    ids=["no end", "too long", "unpacks to too much"],
)
@pytest.mark.parametrize("kept", [True, False], ids=["beside a catalog", "into nothing"])
def test_what_does_not_fit_is_refused_and_gives_its_room_back(
    fault: Fault,
    kept: bool,
    hub: FaultServer,
    small_disk: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = small_disk / "out"
    if kept:
        other = root / DATASET / "more" / "0.BIN"  # a name that is not that of 0.bin
        other.parent.mkdir(parents=True)
        other.write_bytes(b"x")
    hub.always(ARCHIVE, fault)
    before = shutil.disk_usage(small_disk).free
    assert download(root) == 4
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "Not enough room" in said
    assert shutil.disk_usage(small_disk).free > before - 300_000
    here = list(root.rglob("*.bin"))
    assert here == []
    assert not kept or other.read_bytes() == b"x"


def test_room_that_is_made_is_used(hub: FaultServer, small_disk: Path) -> None:
    assert download(small_disk / "out") == 4
    remount = ["mount", "-o", "remount,size=90m", str(small_disk)]
    subprocess.run(remount, check=True, capture_output=True)
    assert download(small_disk / "out") == 0
    assert len(list((small_disk / "out").rglob("*.bin"))) == 40


def test_who_ignores_the_room_fills_the_disk(
    hub: FaultServer, small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.always(ARCHIVE, endless(NOISE))
    before = shutil.disk_usage(small_disk).free
    assert download(small_disk / "out", "--ignore-space") == 4
    assert os.strerror(28) in capsys.readouterr().err
    assert shutil.disk_usage(small_disk).free > before - 300_000


def test_an_archive_without_end_meets_the_cap(
    hub: FaultServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.always(ARCHIVE, endless(NOISE))
    assert download(tmp_path / "out", "--max-bytes", "1000000") == 3
    assert "sends more than 1,000,000 bytes" in capsys.readouterr().err
    assert list((tmp_path / "out").rglob("*.part")) == []
