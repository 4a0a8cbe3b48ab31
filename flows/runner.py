"""What both flows are: a pipeline of the core, its steps run as tasks, and what surrounds a run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Concatenate, ParamSpec, TypeVar

from prefect import get_run_logger, runtime, tags
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.exceptions import Pause
from prefect.states import Cancelled, Completed, Failed

from flows.api_client import API_ERRORS, brief_client, one_client, warn
from flows.approval import decided
from flows.artifacts import progress_artifact, show_changes, show_report
from flows.cancelling import stopping_when_told
from flows.directories import lasting
from flows.failing import sentence, tries_left
from flows.logs import core_lines_in_run_log, progress_lines_in_run_log
from flows.partitions import download_partitions
from mlhub_core.cli.hub import demo_hub
from mlhub_core.exceptions import Interrupted, MLHubException
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.options import DownloadOptions
from mlhub_core.paths import DownloadPaths
from mlhub_core.request import DownloadRequest
from mlhub_core.runner import Outcome, Runner
from mlhub_core.selection.partition import Partition
from mlhub_core.selection.plan import Plan
from mlhub_core.settings import RunSettings
from mlhub_core.steps import Run
from mlhub_core.sync.changes import Changes, SyncReport
from mlhub_core.transfer.report import DownloadReport, PartitionResult
from tasks.access import Access
from tasks.runtime import new_run
from tasks.steps import task_of

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R", DownloadReport, SyncReport)


class TaskRunner:
    """Runs the steps of a pipeline as task runs of the flow run that is on."""

    def __call__(
        self, step: Callable[Concatenate[Run, P], T], /, *values: P.args, **named: P.kwargs
    ) -> T:
        """Run a step as a task, and wait for it."""
        task: Any = task_of(step)
        found: T = task(*values, **named)
        return found

    def download(
        self,
        partitions: Sequence[Partition],
        paths: DownloadPaths,
        settings: RunSettings,
        if_exists: DownloadIfExistsOpts,
    ) -> tuple[PartitionResult, ...]:
        """Run a task for each partition."""
        return download_partitions(partitions, paths, settings, if_exists)

    @contextmanager
    def showing(self, dataset_id: str) -> Iterator[None]:
        """Show how far the run is in an artifact."""
        with tagged(dataset_id), progress_artifact(dataset_id):
            yield

    def show(self, outcome: Outcome) -> None:
        """Show in artifacts what the run came to."""
        show_report(
            outcome.info,
            outcome.report,
            outcome.paths,
            outcome.wanted,
            outcome.plan,
            outcome.index,
        )

    def show_changes(self, dataset_id: str, changes: Changes) -> None:
        """Show in an artifact what the catalog changed."""
        show_changes(dataset_id, changes)


@contextmanager
def tagged(dataset: str) -> Iterator[None]:
    """Tag the flow run that is on, and the task runs that are made within the block.

    Args:
        dataset: Id or DOI.
    """
    tag = f"dataset:{dataset}"
    _tag_flow_run(tag)
    with tags(tag):
        yield


def _tag_flow_run(tag: str) -> None:
    context = FlowRunContext.get()
    flow_run = context.flow_run if context else None
    if flow_run is None or tag in flow_run.tags:
        return
    try:
        with brief_client() as client:
            client.update_flow_run(flow_run.id, tags=[*flow_run.tags, tag])
    except API_ERRORS as error:
        warn(f"The flow run has no tag {tag}", error)
    else:
        flow_run.tags.append(tag)


def run_name(prefix: str = "") -> str:
    """What the flow run that is on is called: its dataset, and when it first began."""
    download = runtime.flow_run.parameters.get("download") or {}
    start = f"{prefix}{dict(download).get('dataset', 'dataset')} "
    name = runtime.flow_run.name or ""
    if name.startswith(f"{start}20"):
        return name  # it is retried, or resumed, and is the same run
    return f"{start}{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime())}"


def run_pipeline(
    download: DownloadOptions,
    pipeline: Callable[[DownloadRequest, Runner, Callable[[Plan], None]], R],
    message: Callable[[R], str],
) -> State[R]:
    """Run a pipeline as the flow run that is on.

    Args:
        download: What to download, where to, and how.
        pipeline: Which one, with what gets the plan as its last argument.
        message: What came of it in one sentence, by its report.

    Returns:
        The run's last state. One that failed as is to be expected says what to press.

    Raises:
        MLHubException: all that the steps raise, where Prefect then tries the run again.
        Interrupted: if it is stopped otherwise than by the dashboard.
        Pause: if it is suspended there.
    """
    try:
        return _run_pipeline(download, pipeline, message)
    except Interrupted:
        raise
    except MLHubException as error:
        if tries_left():
            raise  # Prefect waits, and runs it again
        return Failed(message=sentence(error), data=error)


def _run_pipeline(
    download: DownloadOptions,
    pipeline: Callable[[DownloadRequest, Runner, Callable[[Plan], None]], R],
    message: Callable[[R], str],
) -> State[R]:
    download.check_public()
    request = lasting(download).request()
    with (
        new_run(Access(download.profile, download.api_key_block)) as hooks,
        one_client(),
        core_lines_in_run_log(),
        progress_lines_in_run_log(hooks.progress),
        demo_hub() if download.demo else nullcontext(),
        tagged(request.dataset),
        stopping_when_told(hooks.stop) as told,
    ):
        try:
            report = pipeline(request, TaskRunner(), decided(download))
        except Interrupted as error:
            if told.suspended is not None:
                raise Pause(state=told.suspended) from error
            if not told.cancelled:
                raise
            return Cancelled(message=str(error))
    get_run_logger().info(report.summary())
    report.raise_for_failures(strict=request.strict)
    # The state's message says in one sentence what came of it; who calls gets its data.
    return Completed(message=message(report), data=report)
