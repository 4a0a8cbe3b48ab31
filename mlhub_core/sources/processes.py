"""Processes of our own, and what they say to each other.

They are started from scratch, not forked or spawned: forks do not go with threads, and spawning
runs the user's script again. Messages are pickles, of our own classes, each with its length before
it, over standard input and output. Such a process ends as soon as its standard input does, so that
it does not outlive whoever started it.
"""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import IO, Any

_LENGTH = 8
_RARELY = 100_000
"""New objects between two looks for garbage; Python's own are 700."""
_START = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); "
    "from mlhub_core.{} import serve; serve()"
)


def start(module: str) -> subprocess.Popen[bytes] | None:
    """Start a process that does what a module of this package has for ``serve``.

    Returns:
        The process; None where there can be none.
    """
    if os.name != "posix" or not sys.executable:
        return None
    try:
        process = subprocess.Popen(
            # -P: the current directory is no place to import from.
            [sys.executable, "-P", "-c", _START.format(module)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C at a terminal is for the one that started it
            bufsize=0,  # what is in a buffer of ours, select would not see
        )
    except OSError:
        return None
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(pickle.dumps(sys.path))
    return process


def begin() -> tuple[IO[bytes], IO[bytes]]:
    """What the process does first; returns where messages come from and go to."""
    # Ctrl-C goes to all processes of a terminal; the one that started us decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return sys.stdin.buffer, sys.stdout.buffer


@contextlib.contextmanager
def rare_collections() -> Iterator[None]:
    """Look for cycles of garbage less often, for whoever has the process to itself.

    Reading a catalog makes objects by the million and no cycles: looking for some, with a batch of
    rows in memory, took a twentieth of the time.
    """
    before = gc.get_threshold()
    gc.set_threshold(_RARELY, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def send(out: IO[bytes], message: Any) -> None:
    """Send a message.

    Raises:
        BrokenPipeError: if nobody is there any more.
    """
    data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    _write_all(out, len(data).to_bytes(_LENGTH, "big"))
    _write_all(out, data)
    out.flush()


def receive(source: IO[bytes]) -> Any:
    """The next message; None where there is none any more."""
    length = _exactly(source, _LENGTH)
    data = _exactly(source, int.from_bytes(length, "big")) if length else b""
    return pickle.loads(data) if data else None


def close(stream: Any) -> None:
    """Close a pipe, whatever is still in it."""
    with contextlib.suppress(OSError):
        stream.close()


def _write_all(out: IO[bytes], data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[out.write(view) :]


def _exactly(source: IO[bytes], count: int) -> bytearray:
    """So many bytes; none where the stream ends before."""
    data = bytearray(count)
    view = memoryview(data)
    while view:
        read = source.readinto(view)  # type: ignore[attr-defined]
        if not read:
            return bytearray()
        view = view[read:]
    return data
