"""Partitions in processes of their own: one libcurl loop and one interpreter each.

A small file costs more Python than network, and two loops in one interpreter only wait for each
other. What travels to a hand and back are small values: the partition, its list a parcel at a time,
progress, log records, the result. Nobody's ``__main__`` is imported again, as
:mod:`multiprocessing` would.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from queue import Empty, SimpleQueue

from mlhub_core.exceptions import HandLost
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.layout import DownloadPaths
from mlhub_core.progress import Progress, ProgressSink, ignore
from mlhub_core.selection.partition import Partition
from mlhub_core.settings import TransferSettings
from mlhub_core.stop import StopFlag
from mlhub_core.transfer.lock import descriptor_of
from mlhub_core.transfer.parcels import AHEAD, parcels_of
from mlhub_core.transfer.result import PartitionResult

logger = logging.getLogger(__name__)


class CannotStart(HandLost):
    """The system lets no further process start, or none that gets on; never leaves the package."""


STOP = "stop"
"""Sent to a hand that is to end its partition."""
MORE = "more"
"""Sent by a hand that wants another parcel."""
_LOOK_SECONDS = 0.1
_LEAVE_SECONDS = 10.0
_BOOT = (
    "import json, os, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from mlhub_core.transfer.hand import main; main(int(sys.argv[2])); "
    # All is closed by now, and taking the interpreter apart takes as long as putting it up.
    "os._exit(0)"
)


@dataclass(frozen=True, slots=True)
class Job:
    """What a hand is told to do.

    Attributes:
        partition: What to have.
        paths: Where it goes.
        if_exists: What to do about files that lie there already.
        settings: How to fetch; ``concurrency`` is this hand's share.
        log_level: Of our logger, in the process that gave the order.
    """

    partition: Partition
    paths: DownloadPaths
    if_exists: DownloadIfExistsOpts
    settings: TransferSettings
    log_level: int


class Crew:
    """Processes that run partitions, one at a time each. Safe to use from several threads.

    Args:
        size: How many; each has its share of the connections per host.
        paths: Where everything goes. The processes hold its lock as long as they live, so that no
            other run begins beside those that a killed one leaves for a moment.
        settings: How to fetch.

    Attributes:
        size: How many.

    Raises:
        CannotStart: if the system lets no more processes start.
    """

    def __init__(self, size: int, paths: DownloadPaths, settings: TransferSettings) -> None:
        self._paths = paths
        self.size = size
        self._free: SimpleQueue[_Hand] = SimpleQueue()
        self._hands: list[_Hand] = []
        try:
            for share in shares(settings.concurrency, size):
                hand = _Hand(replace(settings, concurrency=share), descriptor_of(paths))
                self._hands.append(hand)
                self._free.put(hand)
        except CannotStart:
            self.close()
            raise

    def download_partition(
        self,
        partition: Partition,
        *,
        if_exists: DownloadIfExistsOpts = DownloadIfExistsOpts.resume,
        stop: StopFlag | None = None,
        on_progress: ProgressSink = ignore,
    ) -> PartitionResult:
        """Have the next free hand run a partition, and wait for it.

        As :func:`mlhub_core.transfer.run.download_partition`, which says what it raises.

        Raises:
            HandLost: if the process was killed, and the one after it too.
            CannotStart: if there can be none.
        """
        stop = stop or StopFlag()
        hand = self._next_free(stop)
        try:
            try:
                return hand.run(partition, self._paths, if_exists, stop, on_progress)
            except CannotStart:
                raise
            except HandLost as lost:
                logger.warning("%s; partition %s is taken up again", lost, partition.label)
            try:
                return hand.run(partition, self._paths, if_exists, stop, on_progress)
            except CannotStart:
                raise
            except HandLost as lost:
                raise HandLost(
                    f"{lost}, twice for the same files. Is memory short? What is finished is kept; "
                    "the same command goes on from there, and --workers 1 needs less."
                ) from lost
        finally:
            self._free.put(hand)

    def _next_free(self, stop: StopFlag) -> _Hand:
        while True:
            stop.check()
            with suppress(Empty):
                return self._free.get(timeout=_LOOK_SECONDS)

    def close(self) -> None:
        """Let all go and wait for them; one that does not go is killed."""
        for hand in self._hands:
            hand.dismiss()
        for hand in self._hands:
            hand.wait()


class _Hand:
    """One process and our end of the pipe to it."""

    def __init__(self, settings: TransferSettings, lock: int | None) -> None:
        self._settings = settings
        self._lock = lock
        self._start()

    def _start(self) -> None:
        ours, theirs = Pipe()
        passed = [theirs.fileno()] + ([] if self._lock is None else [self._lock])
        with theirs:
            words = [json.dumps(sys.path), str(theirs.fileno())]
            try:
                self._process = subprocess.Popen(
                    # -P: the current directory is no place to import from.
                    [sys.executable, "-P", "-c", _BOOT, *words],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,  # where a command's results go
                    pass_fds=passed,
                    # Ctrl-C goes to all processes of a terminal; we decide what it means.
                    start_new_session=True,
                )
            except OSError as error:
                ours.close()
                raise CannotStart(f"Cannot start another process: {error.strerror}") from error
        self._pipe: Connection = ours

    def run(
        self,
        partition: Partition,
        paths: DownloadPaths,
        if_exists: DownloadIfExistsOpts,
        stop: StopFlag,
        on_progress: ProgressSink,
    ) -> PartitionResult:
        """See :meth:`Crew.download_partition`; a process that has gone is replaced."""
        if self._pipe.closed:
            self.wait()
            self._start()
        level = logging.getLogger("mlhub_core").getEffectiveLevel()
        job = Job(partition, paths, if_exists, self._settings, level)
        try:
            outcome = self._converse(job, stop, on_progress)
        except (EOFError, ConnectionError) as error:
            self.dismiss()
            status = self._process.wait()
            if status >= 0:  # nobody killed it
                raise CannotStart("Another process could not do its work") from error
            raise HandLost(f"A process of the transfer ended with signal {-status}") from error
        except BaseException:
            self.dismiss()  # or what it still has to say would be taken for the next answer
            raise
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def _converse(
        self, job: Job, stop: StopFlag, on_progress: ProgressSink
    ) -> PartitionResult | Exception:
        told = False
        self._pipe.send(job)
        parcels = parcels_of(job.partition.path)
        for _ in range(AHEAD):
            self._pipe.send(next(parcels, []))
        while True:
            if stop.is_set() and not told:
                told = True
                self._pipe.send(STOP)
            if not self._pipe.poll(_LOOK_SECONDS):
                continue
            message = self._pipe.recv()
            if message == MORE:
                self._pipe.send(next(parcels, []))
            elif isinstance(message, Progress):
                on_progress(message)
            elif isinstance(message, logging.LogRecord):
                logging.getLogger(message.name).handle(message)
            else:
                assert isinstance(message, PartitionResult | Exception)
                return message

    def dismiss(self) -> None:
        """Let it go: the end of the pipe is what it waits for."""
        self._pipe.close()

    def wait(self) -> None:
        """Wait for its end."""
        try:
            self._process.wait(_LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def crew_of(size: int, paths: DownloadPaths, settings: TransferSettings) -> Iterator[Crew]:
    """A crew for the length of the block."""
    crew = Crew(size, paths, settings)
    try:
        yield crew
    finally:
        crew.close()


def shares(limit: int, size: int) -> list[int]:
    """Cut the connections per host into shares that differ by one at most, none of them empty."""
    size = min(limit, size)
    return [limit // size + (number < limit % size) for number in range(size)]


def can_start() -> bool:
    """Whether this interpreter can start another one like it, which one within a program cannot."""
    name = Path(sys.executable or "").name.lower()
    return name.startswith(("python", "pypy")) and os.name == "posix"
