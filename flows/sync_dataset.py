"""The flow ``sync-dataset``: the pipeline of a sync, its steps as tasks.

``python -m flows.sync_dataset`` runs it ad hoc, deployments every night; ``mlhub sync`` does the
same without Prefect.
"""

from __future__ import annotations

if __name__ == "__main__":
    # Importing Prefect takes seconds: arguments are read, and a first line printed, before that.
    from flows.command import SYNC, run_and_exit

    run_and_exit(SYNC)

from collections.abc import Callable
from functools import partial

from prefect import flow

from flows.runner import run_name, run_pipeline
from mlhub_core import pipeline
from mlhub_core.options import DownloadOptions
from mlhub_core.reports.summary import outcome
from mlhub_core.request import DownloadRequest
from mlhub_core.runner import Runner
from mlhub_core.selection.plan import Plan
from mlhub_core.sync.changes import SyncReport


@flow(name="sync-dataset", flow_run_name=partial(run_name, "sync "), persist_result=False)
def sync_dataset(download: DownloadOptions, prune: bool = False) -> SyncReport:
    """Make a download what the catalog says today: fetch what is new or different.

    Args:
        download: What to have, where, and how. The first time all of it is fetched.
        prune: Whether files that the catalog no longer has are moved into .mlhub/trash.

    Returns:
        What was done.

    Raises:
        DownloadIncomplete: if some assets could not be had; all others are on disk.
        MLHubException: all that the steps raise.
    """

    def run(
        request: DownloadRequest, runner: Runner, on_plan: Callable[[Plan], None]
    ) -> SyncReport:
        return pipeline.sync(request, runner, prune=prune, on_plan=on_plan)

    return run_pipeline(download, run, _message)  # type: ignore[return-value]


def _message(report: SyncReport) -> str:
    if report.download is None:
        return "The catalog has not changed, and everything is here: nothing was done."
    changes = f"In the catalog: {report.changes}. " if report.changes else ""
    return changes + outcome(report.download)
