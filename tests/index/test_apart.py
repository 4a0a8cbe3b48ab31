"""Extraction in a process of its own does what it does in this one."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from mlhub_core.exceptions import ArchiveCorrupt, Interrupted
from mlhub_core.settings import ArchiveLimits
from mlhub_core.sources.apart import extract_apart
from mlhub_core.sources.extraction import Job, extract_here
from mlhub_core.stop import StopFlag
from tests.index.kit import DATASET, item, tree, write_archive


def job(directory: Path, archive: Path) -> Job:
    return Job(archive, DATASET, directory / DATASET, directory, True, ArchiveLimits())


def contents(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def test_the_same_tree_and_the_same_account_of_it(tmp_path: Path) -> None:
    files = tree(*(item(f"i{number}") for number in range(50))) | {"../odd": b"x"}
    archive = write_archive(tmp_path, files).path
    heard: list[tuple[int, int]] = []
    here = extract_here(job(tmp_path / "here", archive), None, lambda *_: None)
    apart = extract_apart(job(tmp_path / "apart", archive), None, lambda *told: heard.append(told))
    assert (apart.files, apart.bytes, apart.written) == (here.files, here.bytes, here.written)
    assert apart.oddities == here.oddities
    assert here.oddity_count == 1
    assert contents(tmp_path / "apart") == contents(tmp_path / "here")
    assert heard[-1][0] == archive.stat().st_size


def test_errors_come_through(tmp_path: Path) -> None:
    archive = write_archive(tmp_path, tree(item("a"))).path
    archive.write_bytes(archive.read_bytes()[:-10])
    with pytest.raises(ArchiveCorrupt, match="broken off"):
        extract_apart(job(tmp_path, archive), None, lambda *_: None)


def test_a_stop_ends_it_midway(tmp_path: Path) -> None:
    stop = StopFlag()
    numbers = random.Random(1)
    noise = {f"{DATASET}/{number}.bin": numbers.randbytes(300_000) for number in range(20)}
    archive = write_archive(tmp_path, tree() | noise).path
    with pytest.raises(Interrupted):
        extract_apart(job(tmp_path, archive), stop, lambda *_: stop.set())


def test_a_stop_that_is_set_starts_nothing(tmp_path: Path) -> None:
    stop = StopFlag()
    stop.set()
    with pytest.raises(Interrupted):
        extract_apart(job(tmp_path, tmp_path / "none"), stop, lambda *_: None)
    assert not (tmp_path / DATASET).exists()
