"""Partitions in processes of their own: the same files, within the same limits, whoever dies."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mlhub_core.exceptions import DirectoryBusy, Interrupted, StorageError
from mlhub_core.if_exists import DownloadIfExistsOpts as Opts
from mlhub_core.progress import Progress
from mlhub_core.selection.partition import Partition
from mlhub_core.settings import MIB, RunSettings
from mlhub_core.state import directory_lock
from mlhub_core.threads import StopFlag
from mlhub_core.transfer.ledger import Entry, LedgerWriter, State, merge_journals
from mlhub_core.transfer.report import PartitionResult
from mlhub_core.transfer.workers import download_apart, download_partitions, processes_for
from mlhub_core.workspace import workspace
from tests.faultserver import Fault
from tests.transfer.kit import Kit, content, quick

FILES = 40

ORPHANED = """
import sys
from pathlib import Path
from mlhub_core.paths import DownloadPaths
from mlhub_core.selection.partition import Partition
from mlhub_core.settings import RunSettings, TransferSettings
from mlhub_core.transfer.workers import download_partitions
from mlhub_core.workspace import workspace
paths = DownloadPaths.of("ds", sys.argv[1])
parts = [Partition(n, 2, Path(path), 20) for n, path in enumerate(sys.argv[2:], 1)]
settings = RunSettings(transfer=TransferSettings(concurrency=4), processes_from=0)
with workspace(paths):
    download_partitions(parts, paths, settings)
"""


def apart(
    kit: Kit, partition: Partition, stop: StopFlag | None = None, **more: object
) -> PartitionResult:
    """Have a partition in another process."""
    (result,) = download_apart(
        [partition],
        kit.paths,
        settings=quick(concurrency=3),
        stop=stop or StopFlag(),
        **more,  # type: ignore[arg-type]
    )
    return result


def others(of: int | None = None) -> list[int]:
    """Processes that fetch for another one, this one unless told, and that have not ended."""
    tasks = Path(f"/proc/{of or os.getpid()}/task")
    found = {int(word) for path in tasks.glob("*/children") for word in path.read_text().split()}
    return [pid for pid in found if "mlhub_core.transfer.workers" in command_of(pid)]


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


def prepared(kit: Kit, size: int = 3000) -> list[Partition]:
    for number in range(FILES):
        kit.server.put(f"/{number}.tif", content(number, size))
        kit.want(f"/{number}.tif")
    half = FILES // 2
    return [kit.partition(1, kit.assets[:half]), kit.partition(2, kit.assets[half:])]


def is_there(kit: Kit, number: int, size: int = 3000) -> bool:
    path = kit.final(f"/{number}.tif")
    return path.exists() and path.read_bytes() == content(number, size)


@pytest.mark.parametrize("processes_from", [0, MIB], ids=["two processes", "this one"])
def test_however_many_there_are(
    kit: Kit, caplog: pytest.LogCaptureFixture, processes_from: int
) -> None:
    partitions = prepared(kit)
    kit.server.always("/7.tif", Fault(status=404))
    told: list[Progress] = []
    settings = RunSettings(transfer=quick(concurrency=3), processes_from=processes_from)
    with caplog.at_level(logging.DEBUG, "mlhub_core"):
        results = download_partitions(partitions, kit.paths, settings, on_progress=told.append)
    assert [result.number for result in results] == [1, 2]
    assert [result.files for result in results] == [FILES // 2] * 2
    assert sum(result.fetched for result in results) == FILES - 1
    assert kit.errors(*results) == {"7.tif": "HTTP 404 Not Found"}
    assert all(is_there(kit, number) for number in range(FILES) if number != 7)
    assert {message.part for message in told if message.finished} == {1, 2}
    asked = {record.process for record in caplog.records if record.msg.startswith("GET")}
    assert len(asked - {os.getpid()}) == (2 if processes_from == 0 else 0)
    assert kit.server.most_open <= 3
    assert others() == []


def test_where_one_is_killed_this_one_goes_on(kit: Kit, caplog: pytest.LogCaptureFixture) -> None:
    partition = prepared(kit)[0]
    kill = Fault(cut=5, then=lambda: os.kill(others()[0], signal.SIGKILL))
    kit.server.script("/15.tif", kill)
    with caplog.at_level(logging.WARNING, "mlhub_core"):
        result = apart(kit, partition)
    assert (result.failed, result.files) == (0, partition.files)
    assert all(is_there(kit, number) for number in range(partition.files))
    assert "signal 9" in caplog.text
    assert kit.server.count("/15.tif") == 2


def test_where_none_can_be_started_this_one_does_it(
    kit: Kit, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with caplog.at_level(logging.WARNING, "mlhub_core"):
        assert apart(kit, prepared(kit)[0]).fetched == FILES // 2
    assert "Cannot start another process: No such file" in caplog.text


@pytest.mark.parametrize("by", ["flag", "SIGTERM"])
def test_a_stop_reaches_the_other_process(kit: Kit, by: str) -> None:
    partition = prepared(kit)[0]
    stop = StopFlag()

    def act() -> None:
        if by == "flag":
            stop.set()
        else:
            os.kill(others()[0], signal.SIGTERM)

    kit.server.script("/3.tif", Fault(stall=True, then=act))
    with pytest.raises(Interrupted):
        apart(kit, partition, stop)
    assert others() == []


def test_an_error_of_the_disk_arrives_as_it_is(kit: Kit) -> None:
    missing = Partition(1, 1, kit.paths.plan_dir / "not there.parquet", 3)
    with pytest.raises(StorageError, match="not there"):
        apart(kit, missing)


def test_a_listener_that_raises_ends_the_partition(kit: Kit) -> None:
    def refuse(_: Progress) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        apart(kit, prepared(kit)[0], on_progress=refuse)
    assert others() == []


@pytest.mark.slow
def test_after_a_kill_nobody_works_beside_the_next_run(kit: Kit) -> None:
    """The lock is held until the processes of the killed run have ended; then all goes on."""
    partitions = prepared(kit)
    words = [str(kit.root), *(str(partition.path) for partition in partitions)]
    left: list[int] = []
    process: list[subprocess.Popen[bytes]] = []

    def kill() -> None:
        left.extend(others(process[0].pid))
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
        assert ready.wait(300)
        kill()
    assert len(left) == 2
    with pytest.raises(DirectoryBusy), directory_lock(kit.paths):
        pass
    for pid in left:
        os.kill(pid, signal.SIGCONT)
    with workspace(kit.paths):
        assert [pid for pid in left if command_of(pid)] == []
        settings = RunSettings(transfer=quick(), workers=1)
        results = download_partitions(partitions, kit.paths, settings)
    assert sum(result.failed for result in results) == 0
    assert all(is_there(kit, number) for number in range(FILES))


@pytest.mark.parametrize(
    ("known", "workers", "here", "processes"),
    [
        (1023 * MIB, 2, 0, 1),
        (1024 * MIB, 2, 0, 2),
        (1024 * MIB, 1, 0, 1),
        (1024 * MIB, 2, 5, 1),
        (2048 * MIB, 2, 5, 2),
    ],
)
def test_how_many_processes(kit: Kit, known: int, workers: int, here: int, processes: int) -> None:
    writer = LedgerWriter(kit.paths.ledger_dir, 1)
    for number in range(here):
        writer.add(Entry(f"c/{number}", 1, None, None, None, "x", State.VERIFIED, 0.0))
    writer.close()
    merge_journals(kit.paths.ledger_dir)
    partitions = [Partition(number, 2, kit.root / "p", 5, known // 2) for number in (1, 2)]
    settings = RunSettings(workers=workers)
    most = min(processes, os.cpu_count() or 1)
    assert processes_for(partitions, kit.paths, settings) == most
    if known >= settings.processes_from and workers > 1:
        anew = processes_for(partitions, kit.paths, settings, Opts.overwrite)
        assert anew == min(2, os.cpu_count() or 1)
