"""Puts what the core says into the log of the flow run, where the Prefect UI shows it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from prefect import get_run_logger
from prefect.context import FlowRunContext, TaskRunContext
from prefect.logging.handlers import APILogHandler

from mlhub_core.display import PlainLines
from mlhub_core.progress import Broadcast
from mlhub_core.redact import redact


class RunLogHandler(APILogHandler):
    """Sends lines to the log of the run that they belong to.

    INFO and above: a line per request and file would make a database of millions of rows.
    """

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        # Lines of threads that belong to no run, such as the demo hub's, have no log to go to;
        # Prefect would warn on the console about each.
        self.addFilter(lambda _: bool(TaskRunContext.get() or FlowRunContext.get()))

    def format(self, record: logging.LogRecord) -> str:
        """The line without secrets. The core takes them out itself; what is stored stays stored."""
        return redact(super().format(record))


@contextmanager
def core_lines_in_run_log() -> Iterator[None]:
    """Send the lines of ``mlhub_core`` to the run's log for the length of the block.

    Prefect's own setting for that, ``PREFECT_LOGGING_EXTRA_LOGGERS``, would have to be made by
    everybody who runs the flow; where it has been made, nothing is added.
    """
    logger = logging.getLogger("mlhub_core")
    level = logger.level
    handler = None
    if not any(isinstance(other, APILogHandler) for other in logger.handlers):
        handler = RunLogHandler()
        logger.addHandler(handler)
    if level == logging.NOTSET:
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        if handler is not None:
            logger.removeHandler(handler)


@contextmanager
def progress_lines_in_run_log(progress: Broadcast) -> Iterator[None]:
    """Write the progress of a flow run into its log: a line a stage, and one each half minute."""
    log = get_run_logger()
    with PlainLines(log.info, interval=30.0) as lines, progress.listen(lines):
        yield
