"""A second process that reads JSON files of the archive, beside the one that unpacks it.

Unpacking is a fifth of the work and cannot be divided; the rest is. Files are dealt out a few dozen
at a time: the second process gets some whenever it has room for them, else the first one reads them
itself. So nobody waits, whatever else the processors have to do. What comes back are finished
batches of rows, and at the end what was found besides.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import subprocess
import sys
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from mlhub_core.chores import start_thread
from mlhub_core.index.save_paths import Plan
from mlhub_core.sources.processes import begin, close, rare_collections, receive, send, start
from mlhub_core.stop import StopFlag

if TYPE_CHECKING:
    from mlhub_core.index.collecting import Take
    from mlhub_core.index.findings import Findings

log = logging.getLogger(__name__)

Chunk = list[tuple[bytes, str, int]]
"""Content, path and number of JSON files."""

_ROOM = 4
"""Chunks on their way: one that is read, and some to go on with while the first process is busy."""
_PIPE_BYTES = 1024 * 1024
"""Room for those that wait, so that sending them takes no time."""
_LOOK = 0.2
"""Seconds between two looks at the stop flag."""
_END = "end"
_READY, _ASIDE = "ready", "aside"


class SecondLost(Exception):
    """The second process ended without an outcome; never leaves the package."""


class Second:
    """The second process, seen from the first.

    It is started at once, before Arrow is imported: both processes then do that at the same time.

    Args:
        plan: What earlier passes found out.
        stop: Ends the waiting for it early.

    Attributes:
        assets: How many it has read so far.
    """

    def __init__(self, plan: Plan, stop: StopFlag | None = None) -> None:
        self._take: dict[str, Take] = {}
        self._stop = stop
        self._room = 0
        self._heard: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.assets = 0
        self._process = start("index.second")
        if self._process is not None:
            _widen(self._process.stdin)
            self._thread = threading.Thread(
                target=_listen, args=(self._process, self._heard), name="mlhub-second", daemon=True
            )
            if not start_thread(self._thread):
                self._process.kill()
                with self._process:  # closes its pipes and waits for it
                    self._process = None
                return
            with contextlib.suppress(SecondLost):  # found out when it says nothing
                self._send(plan)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self._process.kill()  # it may be in the middle of something, and has no files
            self._end(self._process)

    def hand_over(self, take_ready: Take, take_aside: Take) -> None:
        """Say who gets its batches of finished items, and those of rows that wait."""
        self._take = {_READY: take_ready, _ASIDE: take_aside}

    def take(self, chunk: Chunk, *, wait: bool = False) -> bool:
        """Have files read; False if there is no room, and nothing has happened.

        Args:
            chunk: The files.
            wait: Wait until there is room, if there ever is.

        Raises:
            SecondLost: if the process is no more.
        """
        with contextlib.suppress(queue.Empty):
            while self._process is not None:
                self._hear(self._heard.get(block=wait and not self._room))
        if not self._room:
            return False
        self._room -= 1
        self._send(chunk)
        return True

    def finish(self) -> None:
        """Tell it that no more files come.

        Raises:
            SecondLost: if the process is no more.
        """
        if self._process is not None:
            self._send(_END)

    def outcome(self) -> Findings:
        """Wait for what it has found, and take the rest of its rows.

        Raises:
            SecondLost: if the process is no more.
            Interrupted: if the stop flag is set.
        """
        from mlhub_core.index.findings import Findings

        if self._process is None:
            return Findings()
        while True:
            if self._stop is not None:
                self._stop.check()
            with contextlib.suppress(queue.Empty):
                message = self._heard.get(timeout=_LOOK)
                if isinstance(message, Findings):
                    self._end(self._process)
                    return message
                self._hear(message)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """See the end of it, and let go of it."""
        close(process.stdin)
        process.wait()
        self._thread.join()
        close(process.stdout)
        self._process = None

    def _send(self, message: Any) -> None:
        if self._process is None or self._process.stdin is None:
            raise SecondLost
        try:
            send(self._process.stdin, message)
        except BrokenPipeError as error:
            raise SecondLost from error

    def _hear(self, message: Any) -> None:
        if isinstance(message, int):
            self._room += 1
            self.assets = message
        elif isinstance(message, tuple):
            self._take[message[0]](_unpacked(*message))
        else:
            raise SecondLost


def serve() -> None:
    """The second process: read what standard input says."""
    source, out = begin()
    from mlhub_core.index.collecting import Rows
    from mlhub_core.index.reader import Reader

    plan: Plan = receive(source)

    def hand_on(what: str) -> Take:
        return lambda batch: send(out, (what, batch.serialize().to_pybytes()))

    rows = Rows(hand_on(_READY), hand_on(_ASIDE))
    reader = Reader(plan, rows)
    # Without a pipe, nobody is there any more to be told.
    with rare_collections(), contextlib.suppress(BrokenPipeError):
        for _ in range(_ROOM):
            send(out, 0)
        while (message := receive(source)) is not None:
            if message == _END:
                rows.flush()
                send(out, reader.findings)
                return
            for data, path, number in message:
                reader.read(data, path, number)
            send(out, reader.findings.assets)


def _unpacked(what: str, data: bytes) -> Any:
    import pyarrow as pa

    from mlhub_core.index.rows import items_schema
    from mlhub_core.index.schema import aside_schema

    schema = items_schema() if what == _READY else aside_schema()
    return pa.ipc.read_record_batch(pa.py_buffer(data), schema)


def _listen(process: subprocess.Popen[bytes], heard: queue.SimpleQueue[Any]) -> None:
    """Pass on messages as they come: a process that cannot get rid of its own takes none."""
    message: Any = 0
    while message is not None and process.stdout is not None:
        try:
            message = receive(process.stdout)
        except (OSError, ValueError, EOFError):
            message = None
        heard.put(message)


def _widen(pipe: Any) -> None:
    """Let a pipe hold a chunk, so that whoever sends it need not wait."""
    if sys.platform == "linux":
        import fcntl

        with contextlib.suppress(OSError):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
