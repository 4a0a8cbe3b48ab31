"""Our transfer alone: a made plan, from the first partition to the last, in a process of its own.

It says what it took in its last line; start and imports do not count, as they do not grow with the
dataset. ``Dataset.download()`` is measured with them.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pyarrow.parquet  # loaded before the clock starts

from mlhub_core.layout import DownloadPaths
from mlhub_core.selection.partition import Partition
from mlhub_core.settings import RunSettings, TransferSettings
from mlhub_core.transfer.governor import governor_for
from mlhub_core.transfer.run import download_partition


def main() -> int:
    """Transfer: ``python -m benchmarks.transfer DIR DATASET CONNECTIONS PARTITION…``."""
    target, dataset, connections, *listed = sys.argv[1:]
    paths = DownloadPaths.of(dataset, target)
    partitions = [
        Partition(number, len(listed), Path(path), pyarrow.parquet.read_metadata(path).num_rows)
        for number, path in enumerate(listed, 1)
    ]
    settings = TransferSettings(concurrency=int(connections))
    started, cpu = time.perf_counter(), time.process_time()
    one = partial(
        download_partition, paths=paths, settings=settings, governor=governor_for(settings)
    )
    with ThreadPoolExecutor(RunSettings().workers) as pool:
        results = list(pool.map(one, partitions))
    took = {"seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu}
    if failed := sum(result.failed for result in results):
        print(f"{failed} files failed")
        return 1
    print(json.dumps(took))
    return 0


if __name__ == "__main__":
    sys.exit(main())
