"""What the tasks of one run share: a stop flag, where progress is told, where the API key is.

None of it can be a task parameter: a flag must be seen by threads that run already, a listener is
a function, and parameters are written down. They travel in a context variable, which Prefect's
thread pool copies into its threads, so that two runs in one process have nothing to do with each
other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from mlhub_core.progress import Broadcast
from mlhub_core.selection.partition import Partition
from mlhub_core.steps import Run
from mlhub_core.threads import StopFlag
from mlhub_core.transfer import run
from tasks.access import Access


@dataclass(frozen=True, slots=True)
class RunHooks:
    """The ends of a run that its tasks hold on to.

    Attributes:
        stop: Set when the run is to end; the loops of the core look at it.
        progress: Gets the messages of all tasks.
        access: Where the API key is.
    """

    stop: StopFlag = field(default_factory=StopFlag)
    progress: Broadcast = field(default_factory=Broadcast)
    access: Access = field(default_factory=Access)

    @property
    def run(self) -> Run:
        """The same, as the steps of the core take it."""
        return Run(self.stop, self.progress, self.access.profile, self.access.api_key)


_HOOKS: ContextVar[RunHooks] = ContextVar("mlhub_run_hooks")


@contextmanager
def new_run(access: Access | None = None) -> Iterator[RunHooks]:
    """Hooks for a run that begins here, for the length of the block.

    The stop flag is always a new one, because Prefect retries a flow in the same process. Progress
    goes on to whoever listened before, such as the command that calls the flow.

    Args:
        access: Where the API key is.
    """
    outer = _HOOKS.get(None)
    progress = Broadcast() if outer is None else outer.progress
    hooks = RunHooks(progress=progress, access=access or Access())
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


def announce(partitions: Iterable[Partition]) -> None:
    """Tell of partitions that have not begun, so that the whole counts from the beginning."""
    with run_hooks() as hooks:
        run.announce(partitions, hooks.progress)
