"""Our transfer alone: a made plan, from the first partition to the last, in a process of its own.

It says what it took in its last line; its own start and imports do not count, as they do not grow
with the dataset. ``Dataset.download()`` is measured with them.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pyarrow.parquet  # loaded before the clock starts

from benchmarks.memory import tree
from mlhub_core.paths import DownloadPaths
from mlhub_core.selection.partition import Partition
from mlhub_core.settings import RunSettings, TransferSettings
from mlhub_core.state import directory_lock
from mlhub_core.transfer.workers import download_partitions

_TICKS = os.sysconf("SC_CLK_TCK")


def main() -> int:
    """Transfer: ``python -m benchmarks.transfer DIR DATASET CONNECTIONS WORKERS PARTITION…``."""
    target, dataset, connections, workers, *listed = sys.argv[1:]
    paths = DownloadPaths.of(dataset, target)
    partitions = []
    for number, path in enumerate(listed, 1):
        rows = pyarrow.parquet.read_metadata(path).num_rows
        partitions.append(Partition(number, len(listed), Path(path), rows, unknown_sizes=rows))
    transfer = TransferSettings(concurrency=int(connections))
    settings = RunSettings(transfer=transfer, workers=int(workers), processes_from=0)
    with directory_lock(paths):
        started, cpu = time.perf_counter(), _cpu()
        results = download_partitions(partitions, paths, settings)
        took = {"seconds": time.perf_counter() - started, "cpu": _cpu() - cpu}
    if failed := sum(result.failed for result in results):
        print(f"{failed} files failed")
        return 1
    print(json.dumps(took))
    return 0


def _cpu() -> float:
    """Seconds of processor time of this process and of those that it has started."""
    ticks = 0
    for pid in tree(os.getpid()):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(map(int, fields[11:15]))  # with its children that have ended
    return ticks / _TICKS


if __name__ == "__main__":
    sys.exit(main())
