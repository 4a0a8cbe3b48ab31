"""The rows of the asset index, and which of their files are here: a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from mlhub_core.paths import DownloadPaths
from mlhub_core.selection.index_reader import open_index
from mlhub_core.threads import StopFlag
from mlhub_core.transfer.ledger import Entry, LedgerReader

if TYPE_CHECKING:
    import pyarrow as pa


def scan_known(
    paths: DownloadPaths, columns: Sequence[str], stop: StopFlag | None = None
) -> Iterator[tuple[pa.RecordBatch, dict[str, Entry]]]:
    """Columns of the index, and what the ledger knows of the files of these rows.

    Args:
        paths: The download.
        columns: Names of columns, ``save_path`` among them.
        stop: Looked at between batches.

    Raises:
        InvalidArgument: if there is no index.
        StorageError: if index or ledger cannot be read.
        Interrupted: if ``stop`` is set.
    """
    with (
        open_index(paths.index, stop) as index,
        closing(LedgerReader(paths.ledger_dir)) as ledger,
    ):
        for _, batch in index.scan(list(columns)):
            if stop is not None:
                stop.check()
            yield batch, ledger.find(batch.column("save_path").unique().to_pylist())
