"""Runs tasks side by side, waits for them, and raises what went wrong first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from prefect.futures import PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner

from mlhub_core.exceptions import Interrupted
from tasks.runtime import run_hooks

T = TypeVar("T")


@contextmanager
def side_by_side(workers: int) -> Iterator[ThreadPoolTaskRunner[Any]]:
    """A task runner for the length of the block.

    Leaving it waits for its tasks. When it is left by an exception, the stop flag is set first, or
    the wait would be as long as the tasks are.
    """
    with ThreadPoolTaskRunner[Any](max_workers=workers) as runner, run_hooks():
        yield runner


def results_of(futures: Iterable[PrefectFuture[T]]) -> tuple[T, ...]:
    """Wait for all of them and return their results.

    A task that fails stops its siblings, which then end as interrupted. The failure is what people
    want to hear of.

    Raises:
        BaseException: what the first of them raised that was not just stopped by another.
    """
    listed = list(futures)
    outcomes = [future.result(raise_on_failure=False) for future in listed]
    errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    for error in errors:
        if not isinstance(error, Interrupted):
            raise error
    if errors:
        raise errors[0]
    return tuple(outcomes)
