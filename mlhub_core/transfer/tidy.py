"""Tidying up: after earlier runs, finished or killed, and at the end of one that went well."""

from __future__ import annotations

import logging

from mlhub_core.exceptions import StorageError
from mlhub_core.layout import DownloadPaths
from mlhub_core.transfer.failures import recover_failures
from mlhub_core.transfer.ledger import check, compact
from mlhub_core.transfer.partials import sweep_partials

logger = logging.getLogger(__name__)


def tidy_state(paths: DownloadPaths) -> None:
    """Merge the segments of ledger and failures; remove partial files that nothing can continue.

    Call it under the directory's lock while no partition runs.

    Raises:
        StorageError: if the disk refuses.
    """
    check(paths.ledger_dir)
    merged = compact(paths.ledger_dir)
    recover_failures(paths.failures_dir, paths.err_report)
    removed = sweep_partials(paths.partial_dir)
    if merged or removed:
        logger.debug("%d ledger entries merged, %d partial files removed", merged, removed)


def tidy_ledger(paths: DownloadPaths) -> None:
    """Merge what a run has just written, which spares the next run the time.

    Call it under the directory's lock when no partition runs any more. A disk that refuses is no
    error of a run that has all its files: the segments are still there, and the next run says so.
    """
    try:
        compact(paths.ledger_dir)
    except StorageError as error:
        logger.debug("the ledger is left to the next run: %s", error)
