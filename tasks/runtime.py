"""What the tasks of one run share: a stop flag, and where progress is told.

Neither can be a task parameter: a flag must be seen by threads that run already, and a listener is
a function. They travel in a context variable, which Prefect's thread pool copies into its threads,
so that two runs in one process have nothing to do with each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from mlhub_core.chores import Chores
from mlhub_core.progress import Broadcast, Progress, Stage
from mlhub_core.selection.partition import Partition
from mlhub_core.stop import StopFlag


@dataclass(frozen=True, slots=True)
class RunHooks:
    """The ends of a run that its tasks hold on to.

    Attributes:
        stop: Set when the run is to end; the loops of the core look at it.
        progress: Gets the messages of all tasks.
    """

    stop: StopFlag = field(default_factory=StopFlag)
    progress: Broadcast = field(default_factory=Broadcast)


_HOOKS: ContextVar[RunHooks] = ContextVar("mlhub_run_hooks")
_CHORES: ContextVar[Chores | None] = ContextVar("mlhub_run_chores", default=None)


@contextmanager
def new_run() -> Iterator[RunHooks]:
    """Hooks for a run that begins here, for the length of the block.

    The stop flag is always a new one, because Prefect retries a flow in the same process. Progress
    goes on to whoever listened before, such as the command that calls the flow.
    """
    outer = _HOOKS.get(None)
    hooks = RunHooks() if outer is None else RunHooks(progress=outer.progress)
    token = _HOOKS.set(hooks)
    try:
        yield hooks
    finally:
        _HOOKS.reset(token)


@contextmanager
def run_hooks() -> Iterator[RunHooks]:
    """The hooks of the run that is on, for the length of a block that is part of it.

    Any exception that leaves the block, be it a failure, Ctrl-C or Prefect's own signal for the
    end, sets the stop flag. Prefect waits for tasks that run, and it is the flag that ends them.
    """
    hooks = _HOOKS.get(None) or RunHooks()
    try:
        yield hooks
    except BaseException:
        hooks.stop.set()
        raise


@contextmanager
def with_chores() -> Iterator[None]:
    """Have what no task waits for done beside the tasks of the block, which ends when it is."""
    with run_hooks() as hooks, Chores(hooks.stop) as chores:
        token = _CHORES.set(chores)
        try:
            yield
        finally:
            _CHORES.reset(token)


def chores_of_run() -> Chores | None:
    """Where such things go; None outside of such a block."""
    return _CHORES.get()


def announce(partitions: Iterable[Partition]) -> None:
    """Tell of partitions that have not begun, so that the whole counts from the beginning."""
    with run_hooks() as hooks:
        for partition in partitions:
            size = None if partition.unknown_sizes else partition.known_bytes
            hooks.progress(
                Progress(
                    Stage.DOWNLOAD, total=partition.files, bytes_total=size, part=partition.number
                )
            )
