"""What runs the steps of a pipeline: here this process, in :mod:`flows` the tasks of Prefect."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from mlhub_core.console import ensure_handler
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.index.build import AssetIndex
from mlhub_core.paths import DownloadPaths
from mlhub_core.progress import ProgressSink, ignore
from mlhub_core.selection.filters import AssetFilter
from mlhub_core.selection.partition import Partition
from mlhub_core.selection.plan import Plan
from mlhub_core.settings import RunSettings
from mlhub_core.sources.base import DatasetInfo
from mlhub_core.steps import Run
from mlhub_core.sync.changes import Changes
from mlhub_core.threads import StopFlag
from mlhub_core.transfer.report import DownloadReport, PartitionResult
from mlhub_core.transfer.run import announce
from mlhub_core.transfer.workers import download_partitions

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to, for people to look at; no plan and no index where none was made."""

    info: DatasetInfo
    paths: DownloadPaths
    wanted: AssetFilter
    report: DownloadReport
    plan: Plan | None
    index: AssetIndex | None


class Runner(Protocol):
    """Runs the steps of a pipeline."""

    def __call__(
        self, step: Callable[Concatenate[Run, P], T], /, *values: P.args, **named: P.kwargs
    ) -> T:
        """Run a step, and wait for it."""

    def download(
        self,
        partitions: Sequence[Partition],
        paths: DownloadPaths,
        settings: RunSettings,
        if_exists: DownloadIfExistsOpts,
    ) -> tuple[PartitionResult, ...]:
        """Have the files of partitions, several at a time."""

    def showing(self, dataset_id: str) -> AbstractContextManager[None]:
        """Show how far the work on a dataset is, for the length of the block."""

    def show(self, outcome: Outcome) -> None:
        """Show what a run came to."""

    def show_changes(self, dataset_id: str, changes: Changes) -> None:
        """Show what a new catalog changed."""


class InProcess:
    """Runs the steps in this process.

    Args:
        api_key: As for :func:`~mlhub_core.session.get_session`.
        profile: As for :func:`~mlhub_core.session.get_session`.
        stop: Stops the run when set.
        on_progress: Gets the progress of all steps.
    """

    def __init__(
        self,
        *,
        api_key: str | None = None,
        profile: str | None = None,
        stop: StopFlag | None = None,
        on_progress: ProgressSink = ignore,
    ) -> None:
        ensure_handler()
        self._run = Run(StopFlag(parent=stop), on_progress, profile, lambda: api_key)

    def __call__(
        self, step: Callable[Concatenate[Run, P], T], /, *values: P.args, **named: P.kwargs
    ) -> T:
        """See :class:`Runner`."""
        return step(self._run, *values, **named)

    def download(
        self,
        partitions: Sequence[Partition],
        paths: DownloadPaths,
        settings: RunSettings,
        if_exists: DownloadIfExistsOpts,
    ) -> tuple[PartitionResult, ...]:
        """See :class:`Runner`."""
        if not partitions:
            return ()
        announce(partitions, self._run.on_progress)
        return download_partitions(
            partitions,
            paths,
            settings,
            if_exists=if_exists,
            stop=self._run.stop,
            on_progress=self._run.on_progress,
        )

    def showing(self, dataset_id: str) -> AbstractContextManager[None]:
        """See :class:`Runner`; whoever listens to the progress shows it."""
        return nullcontext()

    def show(self, outcome: Outcome) -> None:
        """See :class:`Runner`; whoever gets the report shows it."""

    def show_changes(self, dataset_id: str, changes: Changes) -> None:
        """See :class:`Runner`; the report has them."""
