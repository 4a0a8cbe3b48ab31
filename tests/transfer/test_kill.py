"""Killed at any moment: the next run goes on, and asks for nothing that the ledger holds."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys

import pytest

from mlhub_core.transfer.tidy import tidy_state
from tests.faultserver import FaultServer
from tests.transfer.kit import Kit, content

RUN = """
import sys
from pathlib import Path
from mlhub_core.layout import DownloadPaths
from mlhub_core.selection.partition import Partition
from mlhub_core.settings import TransferSettings
from mlhub_core.transfer.run import download_partition
print("ready", flush=True)
sys.stdin.readline()
download_partition(
    Partition(1, 1, Path(sys.argv[2]), int(sys.argv[3])),
    DownloadPaths.of("ds", sys.argv[1]),
    settings=TransferSettings(resume_threshold=100_000, concurrency=4),
)
"""


def killed_run(kit: Kit, server: FaultServer, victim: str) -> None:
    """Run in another process, which is killed when it asks for ``victim``."""
    partition = kit.partition()
    command = [sys.executable, "-c", RUN, str(kit.root), str(partition.path), str(partition.files)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        server.when_asked(victim, lambda: os.kill(process.pid, signal.SIGKILL))
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.communicate("go\n")
    assert process.returncode == -signal.SIGKILL
    server.when_asked(victim, lambda: None)


def kill_and_go_on(kit: Kit, server: FaultServer, seed: int, kills: int) -> None:
    dice = random.Random(seed)
    sizes = [dice.choice([10, 5000, 70_000, 400_000]) for _ in range(60)]
    for number, size in enumerate(sizes):
        server.put(f"/{number}.tif", content(number, size))
        kit.want(f"/{number}.tif")
    for _ in range(kills):
        left = sorted({f"/{n}.tif" for n in range(60)} - {f"/{p.name}" for p in kit.files()})
        if not left:
            break
        known = {path.removeprefix("c") for path in kit.entries()}
        server.forget()
        killed_run(kit, server, dice.choice(left))
        assert known.isdisjoint(server.paths())
        tidy_state(kit.paths)
    known = {path.removeprefix("c") for path in kit.entries()}
    server.forget()
    result = kit.run()
    assert known.isdisjoint(server.paths())
    assert (result.failed, result.kept) == (0, len(known))
    for number, size in enumerate(sizes):
        assert kit.final(f"/{number}.tif").read_bytes() == content(number, size)
    assert kit.partials() == []
    assert len(list(kit.files())) == 60


@pytest.mark.parametrize("seed", range(2))
def test_a_few_kills(kit: Kit, server: FaultServer, seed: int) -> None:
    kill_and_go_on(kit, server, seed, kills=3)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 110))
def test_many_kills(kit: Kit, server: FaultServer, seed: int) -> None:
    kill_and_go_on(kit, server, seed, kills=10)
