"""Extraction in a process of its own, so that indexing has the interpreter to itself.

Both take the interpreter's lock for most of the time: side by side in one process they take as long
as one after the other.
"""

from __future__ import annotations

import contextlib
import logging
import select
import subprocess
import threading
from collections.abc import Callable
from typing import IO, Any

from mlhub_core.exceptions import MLHubException
from mlhub_core.sources.extraction import Job, Unarchived, extract_here
from mlhub_core.sources.processes import begin, close, receive, send, start
from mlhub_core.stop import StopFlag

log = logging.getLogger(__name__)

_LOOK = 0.2
"""Seconds between two looks at the stop flag."""


def extract_apart(
    job: Job, stop: StopFlag | None, on_read: Callable[[int, int], None]
) -> Unarchived:
    """Extract in another process; in this one where there can be none.

    Arguments and errors are those of :func:`~mlhub_core.sources.extraction.extract_here`.
    """
    if stop is not None:
        stop.check()
    process = start("sources.apart")
    if process is None:
        log.debug("no process to extract in: extracting here")
        return extract_here(job, stop, on_read)
    with process:
        try:
            outcome = _converse(process, job, stop, on_read)
        finally:
            # Its standard input ends here, and with it the process.
            close(process.stdin)
            process.wait()
    if outcome is None:
        log.debug("the process to extract in ended with %s: extracting here", process.returncode)
        return extract_here(job, stop, on_read)
    if isinstance(outcome, MLHubException):
        raise outcome
    return outcome


def serve() -> None:
    """The other process: extract what standard input says."""
    source, out = begin()
    job: Job = receive(source)
    stop = StopFlag()
    threading.Thread(target=_stop_at_end, args=(source, stop), daemon=True).start()
    outcome: Any
    try:
        outcome = extract_here(job, stop, lambda read, files: send(out, (read, files)))
    except MLHubException as error:
        outcome = error
    with contextlib.suppress(BrokenPipeError):  # nobody is there any more to be told
        send(out, outcome)


def _stop_at_end(source: IO[bytes], stop: StopFlag) -> None:
    source.read()
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
        send(process.stdin, job)
    except BrokenPipeError:
        return None
    while True:
        while not select.select([process.stdout], [], [], _LOOK)[0]:
            if stop is not None:
                stop.check()
        message = receive(process.stdout)
        if not isinstance(message, tuple):
            outcome: Unarchived | MLHubException | None = message
            return outcome
        if stop is not None:
            stop.check()
        on_read(*message)
