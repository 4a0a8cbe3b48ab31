"""Several processes that fetch, each with partitions of its own.

One loop in one process fills a link of some 2.5 Gbit/s, and over HTTPS from hosts that are 20 ms
and more away two do no more than one. So all is done in this process, unless the catalog promises
so many bytes that a faster link would show.

A process is started for its partitions and ends with them. It is told what to do by one message
and tells of progress, log records and the outcome; a second message, or the end of the pipe, stops
it. Nobody's ``__main__`` is imported again, as :mod:`multiprocessing` would, and nothing from the
current directory.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from logging.handlers import QueueHandler
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.paths import DownloadPaths
from mlhub_core.progress import Progress, ProgressSink, ignore
from mlhub_core.selection.partition import Partition
from mlhub_core.settings import RunSettings, TransferSettings
from mlhub_core.state import descriptor_of
from mlhub_core.threads import Pool, StopFlag, start_thread, wait_for_all
from mlhub_core.transfer import run
from mlhub_core.transfer.ledger import totals
from mlhub_core.transfer.report import PartitionResult

logger = logging.getLogger(__name__)

_STOP = "stop"
_LOOK_SECONDS = 0.1
_LEAVE_SECONDS = 10.0
_BOOT = (
    "import json, os, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from mlhub_core.transfer.workers import main; main(int(sys.argv[2])); "
    # All is closed by now, and taking the interpreter apart takes as long as putting it up.
    "os._exit(0)"
)


_Results = tuple[PartitionResult, ...]
_Work = Callable[..., _Results]
"""What a process is told to do; called with ``stop`` and ``on_progress``."""


class _ProcessLost(Exception):
    """A process could not be started, or ended without an outcome; never leaves the module."""


def processes_for(
    partitions: Sequence[Partition],
    paths: DownloadPaths,
    settings: RunSettings,
    if_exists: DownloadIfExistsOpts = DownloadIfExistsOpts.resume,
) -> int:
    """How many processes to fetch with; 1 means this one alone.

    As many as there may be, where the catalog promises ``settings.processes_from`` bytes or more,
    without what the ledger has. A process each costs some 100 MB and a third of a second.

    Raises:
        StorageError: if the ledger cannot be read.
    """
    most = min(
        settings.workers, os.cpu_count() or 1, settings.transfer.concurrency, len(partitions)
    )
    size = sum(partition.known_bytes for partition in partitions)
    if most < 2 or size < settings.processes_from or not _can_start():
        return 1
    files = sum(partition.files for partition in partitions)
    here = 0 if if_exists is DownloadIfExistsOpts.overwrite else totals(paths.ledger_dir)[0]
    return most if size * max(0, files - here) >= settings.processes_from * files else 1


def share(settings: TransferSettings, processes: int) -> TransferSettings:
    """Settings for one of several processes, which share the connections to a host.

    Args:
        settings: For all of them.
        processes: How many there are.
    """
    return replace(settings, concurrency=max(1, settings.concurrency // processes))


def download_partitions(
    partitions: Sequence[Partition],
    paths: DownloadPaths,
    settings: RunSettings,
    *,
    if_exists: DownloadIfExistsOpts = DownloadIfExistsOpts.resume,
    stop: StopFlag | None = None,
    on_progress: ProgressSink = ignore,
) -> tuple[PartitionResult, ...]:
    """Have all files of some partitions, in this process or in several.

    See :func:`mlhub_core.transfer.run.download_partitions`, which says what it raises.
    """
    processes = processes_for(partitions, paths, settings, if_exists)
    stop = StopFlag(parent=stop)
    how: dict[str, Any] = {
        "if_exists": if_exists,
        "settings": share(settings.transfer, processes),
        "stop": stop,
        "on_progress": on_progress,
    }
    if processes < 2:
        return run.download_partitions(partitions, paths, **how)
    with Pool(processes, thread_name_prefix="mlhub") as pool:
        futures = [
            pool.submit(download_apart, partitions[number::processes], paths, **how)
            for number in range(processes)
        ]
        wait_for_all(futures, stop)
    results = (result for future in futures for result in future.result())
    return tuple(sorted(results, key=lambda result: result.number))


def download_apart(
    partitions: Sequence[Partition],
    paths: DownloadPaths,
    *,
    if_exists: DownloadIfExistsOpts = DownloadIfExistsOpts.resume,
    settings: TransferSettings,
    stop: StopFlag,
    on_progress: ProgressSink = ignore,
) -> tuple[PartitionResult, ...]:
    """Have all files of some partitions in another process.

    Where none can be started, or it is killed, as a system does that is short of memory, this one
    goes on with them: what is finished stands in the ledger.

    Args:
        partitions: What to have.
        paths: Where it goes; its lock is held, and lasts until the other process has ended too.
        if_exists: What to do about files that lie there already.
        settings: How to fetch, for this one of the processes.
        stop: Looked at several times a second.
        on_progress: Told how far it is.
    """
    work = partial(
        run.download_partitions, tuple(partitions), paths, if_exists=if_exists, settings=settings
    )
    try:
        return _elsewhere(work, descriptor_of(paths), stop, on_progress)
    except _ProcessLost as lost:
        logger.warning("%s: this one goes on", lost)
    return work(stop=stop, on_progress=on_progress)


def _elsewhere(
    work: _Work, lock: int | None, stop: StopFlag, on_progress: ProgressSink
) -> _Results:
    """Have some work done by a process that is started for it."""
    stop.check()
    ours, theirs = Pipe()
    with closing(ours):
        with closing(theirs):
            process = _start(theirs.fileno(), lock)
        try:
            ours.send((work, logging.getLogger("mlhub_core").getEffectiveLevel()))
            outcome = _outcome(ours, stop, on_progress)
        except (EOFError, ConnectionError) as error:
            ours.close()
            _wait_for(process)
            status = process.returncode
            why = f"was ended by signal {-status}" if status < 0 else "could not do its work"
            raise _ProcessLost(f"A process of the transfer {why}") from error
        finally:
            ours.close()  # it ends then, whatever it does
            _wait_for(process)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _start(pipe: int, lock: int | None) -> subprocess.Popen[bytes]:
    here = os.getcwd()
    path = [entry for entry in sys.path if entry not in ("", ".", here)]
    path.append(str(Path(__file__).parents[2]))
    try:
        return subprocess.Popen(
            # -P: the current directory is no place to import from.
            [sys.executable, "-P", "-c", _BOOT, json.dumps(path), str(pipe)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # where a command's results go
            pass_fds=[pipe] if lock is None else [pipe, lock],
            # Ctrl-C goes to all processes of a terminal; we decide what it means.
            start_new_session=True,
        )
    except OSError as error:
        raise _ProcessLost(f"Cannot start another process: {error.strerror}") from error


def _outcome(pipe: Connection, stop: StopFlag, on_progress: ProgressSink) -> _Results | Exception:
    """Listen until a process has done its work."""
    stopped = False
    while True:
        if stop.is_set() and not stopped:
            stopped = True
            pipe.send(_STOP)
        if not pipe.poll(_LOOK_SECONDS):
            continue
        message = pipe.recv()
        if isinstance(message, Progress):
            on_progress(message)
        elif isinstance(message, logging.LogRecord):
            logging.getLogger(message.name).handle(message)
        else:
            assert isinstance(message, tuple | Exception)
            return message


def _wait_for(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_LEAVE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _can_start() -> bool:
    """Whether this interpreter can start another one like it, which one within a program cannot."""
    name = Path(sys.executable or "").name.lower()
    return name.startswith(("python", "pypy")) and os.name == "posix"


# In the other process


class _Sender(QueueHandler):
    """Sends messages from any thread, log records among them."""

    def __init__(self, pipe: Connection) -> None:
        super().__init__(SimpleQueue())  # which stays empty: the pipe is the queue
        self._pipe = pipe
        self._sending = threading.Lock()

    def send(self, message: Any) -> None:
        """Send a message to the process that gave the work."""
        with self._sending:
            self._pipe.send(message)

    def enqueue(self, record: logging.LogRecord) -> None:
        """Send a record that has been made ready to travel."""
        self.send(record)


def main(descriptor: int) -> None:
    """Do some work for another process.

    Args:
        descriptor: Our end of the pipe to it.
    """
    stop = StopFlag()
    # Ctrl-C goes to all processes of a terminal: what to do about it, the one above decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with Connection(descriptor) as pipe:
        work, level = pipe.recv()
        sender = _Sender(pipe)
        log = logging.getLogger("mlhub_core")
        log.addHandler(sender)
        log.propagate = False
        log.setLevel(level)
        watcher = threading.Thread(target=_stop_when_told, args=(pipe, stop), daemon=True)
        if start_thread(watcher):  # else the one above sees our end, and does the work
            outcome = _done(work, stop, sender.send)
            with suppress(OSError):  # nobody is there to be told
                sender.send(outcome)


def _stop_when_told(pipe: Connection, stop: StopFlag) -> None:
    with suppress(EOFError, OSError):  # it has gone
        pipe.recv()
    stop.set()


def _done(work: _Work, stop: StopFlag, on_progress: ProgressSink) -> _Results | Exception:
    """What some work comes to, or the exception that ended it."""
    try:
        return work(stop=stop, on_progress=on_progress)
    except Exception as error:  # noqa: BLE001 - raised again in the process that gave the work
        error.add_note(traceback.format_exc())
        return error
