"""Our transfer alone: a made plan, from the first partition to the last, in a process of its own.

It says what it took in its last line; start and imports, its own and those of the processes that
it runs partitions in, do not count, as they do not grow with the dataset. ``Dataset.download()`` is
measured with them.
"""

from __future__ import annotations

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pyarrow.parquet  # loaded before the clock starts

from benchmarks.memory import tree
from mlhub_core.layout import DownloadPaths
from mlhub_core.selection.partition import Partition, write_assets
from mlhub_core.settings import RunSettings, TransferSettings
from mlhub_core.transfer.dispatch import crew_for, download_partition
from mlhub_core.transfer.lock import directory_lock

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
    settings = RunSettings(transfer=transfer, workers=int(workers))
    with (
        directory_lock(paths),
        crew_for(partitions, paths, settings) as at_a_time,
        ThreadPoolExecutor(at_a_time) as pool,
    ):
        one = partial(download_partition, paths=paths, settings=settings.transfer)
        list(pool.map(one, [_nothing(paths)] * at_a_time))  # comes back when all have started
        started, cpu = time.perf_counter(), _cpu()
        results = list(pool.map(one, partitions))
        took = {"seconds": time.perf_counter() - started, "cpu": _cpu() - cpu}
    if failed := sum(result.failed for result in results):
        print(f"{failed} files failed")
        return 1
    print(json.dumps(took))
    return 0


def _nothing(paths: DownloadPaths) -> Partition:
    path = paths.plan_dir / "nothing.parquet"
    return Partition(0, 0, path, write_assets(path, []))


def _cpu() -> float:
    """Seconds of processor time of this process and of those that it has started."""
    ticks = 0
    for pid in tree(os.getpid()):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS


if __name__ == "__main__":
    sys.exit(main())
