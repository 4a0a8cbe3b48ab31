"""Tidying up after earlier runs, finished or killed, before a new one starts."""

from __future__ import annotations

import logging

from mlhub_core.layout import DownloadPaths
from mlhub_core.transfer.ledger import compact
from mlhub_core.transfer.partials import sweep_partials

logger = logging.getLogger(__name__)


def tidy_state(paths: DownloadPaths) -> None:
    """Merge the ledger's segments and remove partial files that nothing can continue.

    Call it under the directory's lock while no partition runs.

    Raises:
        StorageError: if the disk refuses.
    """
    merged = compact(paths.ledger_dir)
    removed = sweep_partials(paths.partial_dir)
    if merged or removed:
        logger.debug("%d ledger entries merged, %d partial files removed", merged, removed)
