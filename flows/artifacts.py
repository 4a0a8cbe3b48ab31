"""Puts what a run shows of itself into Prefect artifacts: progress, summary, tables, picture.

What they say is made in :mod:`mlhub_core.reports`; here they are sent. A dashboard is worth no
download: whatever goes wrong here is a warning in the log.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any
from uuid import UUID

import orjson
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.filters import ArtifactCollectionFilter, ArtifactCollectionFilterKey
from prefect.context import FlowRunContext
from prefect.exceptions import Pause

from flows.api_client import API_ERRORS, API_SECONDS, brief_client, reason, warn
from mlhub_core.display import Overview
from mlhub_core.exceptions import MLHubException
from mlhub_core.index.build import AssetIndex
from mlhub_core.paths import DownloadPaths
from mlhub_core.redact import redact
from mlhub_core.reports.summary import (
    failed_files,
    failure_rows,
    plain,
    plan_markdown,
    summary_markdown,
)
from mlhub_core.selection.filters import AssetFilter
from mlhub_core.selection.plan import Plan, counted
from mlhub_core.sources.base import DatasetInfo
from mlhub_core.sync.changes import Changes, first_changes
from mlhub_core.transfer.report import DownloadReport
from tasks.runtime import run_hooks

_EVERY_SECONDS = 3.0
"""Between two updates of the progress."""
_KEY = re.compile(r"[a-z0-9]+([-_][a-z0-9]+)*")
_LONGEST_KEY = 60
_FAILURES = 100
"""Rows of the table of files that could not be had."""
_CHANGES = 100
"""Rows of the table of what a new catalog changed."""


def artifact_key(dataset: str, what: str) -> str:
    """A key for an artifact: small letters, digits and dashes, another one for each dataset.

    Args:
        dataset: Id or DOI.
        what: What the artifact is; such a word itself.
    """
    slug = re.sub("[^a-z0-9]+", "-", dataset.lower()).strip("-")[:_LONGEST_KEY].strip("-")
    if not _KEY.fullmatch(dataset) or "-" in dataset or len(dataset) > _LONGEST_KEY:
        # Something was lost on the way: these digits keep two such datasets apart.
        slug = f"{slug or 'dataset'}-{hashlib.sha256(dataset.encode()).hexdigest()[:6]}"
    return f"{slug}-{what}"


@contextmanager
def progress_artifact(dataset: str) -> Iterator[None]:
    """Show the progress of the run that is on, for the length of the block.

    Args:
        dataset: Id of the dataset.
    """
    overview = Overview()
    ticker = _Ticker(artifact_key(dataset, "progress"), overview)
    with run_hooks() as hooks, hooks.progress.listen(overview):
        ticker.start()
        try:
            yield
        except Pause:
            ticker.end(
                overview.percent(), "**Suspended:** it goes on when somebody presses Resume."
            )
            raise
        except BaseException as error:
            ticker.end(overview.percent(), _ended_by(error))
            raise
        ticker.end(100.0, "**The run is over:** its summary tells what came of it.")


def show_report(
    info: DatasetInfo,
    report: DownloadReport,
    paths: DownloadPaths,
    wanted: AssetFilter,
    plan: Plan | None,
    index: AssetIndex | None,
) -> None:
    """Show what the run came to: a summary with a picture of the selection, a table of failures."""
    try:
        picture = _picture(info, index, plan) if plan and index else None
    except MLHubException as error:
        picture = None
        warn("There is no picture of the selection", error)
    page = summary_markdown(info, report, paths, wanted, plan, picture)
    try:
        with brief_client() as client:
            send = _Sender(client, info.id)
            send("markdown", "summary", page, "What was asked for, what came of it, and where.")
            _show_failures(client, send, report, paths)
    except (*API_ERRORS, MLHubException) as error:
        warn("The dashboard does not show all of what the run came to", error)


def _show_failures(
    client: SyncPrefectClient, send: _Sender, report: DownloadReport, paths: DownloadPaths
) -> None:
    """List the files that could not be had; an earlier list that holds no more is replaced.

    Whose list it is, its description tells: the same dataset may lie in several directories.
    """
    place = f"`{paths.err_report}`"
    if report.failed:
        text = f"{report.failed:,} files could not be had. All are listed in {place}."
        if report.failed > _FAILURES:
            text = f"The first {_FAILURES} of {text}"
        rows = [] if report.err_report is None else failed_files(report.err_report, _FAILURES)
        send("table", "failures", rows or failure_rows(report), text)
        return
    if report.catalog_only or paths.err_report.exists():
        return
    named = ArtifactCollectionFilterKey(any_=[artifact_key(report.dataset_id, "failures")])
    key = ArtifactCollectionFilter(key=named)
    for earlier in client.read_latest_artifacts(artifact_filter=key):
        if place in (earlier.description or "") and str(earlier.data) != "[]":
            send("table", "failures", [], f"No file fails any more: {place} is gone.")


def show_plan(plan: Plan, verdict: str) -> None:
    """Show what a run is going to fetch, before it does.

    Args:
        plan: The plan.
        verdict: What is to be decided, or was, as Markdown.
    """
    try:
        with brief_client() as client:
            send = _Sender(client, plan.dataset_id)
            send("markdown", "plan", plan_markdown(plan, verdict), "What the run would fetch.")
    except API_ERRORS as error:
        warn("The dashboard does not show the plan", error)


def show_changes(dataset: str, changes: Changes) -> None:
    """Show what a new catalog changed: the counts, and the first of the assets.

    Args:
        dataset: Id of the dataset.
        changes: What changed.
    """
    text = f"**{changes}**, of {changes.assets:,} assets now in the catalog."
    if changes.added + changes.changed + changes.removed > _CHANGES:
        text += f" These are the first {_CHANGES}; all of them are listed in `{changes.table}`."
    elif not changes.added + changes.changed + changes.removed:
        text += " The catalog was published anew, and every asset is as it was: the table is empty."
    try:
        with brief_client() as client:
            _Sender(client, dataset)(
                "table", "changes", first_changes(changes.table, _CHANGES), text
            )
    except (*API_ERRORS, MLHubException) as error:
        warn("The dashboard does not show what the catalog changed", error)


def _picture(info: DatasetInfo, index: AssetIndex, plan: Plan) -> str | None:
    """A URL that holds the picture: it leads to it from everywhere, and for as long as the page."""
    from mlhub_core.selection.footprints import count_footprints
    from mlhub_core.views.map import data_url, draw

    prints = count_footprints(index.path, plan.partitions, all_chosen=plan.is_everything)
    if prints is None:
        return None
    chosen, every = counted(plan.items, "item"), counted(index.items, "item")
    return data_url(draw(prints, info.title or info.id, f"{chosen} selected", f"{every} in all"))


class _Sender:
    """Makes artifacts of the flow run that is on."""

    def __init__(self, client: SyncPrefectClient, dataset: str) -> None:
        self._client = client
        self._dataset = dataset

    def __call__(self, kind: str, what: str, data: Any, description: str) -> None:
        self._client.create_artifact(
            ArtifactCreate(
                type=kind,
                key=artifact_key(self._dataset, what),
                description=redact(description),
                flow_run_id=_flow_run_id(),
                # A table travels as JSON text, as Prefect's own functions send it.
                data=data if isinstance(data, str) else orjson.dumps(data).decode(),
            )
        )


class _Ticker:
    """Sends progress now and then from a thread of its own, so that no transfer waits for it."""

    def __init__(self, key: str, overview: Overview) -> None:
        self._key = key
        self._overview = overview
        self._artifact_id: UUID | None = None
        self._said: tuple[float, str] | None = None
        self._last: tuple[float, str] | None = None
        self._warned = False
        self._ended = threading.Event()
        self._thread = threading.Thread(
            # In the context of the run: by that Prefect finds its API and its log.
            target=copy_context().run,
            args=(self._run,),
            name="mlhub-artifact",
            daemon=True,
        )

    def start(self) -> None:
        self._thread.start()

    def end(self, percent: float, text: str) -> None:
        """Send the last word and wait for it, though not for ever."""
        self._last = percent, text
        self._ended.set()
        self._thread.join(2 * API_SECONDS)

    def _run(self) -> None:
        while self._last is None:
            self._tell(self._overview.percent(), "")
            self._ended.wait(_EVERY_SECONDS)
        self._tell(*self._last)

    def _tell(self, percent: float, text: str) -> None:
        lines = [*self._overview.lines(), text] if text else self._overview.lines()
        said = percent, redact("\n".join(f"- {line}" for line in lines))
        if said == self._said:
            return
        try:
            self._send(*said)
        except API_ERRORS as error:
            if not self._warned:
                self._warned = True
                warn("The dashboard does not show how far the run is", error)
        else:
            self._said = said

    def _send(self, percent: float, description: str) -> None:
        with brief_client() as client:
            if self._artifact_id is not None:
                update = ArtifactUpdate(data=percent, description=description)
                client.update_artifact(self._artifact_id, update)
                return
            made = client.create_artifact(
                ArtifactCreate(
                    type="progress",
                    key=self._key,
                    description=description,
                    flow_run_id=_flow_run_id(),
                    data=percent,
                )
            )
            self._artifact_id = made.id


def _ended_by(error: BaseException) -> str:
    return f"**Ended early:** {plain(reason(error))}"


def _flow_run_id() -> UUID | None:
    context = FlowRunContext.get()
    return context.flow_run.id if context and context.flow_run else None
