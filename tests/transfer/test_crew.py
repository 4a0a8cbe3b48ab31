"""Partitions in processes of their own: the same files, within the same limits, whoever dies."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlhub_core.exceptions import DirectoryBusy, HandLost, Interrupted, StorageError
from mlhub_core.if_exists import DownloadIfExistsOpts as Opts
from mlhub_core.pipeline import transfer
from mlhub_core.progress import Progress
from mlhub_core.selection.partition import Partition
from mlhub_core.settings import MIB, RunSettings
from mlhub_core.stop import StopFlag
from mlhub_core.transfer.crew import Crew, crew_of, shares
from mlhub_core.transfer.dispatch import (
    crew_ahead,
    crew_for,
    download_partition,
    is_worth_it,
)
from mlhub_core.transfer.ledger import Entry, LedgerWriter, State, merge_journals
from mlhub_core.transfer.lock import directory_lock
from mlhub_core.workspace import workspace
from tests.faultserver import Fault
from tests.transfer.kit import Kit, content, quick

FILES = 40

ORPHANED = """
import sys
from pathlib import Path
from mlhub_core.layout import DownloadPaths
from mlhub_core.if_exists import DownloadIfExistsOpts as Opts
from mlhub_core.pipeline import transfer
from mlhub_core.selection.partition import Partition
from mlhub_core.settings import RunSettings, TransferSettings
from mlhub_core.workspace import workspace
paths = DownloadPaths.of("ds", sys.argv[1])
parts = [Partition(n, 2, Path(path), 20) for n, path in enumerate(sys.argv[2:], 1)]
with workspace(paths):
    transfer(parts, paths, RunSettings(transfer=TransferSettings(concurrency=4), crew_files=1))
"""


@pytest.fixture
def one(kit: Kit) -> Iterator[Crew]:
    """A crew of one, so that there is no doubt whom a signal meets."""
    with crew_of(1, kit.paths, quick(concurrency=3)) as crew:
        yield crew


def hands(of: int | None = None) -> list[int]:
    """Processes of crews that a process started, this one unless told, and that have not ended."""
    tasks = Path(f"/proc/{of or os.getpid()}/task")
    found = {int(word) for path in tasks.glob("*/children") for word in path.read_text().split()}
    return [pid for pid in found if "mlhub_core.transfer.hand" in command_of(pid)]


def command_of(pid: int) -> str:
    """How a process was started; nothing if it has ended."""
    about = Path(f"/proc/{pid}")
    try:
        while not (words := (about / "cmdline").read_bytes()):
            # So it is for a moment at the start, too.
            if (about / "stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                return ""
        return words.decode("utf-8", "replace")
    except OSError:
        return ""


def kill_one() -> None:
    os.kill(hands()[0], signal.SIGKILL)


def prepared(kit: Kit, size: int = 3000) -> list[Partition]:
    for number in range(FILES):
        kit.server.put(f"/{number}.tif", content(number, size))
        kit.want(f"/{number}.tif")
    half = FILES // 2
    return [kit.partition(1, kit.assets[:half]), kit.partition(2, kit.assets[half:])]


def is_there(kit: Kit, number: int, size: int = 3000) -> bool:
    path = kit.final(f"/{number}.tif")
    return path.exists() and path.read_bytes() == content(number, size)


@given(st.integers(1, 1024), st.integers(1, 64))
def test_shares_are_fair_and_make_up_the_limit(limit: int, size: int) -> None:
    cut = shares(limit, size)
    assert sum(cut) == limit
    assert min(cut) >= 1
    assert max(cut) - min(cut) <= 1
    assert len(cut) == min(limit, size)


def test_two_processes_do_what_one_would(kit: Kit, caplog: pytest.LogCaptureFixture) -> None:
    partitions = prepared(kit)
    kit.server.always("/7.tif", Fault(status=404))
    told: list[Progress] = []
    settings = RunSettings(transfer=quick(concurrency=3), crew_files=1)
    with caplog.at_level(logging.DEBUG, "mlhub_core"):
        results = transfer(partitions, kit.paths, settings, on_progress=told.append)
    assert [result.number for result in results] == [1, 2]
    assert sum(result.fetched for result in results) == FILES - 1
    assert kit.errors(*results) == {"7.tif": "HTTP 404 Not Found"}
    assert all(is_there(kit, number) for number in range(FILES) if number != 7)
    assert {message.part for message in told if message.finished} == {1, 2}
    asked = {record.process for record in caplog.records if record.msg.startswith("GET")}
    assert len(asked) == 2
    assert os.getpid() not in asked
    assert kit.server.most_open <= 3
    assert hands() == []


def test_a_process_that_is_killed_is_replaced(
    kit: Kit, one: Crew, caplog: pytest.LogCaptureFixture
) -> None:
    partition = prepared(kit)[0]
    victim = "/15.tif"
    kit.server.script(victim, Fault(cut=5, then=kill_one))
    with caplog.at_level(logging.WARNING, "mlhub_core"):
        result = one.download_partition(partition)
    assert (result.failed, result.files) == (0, partition.files)
    assert all(is_there(kit, number) for number in range(partition.files))
    assert "signal 9" in caplog.text
    assert kit.server.count(victim) == 2


def test_one_that_is_killed_twice_is_an_error(kit: Kit, one: Crew) -> None:
    partitions = prepared(kit)
    kit.server.script("/3.tif", Fault(cut=5, then=kill_one), Fault(cut=5, then=kill_one))
    with pytest.raises(HandLost, match=r"signal 9, twice.*--workers 1"):
        one.download_partition(partitions[0])
    assert one.download_partition(partitions[1]).fetched == partitions[1].files


def test_a_stop_reaches_the_other_process(kit: Kit, one: Crew) -> None:
    partitions = prepared(kit)
    stop = StopFlag()
    kit.server.script("/3.tif", Fault(stall=True, then=stop.set))
    with pytest.raises(Interrupted):
        one.download_partition(partitions[0], stop=stop)
    assert one.download_partition(partitions[1]).fetched == partitions[1].files


def test_an_error_of_the_disk_arrives_as_it_is(kit: Kit, one: Crew) -> None:
    missing = Partition(1, 1, kit.paths.plan_dir / "not there.parquet", 3)
    with pytest.raises(StorageError, match="not there"):
        one.download_partition(missing)


def test_a_listener_that_raises_ends_the_partition(kit: Kit, one: Crew) -> None:
    partitions = prepared(kit)

    def refuse(_: Progress) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        one.download_partition(partitions[0], on_progress=refuse)
    assert one.download_partition(partitions[1]).number == 2


def test_sigterm_to_one_stops_it_like_a_flag(kit: Kit, one: Crew) -> None:
    partition = prepared(kit)[0]
    kit.server.script("/3.tif", Fault(stall=True, then=lambda: os.kill(hands()[0], signal.SIGTERM)))
    with pytest.raises(Interrupted):
        one.download_partition(partition)


@pytest.mark.slow
def test_after_a_kill_nobody_works_beside_the_next_run(kit: Kit) -> None:
    """The lock is held until the processes of the killed run have ended; then all goes on."""
    partitions = prepared(kit)
    words = [str(kit.root), *(str(partition.path) for partition in partitions)]
    left: list[int] = []
    process: list[subprocess.Popen[bytes]] = []

    def kill() -> None:
        left.extend(hands(process[0].pid))
        for pid in left:
            os.kill(pid, signal.SIGSTOP)
        process[0].kill()
        process[0].wait()

    for victim in ("/3.tif", "/23.tif"):
        kit.server.script(victim, Fault(stall=True))
    ready = threading.Event()
    kit.server.when_asked("/39.tif", ready.set)
    with subprocess.Popen([sys.executable, "-c", ORPHANED, *words]) as started:
        process.append(started)
        assert ready.wait(30)
        kill()
    assert len(left) == 2
    with pytest.raises(DirectoryBusy), directory_lock(kit.paths):
        pass
    for pid in left:
        os.kill(pid, signal.SIGCONT)
    with workspace(kit.paths):
        assert [pid for pid in left if command_of(pid)] == []
        results = transfer(partitions, kit.paths, RunSettings(transfer=quick(), workers=1))
    assert sum(result.failed for result in results) == 0
    assert all(is_there(kit, number) for number in range(FILES))


@pytest.mark.parametrize(
    ("catalog", "data", "workers", "before", "expected"),
    [
        (40_000, None, 2, False, 2),
        (30_000, None, 2, False, 0),
        (30_000, 100 * MIB, 2, False, 2),
        (30_000, 99 * MIB, 2, False, 0),
        (40_000, None, 1, False, 0),
        (40_000, 100 * MIB, 2, True, 0),
    ],
)
def test_a_crew_starts_early_for_much_that_is_new(
    kit: Kit, catalog: int, data: int | None, workers: int, before: bool, expected: int
) -> None:
    if before:
        kit.paths.ledger_dir.mkdir(parents=True)
    settings = RunSettings(transfer=quick(), workers=workers)
    partition = prepared(kit)[0]
    with crew_ahead(catalog, kit.paths, settings, data):
        with crew_ahead(40_000, kit.paths, settings if expected else RunSettings(workers=1)):
            assert len(hands()) == expected  # there is only one crew
        with crew_for([partition], kit.paths, settings) as at_a_time:
            assert at_a_time == max(1, expected)
            assert download_partition(partition, kit.paths).fetched == partition.files
    assert hands() == []


@pytest.mark.parametrize(
    ("files", "known", "unknown", "here", "worth"),
    [
        (1999, 0, 0, 0, False),
        (2000, 0, 0, 0, True),
        (2000, 0, 0, 1, False),
        (10, 99 * MIB, 0, 0, False),
        (10, 100 * MIB, 0, 0, True),
        (10, 100 * MIB, 0, 5, False),
        (60, 0, 60, 0, True),
    ],
)
def test_a_crew_has_to_be_worth_it(
    kit: Kit, files: int, known: int, unknown: int, here: int, worth: bool
) -> None:
    writer = LedgerWriter(kit.paths.ledger_dir, 1)
    for number in range(here):
        writer.add(Entry(f"c/{number}", 1, None, None, None, "x", State.VERIFIED, 0.0))
    writer.close()
    merge_journals(kit.paths.ledger_dir)
    partition = Partition(1, 1, kit.root / "p", files, known, unknown)
    settings = RunSettings()
    assert is_worth_it([partition], kit.paths, settings, Opts.resume) is worth
    anew = is_worth_it([partition], kit.paths, settings, Opts.overwrite)
    assert anew is (worth or here > 0)
