"""Extraction in a process of its own, so that indexing has the interpreter to itself.

Both take the interpreter's lock for most of the time: side by side in one process they take as long
as one after the other. The process is started from scratch, not forked or spawned: forks do not go
with threads, and spawning runs the user's script again. Messages are pickles, of our own classes,
over its standard output; it ends as soon as its standard input does, so that it does not outlive
whoever started it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import IO, Any

from mlhub_core.catalog.extraction import Job, Unarchived, extract_here
from mlhub_core.exceptions import MLHubException
from mlhub_core.stop import StopFlag

log = logging.getLogger(__name__)

_LENGTH = 4
_LOOK = 0.2
"""Seconds between two looks at the stop flag."""
_START = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); "
    "from mlhub_core.catalog.apart import serve; serve()"
)


def extract_apart(
    job: Job, stop: StopFlag | None, on_read: Callable[[int, int], None]
) -> Unarchived:
    """Extract in another process; in this one where there can be none.

    Arguments and errors are those of :func:`~mlhub_core.catalog.extraction.extract_here`.
    """
    if os.name != "posix" or not sys.executable:
        return extract_here(job, stop, on_read)
    if stop is not None:
        stop.check()
    try:
        process = subprocess.Popen(
            # -P: the current directory is no place to import from.
            [sys.executable, "-P", "-c", _START],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,  # what is in a buffer of ours, select would not see
        )
    except OSError as error:
        log.debug("no process to extract in (%s): extracting here", error)
        return extract_here(job, stop, on_read)
    with process:
        try:
            outcome = _converse(process, job, stop, on_read)
        finally:
            # Its standard input ends here, and with it the process.
            _close(process.stdin)
            process.wait()
    if outcome is None:
        log.debug("the process to extract in ended with %s: extracting here", process.returncode)
        return extract_here(job, stop, on_read)
    if isinstance(outcome, MLHubException):
        raise outcome
    return outcome


def serve() -> None:
    """The other process: extract what standard input says."""
    # Ctrl-C goes to all processes of a terminal; the one that started us decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    job: Job = pickle.load(sys.stdin.buffer)
    out = sys.stdout.buffer
    stop = StopFlag()
    threading.Thread(target=_stop_at_end_of_input, args=(stop,), daemon=True).start()
    outcome: Any
    try:
        outcome = extract_here(job, stop, lambda read, files: _send(out, (read, files)))
    except MLHubException as error:
        outcome = error
    with contextlib.suppress(BrokenPipeError):  # nobody is there any more to be told
        _send(out, outcome)


def _stop_at_end_of_input(stop: StopFlag) -> None:
    sys.stdin.buffer.read()
    stop.set()


def _converse(
    process: subprocess.Popen[bytes],
    job: Job,
    stop: StopFlag | None,
    on_read: Callable[[int, int], None],
) -> Unarchived | MLHubException | None:
    """Send the job and pass on what comes back; None if the process ends without an outcome."""
    if process.stdin is None or process.stdout is None:
        return None
    try:
        process.stdin.write(pickle.dumps(sys.path) + pickle.dumps(job))
    except BrokenPipeError:
        return None
    while True:
        while not select.select([process.stdout], [], [], _LOOK)[0]:
            if stop is not None:
                stop.check()
        message = _receive(process.stdout)
        if not isinstance(message, tuple):
            outcome: Unarchived | MLHubException | None = message
            return outcome
        if stop is not None:
            stop.check()
        on_read(*message)


def _send(out: IO[bytes], message: Any) -> None:
    data = pickle.dumps(message)
    out.write(len(data).to_bytes(_LENGTH) + data)
    out.flush()


def _receive(source: IO[bytes]) -> Any:
    """The next message; None where there is none any more."""
    length = _exactly(source, _LENGTH)
    data = _exactly(source, int.from_bytes(length)) if length else b""
    return pickle.loads(data) if data else None


def _exactly(source: IO[bytes], count: int) -> bytes:
    """So many bytes; none where the stream ends before."""
    data = b""
    while len(data) < count:
        more = source.read(count - len(data))
        if not more:
            return b""
        data += more
    return data


def _close(stream: Any) -> None:
    with contextlib.suppress(OSError):
        stream.close()
