"""How a run ends that failed as is to be expected: some files failed, nothing matches, no dataset.

Such a run is Failed with a sentence that says what to press, and where its summary is. A traceback
says nothing about it; those of other errors, which are bugs, stay in the log.
"""

from __future__ import annotations

import logging

from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext
from prefect.settings import PREFECT_UI_URL

from mlhub_core.exceptions import DownloadIncomplete, InvalidArgument, MLHubException
from mlhub_core.http_errors import EntityDoesNotExist
from mlhub_core.redact import redact

_COMMANDS = (
    "; run the same command again",
    "; the same command goes on",
    ": `mlhub datasets list`",
)
"""What a message says of commands begins with one of these: in a dashboard nothing is typed."""


class WithoutTraceback(logging.Filter):
    """Takes the traceback out of lines about errors of ours: their message says it all."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let a line pass, shortened, or not, if the state of the run says the same."""
        if str(record.msg).startswith("Task run failed with state: "):
            return False
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, MLHubException):
            if record.name == "prefect.engine":
                return False
            record.exc_info, record.exc_text = None, None
            record.msg, record.args = f"{type(error).__name__}: {redact(error)}", ()
        return True


for name in ("prefect.flow_runs", "prefect.task_runs", "prefect.engine"):
    # At once, and for the process: Prefect writes those lines when our code has been left.
    logging.getLogger(name).addFilter(WithoutTraceback())


def tries_left() -> bool:
    """Whether Prefect tries the run that is on again by itself if it fails."""
    flow_run = _flow_run()
    if flow_run is None:
        return False
    return flow_run.run_count <= (flow_run.empirical_policy.retries or 0)


def sentence(error: MLHubException) -> str:
    """What the state of a run says that failed by such an error.

    Args:
        error: Why.
    """
    if isinstance(error, DownloadIncomplete):
        press = "Press Retry: only what is missing is asked for."
    elif isinstance(error, InvalidArgument | EntityDoesNotExist):
        press = 'Change the parameters: press "Copy to new run" in the menu beside Retry.'
    else:
        press = "Press Retry when that is mended: what is here is not fetched again."
    text = _without_commands(redact(error))
    return " ".join([f"{type(error).__name__}: {text}", press, *_link()])


def _without_commands(text: str) -> str:
    """The message up to where it tells of commands."""
    cut = min((found for part in _COMMANDS if (found := text.find(part)) > 0), default=-1)
    return text if cut < 0 else text[:cut] + "."


def _link() -> list[str]:
    """Where the artifacts of the run are, if there is a UI that shows them."""
    flow_run, ui = _flow_run(), PREFECT_UI_URL.value()
    if flow_run is None or not ui:
        return []
    return [f"Its summary: {str(ui).rstrip('/')}/runs/flow-run/{flow_run.id}?tab=Artifacts"]


def _flow_run() -> FlowRun | None:
    context = FlowRunContext.get()
    return context.flow_run if context else None
