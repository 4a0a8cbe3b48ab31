"""Killed at any moment: the next sync goes on, fetches what is left, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from mlhub_core.index.build import index_assets
from mlhub_core.sources.mlhub import HubDataset
from mlhub_core.sources.unarchive import unarchive
from mlhub_core.sync.changes import index_place, record
from mlhub_core.sync.compare import compare
from mlhub_core.workspace import workspace
from tests.sync.conftest import ARCHIVE, CATALOG, Publisher

OTHER_VICTIMS = [CATALOG, ARCHIVE, "/f/i00.tif", "/f/n0.tif", "/f/n3.tif"]

RUN = """
import os, sys
from mlhub_core.options import DownloadOptions
from mlhub_core.pipeline import sync
request = DownloadOptions.create(dataset="tiny", output_dir=sys.argv[1], concurrency=1).request()
sys.stdin.readline()
sync(request, prune=True)
"""


def change(publisher: Publisher) -> set[str]:
    """Publish a new catalog; returns the items whose files are to fetch."""
    for number in range(4):
        publisher.put(f"i{number:02d}", f"CONTENT {number}".encode(), updated="2022")
        publisher.put(f"n{number}", b"new")
    publisher.drop("i10")
    publisher.drop("i11")
    publisher.publish()
    return {f"i{number:02d}" for number in range(4)} | {f"n{number}" for number in range(4)}


@pytest.mark.parametrize(
    "victim",
    ["/f/i02.tif", *(pytest.param(name, marks=pytest.mark.slow) for name in OTHER_VICTIMS)],
)
def test_killed_when_it_asks_for(publisher: Publisher, victim: str) -> None:
    publisher.sync()
    wanted = change(publisher)
    publisher.server.forget()
    with subprocess.Popen(
        [sys.executable, "-c", RUN, str(publisher.root)], stdin=subprocess.PIPE, text=True
    ) as process:
        publisher.server.when_asked(victim, lambda: os.kill(process.pid, signal.SIGKILL))
        process.communicate("go\n")
    assert process.returncode == -signal.SIGKILL
    publisher.server.when_asked(victim, lambda: None)
    publisher.server.wait_quiet()
    asked = set(publisher.asked())
    assert asked <= wanted
    unfinished = {victim[3:].partition(".")[0]} & asked
    done = {name for name in asked if publisher.here().get(name) == publisher.files[name]}
    report = publisher.sync(prune=True)
    # One connection: what was on its way comes again, and one file whose bytes had come and which
    # was not yet in its place, or not yet recorded: the next request goes out before that.
    again = set(publisher.asked()) & asked
    assert len(again) <= 1 + len(unfinished)
    assert set(publisher.asked()) | done >= wanted
    assert str(report.changes) == "4 added, 4 changed, 2 removed"
    assert publisher.here() == publisher.files
    assert publisher.sync(prune=True).current


def test_ended_between_the_ledger_and_the_index(publisher: Publisher) -> None:
    """The order of the steps, broken off where no request tells the moment."""
    publisher.sync()
    wanted = change(publisher)
    with workspace(publisher.paths):
        archive = HubDataset(publisher.paths.dataset_id).acquire(publisher.paths)
        unarchive(archive, publisher.paths)
        place = index_place(publisher.paths, archive)
        assert place != publisher.paths
        index = index_assets(archive, place)
        old = publisher.paths.index
        record(compare(old, index.path), old, index.path, publisher.paths)
    report = publisher.sync()
    assert set(publisher.asked()) == wanted
    assert str(report.changes) == "4 added, 4 changed, 2 removed"
    assert publisher.sync().current


@pytest.mark.slow
def test_five_thousand_assets_of_which_fifteen(publisher: Publisher) -> None:
    for number in range(5_000 - len(publisher.files)):
        publisher.put(f"x{number:04d}", b"%d" % number, updated="2021")
    publisher.publish()
    publisher.sync()
    assert len(publisher.here()) == 5_000
    for number in range(10):
        publisher.put(f"new{number}", b"new")
    publisher.put("x0001", b"another size", updated="2021")
    publisher.put("x0002", b"X", updated="2022")
    publisher.query["x0003"] = "?v=2"
    publisher.put("x0003", b"3", updated="2021")
    publisher.put("x0004", b"Z", updated="2023")
    publisher.put("x0005", b"", updated="2021")
    for number in range(6, 9):
        publisher.drop(f"x{number:04d}")
    publisher.publish()
    report = publisher.sync(prune=True)
    expected = [f"new{number}" for number in range(10)] + [f"x{n:04d}" for n in range(1, 6)]
    assert publisher.asked() == expected
    assert str(report.changes) == "10 added, 5 changed, 3 removed"
    assert report.pruned == 3
    assert publisher.here() == publisher.files
    assert publisher.sync(prune=True).current
    assert publisher.server.paths() == [CATALOG, ARCHIVE]
