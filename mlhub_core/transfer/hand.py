"""A hand of the crew: what runs in the processes that :mod:`mlhub_core.transfer.crew` starts."""

from __future__ import annotations

import logging
import signal
import threading
import traceback
from collections.abc import Callable
from contextlib import closing
from logging.handlers import QueueHandler
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any

from mlhub_core.chores import start_thread
from mlhub_core.exceptions import MLHubException
from mlhub_core.settings import TransferSettings
from mlhub_core.stop import StopFlag
from mlhub_core.transfer.crew import MORE, STOP, Job
from mlhub_core.transfer.engine import Engine
from mlhub_core.transfer.governor import governor_for
from mlhub_core.transfer.parcels import Inbox
from mlhub_core.transfer.run import download_partition

_Order = tuple[Job, StopFlag, Inbox] | None


class _Teller:
    """Sends messages from any thread."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()

    def __call__(self, message: Any) -> None:
        with self._lock:
            self._pipe.send(message)


class _PipeHandler(QueueHandler):
    """Hands log records to the process that gave the order, where somebody may listen."""

    def __init__(self, teller: _Teller) -> None:
        super().__init__(SimpleQueue())  # which stays empty: the pipe is the queue
        self._teller = teller

    def enqueue(self, record: logging.LogRecord) -> None:
        """Send a record that has been made ready to travel."""
        self._teller(record)


class _Engines:
    """The engine, which keeps its connections from one partition to the next."""

    def __init__(self) -> None:
        self._engine: Engine | None = None
        self._settings: TransferSettings | None = None

    def engine_for(self, settings: TransferSettings) -> Engine:
        """One that can be used."""
        if self._engine is None or self._engine.closed or settings != self._settings:
            self.close()
            self._engine = Engine(settings, governor_for(settings))
            self._settings = settings
        return self._engine

    def close(self) -> None:
        """Close its connections."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None


def main(descriptor: int) -> None:
    """Run partitions until the other end of the pipe closes.

    Args:
        descriptor: Our end of the pipe.
    """
    orders: SimpleQueue[_Order] = SimpleQueue()
    ended = StopFlag()
    # Ctrl-C goes to all processes of a terminal: what to do about it, the one above decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    with Connection(descriptor) as pipe:
        teller = _Teller(pipe)
        log = logging.getLogger("mlhub_core")
        log.addHandler(_PipeHandler(teller))
        log.propagate = False
        listener = threading.Thread(
            target=_listen, args=(pipe, orders, ended, lambda: teller(MORE)), daemon=True
        )
        if not start_thread(listener):
            return  # whoever started this process sees its end, and does the work
        with closing(_Engines()) as engines:
            while (order := orders.get()) is not None:
                log.setLevel(order[0].log_level)
                try:
                    teller(_outcome(*order, teller, engines))
                except OSError:
                    return  # nobody is there to be told


def _listen(
    pipe: Connection, orders: SimpleQueue[_Order], ended: StopFlag, ask: Callable[[], None]
) -> None:
    """Take orders while others are carried out; the end of the pipe ends everything."""
    stop = StopFlag(parent=ended)
    inbox = Inbox(ask, stop)
    while True:
        try:
            message = pipe.recv()
        except (EOFError, OSError):
            ended.set()
            inbox.wake()
            orders.put(None)
            return
        if message == STOP:
            stop.set()
            inbox.wake()
        elif isinstance(message, Job):
            stop = StopFlag(parent=ended)
            inbox = Inbox(ask, stop)
            orders.put((message, stop, inbox))
        else:
            inbox.put(message)


def _outcome(job: Job, stop: StopFlag, inbox: Inbox, teller: _Teller, engines: _Engines) -> Any:
    """The result of a partition, or the exception that ended it."""
    try:
        return download_partition(
            job.partition,
            job.paths,
            if_exists=job.if_exists,
            settings=job.settings,
            engine=engines.engine_for(job.settings),
            assets=inbox.assets(),
            stop=stop,
            on_progress=teller,
        )
    except MLHubException as error:
        return error
    except Exception as error:  # noqa: BLE001 - raised again in the process that gave the order
        error.add_note(traceback.format_exc())
        return error
