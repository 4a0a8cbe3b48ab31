"""Killed at any moment: the next run goes on, and fetches nothing that the ledger holds.

What was put together from two runs is recorded as unchecked, for no length tells whether the parts
fit: about such a file, and no other, one question without a body is asked.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys

import pytest

from mlhub_core.transfer.ledger import State
from mlhub_core.workspace import tidy_state
from tests.faultserver import Fault, FaultServer, Request
from tests.transfer.kit import Kit, content, quick

FILES = 60
CONNECTIONS = 4

RUN = """
import sys
from pathlib import Path
from mlhub_core.paths import DownloadPaths
from mlhub_core.selection.partition import Partition
from mlhub_core.settings import TransferSettings
from mlhub_core.transfer.run import download_partitions
print("ready", flush=True)
sys.stdin.readline()
download_partitions(
    [Partition(1, 1, Path(sys.argv[2]), int(sys.argv[3]))],
    DownloadPaths.of("ds", sys.argv[1]),
    settings=TransferSettings(resume_threshold=100_000, concurrency=int(sys.argv[4])),
)
"""


def killed_run(kit: Kit, victim: str, dice: random.Random) -> None:
    """Run in another process, which is killed when it asks for ``victim``, or within its body."""
    server = kit.server
    partition = kit.partition()
    words = [str(kit.root), str(partition.path), str(partition.files), str(CONNECTIONS)]
    command = [sys.executable, "-c", RUN, *words]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:

        def kill() -> None:
            os.kill(process.pid, signal.SIGKILL)

        whole = len(server.truths(victim)[-1])
        moment = dice.choice(["asked", "within", "sent"])
        cut = {"asked": 0, "within": dice.randrange(whole), "sent": whole}[moment]
        # With all of the body sent, what follows races with the kill: moving, recording.
        server.script(victim, Fault(cut=cut, silent=moment == "asked", then=kill))
        if moment == "asked":
            server.when_asked(victim, kill)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.communicate("go\n")
    assert process.returncode == -signal.SIGKILL
    server.when_asked(victim, lambda: None)
    server.wait_quiet()


def kill_and_go_on(kit: Kit, server: FaultServer, seed: int, kills: int) -> None:
    dice = random.Random(seed)
    kit.settings = quick(stall_timeout=30.0)  # on a busy machine what is late would come twice
    sizes = [dice.choice([10, 5000, 70_000, 400_000]) for _ in range(FILES)]
    paths = [f"/{number}.tif" for number in range(FILES)]
    for number, size in enumerate(sizes):
        server.put(paths[number], content(number, size))
        kit.want(paths[number])
    fetched = in_flight = 0
    for _ in range(kills):
        left = [path for path in paths if not kit.final(path).exists()]
        known = known_to_the_ledger(kit)
        unknown = unrecorded(kit)
        server.forget()
        # Among the next ones, so that there is something left to kill up to the last.
        killed_run(kit, dice.choice(left[: 1 + len(left) // 8]), dice)
        assert_nothing_again(known, server.requests)
        # In their place and not yet in the ledger were those of one turn of the loop at most.
        assert len(unrecorded(kit) - unknown) <= CONNECTIONS
        unfinished = [r for r in server.requests if not kit.final(r.path).exists()]
        # Those on their way, and those that have come and are not in their place.
        assert len(unfinished) <= 2 * CONNECTIONS
        fetched += bytes_of_files(server.requests)
        in_flight += bytes_of_files(unfinished)
        tidy_state(kit.paths)
    known = known_to_the_ledger(kit)
    server.forget()
    result = kit.run()
    assert_nothing_again(known, server.requests)
    doubtful = {path for path, state in known.items() if state is State.UNCHECKED}
    assert (result.failed, result.kept) == (0, len(known) - len(doubtful))
    now = known_to_the_ledger(kit)
    assert {now[path] for path in doubtful} <= {State.ADOPTED}
    fetched += bytes_of_files(server.requests)
    assert sum(sizes) <= fetched <= sum(sizes) + in_flight
    for number, size in enumerate(sizes):
        assert kit.final(paths[number]).read_bytes() == content(number, size)
    assert kit.partials() == []
    assert len(list(kit.files())) == FILES


def bytes_of_files(requests: list[Request]) -> int:
    """Bytes of bodies, without those that say that a file which lies there is complete."""
    return sum(request.size for request in requests if request.status in (200, 206))


def assert_nothing_again(known: dict[str, State], requests: list[Request]) -> None:
    """Nothing that the ledger holds was asked for; only whether what was put together is whole."""
    asked = [(known[r.path], r.status) for r in requests if r.path in known]
    assert set(asked) <= {(State.UNCHECKED, 416)}


def known_to_the_ledger(kit: Kit) -> dict[str, State]:
    return {path.removeprefix("c"): entry.state for path, entry in kit.entries().items()}


def unrecorded(kit: Kit) -> set[str]:
    """Files in their place that the ledger does not know."""
    there = {f"/{path.name}" for path in kit.files()}
    return there - known_to_the_ledger(kit).keys()


def test_a_few_kills(kit: Kit, server: FaultServer) -> None:
    kill_and_go_on(kit, server, seed=0, kills=3)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 120))
def test_two_hundred_kills(kit: Kit, server: FaultServer, seed: int) -> None:
    kill_and_go_on(kit, server, seed, kills=10)
