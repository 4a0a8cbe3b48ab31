"""The flow ``download-dataset``: the pipeline of a download, its steps as tasks.

``python -m flows.download_dataset`` runs it ad hoc; deployments run it on a schedule.
"""

from __future__ import annotations

if __name__ == "__main__":
    # Importing Prefect takes seconds: arguments are read, and a first line printed, before that.
    from flows.command import run_and_exit

    run_and_exit()

from collections.abc import Callable

from prefect import flow

from flows.runner import run_name, run_pipeline
from mlhub_core import pipeline
from mlhub_core.options import DownloadOptions
from mlhub_core.reports.summary import outcome
from mlhub_core.request import DownloadRequest
from mlhub_core.runner import Runner
from mlhub_core.selection.plan import Plan
from mlhub_core.transfer.report import DownloadReport


@flow(name="download-dataset", flow_run_name=run_name, persist_result=False)
def download_dataset(download: DownloadOptions) -> DownloadReport:
    """Download a dataset, or the part of it that matches, verified and resumable.

    Args:
        download: What to download, where to, and how.

    Returns:
        What was done.

    Raises:
        DownloadIncomplete: if some assets could not be had; all others are on disk.
        MLHubException: all that the steps raise.
    """
    return run_pipeline(download, _pipeline, outcome)  # type: ignore[return-value]


def _pipeline(
    request: DownloadRequest, runner: Runner, on_plan: Callable[[Plan], None]
) -> DownloadReport:
    return pipeline.download(request, runner, on_plan=on_plan)
