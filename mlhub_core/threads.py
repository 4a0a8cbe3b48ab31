"""Threads where the system has them: a flag to stop them, a pool, waiting for several at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from mlhub_core.exceptions import Interrupted

if TYPE_CHECKING:
    import pyarrow.parquet as pq

_P = ParamSpec("_P")
_T = TypeVar("_T")


class StopFlag:
    """Asks work to stop: set from a signal handler or another thread, looked at by the work.

    Ctrl-C in a thread pool, SIGTERM from a process manager and a cancelled flow run all end the
    same way: somebody sets the flag, the loops that do the work look at it a few times a second,
    tidy up and raise :class:`~mlhub_core.exceptions.Interrupted`.

    Args:
        parent: Another flag that stops this one's work too; setting this one leaves it alone. With
            it one step can stop its own threads without stopping whoever called it.
    """

    def __init__(self, parent: StopFlag | None = None) -> None:
        self._event = threading.Event()
        self._parent = parent

    def set(self) -> None:
        """Ask everything that watches this flag to stop."""
        self._event.set()

    def clear(self) -> None:
        """Take the request back, before a new run in the same process."""
        self._event.clear()

    def is_set(self) -> bool:
        """Whether a stop has been asked for."""
        return self._event.is_set() or (self._parent is not None and self._parent.is_set())

    def check(self) -> None:
        """Raise if a stop has been asked for.

        Raises:
            Interrupted: if the flag is set.
        """
        if self.is_set():
            raise Interrupted("Stopped. What is finished is kept; the same command goes on there.")


class Pool(ThreadPoolExecutor):
    """A pool of threads that works without any, too: one thing after the other, as it is asked.

    The system may let no further thread start (``ulimit -u``, a container's limit, memory).
    """

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Have a function called: by a thread, or at once by this one where there can be none.

        Raises:
            BaseException: what the function raised, where it was called at once.
        """
        future: Future[_T] = Future()
        claim = threading.Lock()

        def work() -> None:
            # What could not start a thread stands in the pool's queue all the same.
            if not claim.acquire(blocking=False) or not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - raised by whoever asks for the result
                future.set_exception(error)

        try:
            super().submit(work)
        except RuntimeError as error:
            if "start new thread" not in str(error):
                raise
            work()
            if future.done() and (failure := future.exception()) is not None:
                raise failure from None
        return future


def start_thread(thread: threading.Thread) -> bool:
    """Start a thread; whether the system lets it."""
    try:
        thread.start()
    except RuntimeError:
        return False
    return True


def can_have_threads() -> bool:
    """Whether the system lets a thread start just now."""
    return start_thread(threading.Thread(target=int))


def open_parquet(path: Path, **options: Any) -> pq.ParquetFile:
    """Open a Parquet file to be read without threads of Arrow's: it fails where it can have none.

    Reading ahead would take some. It costs memory, and brings nothing from a local disk.
    """
    import pyarrow.parquet as pq

    return pq.ParquetFile(path, pre_buffer=False, **options)


def wait_for_all(futures: Sequence[Future[Any]], stop: StopFlag) -> None:
    """Wait for all; when one fails or Ctrl-C comes, stop the others and raise what came first.

    Args:
        futures: What runs.
        stop: What all of it looks at.

    Raises:
        BaseException: what the first of them raised, or what came while waiting.
    """
    try:
        done = wait(list(futures), return_when=FIRST_EXCEPTION).done
        first = next((error for future in done if (error := future.exception())), None)
        if first is not None:
            raise first
    except BaseException:
        stop.set()
        for future in futures:
            future.cancel()
        wait(list(futures))
        raise
