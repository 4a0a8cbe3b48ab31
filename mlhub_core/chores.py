"""Work beside work: waiting for several things at once, and what is done while others wait."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import Any, Self

from mlhub_core.stop import StopFlag

Chore = Callable[[StopFlag], None]
"""Something to do; it looks at the flag, and ends when that is set."""


class Chores:
    """Does what nobody waits for, in a thread of its own, for the length of a ``with`` block.

    Leaving the block waits for it and raises what went wrong; leaving it by an exception stops it.

    Args:
        stop: Stops all of it when set.
    """

    def __init__(self, stop: StopFlag | None = None) -> None:
        self._stop = StopFlag(parent=stop)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="mlhub-chores")
        self._begun: list[Future[None]] = []

    def add(self, chore: Chore) -> None:
        """Do something as soon as what was added before is done."""
        self._begun.append(self._pool.submit(chore, self._stop))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                settle_all(self._begun, self._stop)
        finally:
            self._stop.set()
            self._pool.shutdown(cancel_futures=True)


def settle_all(futures: Sequence[Future[Any]], stop: StopFlag) -> None:
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
