"""Our unarchive and index, timed from where the libraries are loaded, as the reference client's.

Says in its last line what it took; the processes that it runs beside itself count from their start.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pyarrow.compute
import pyarrow.parquet  # noqa: F401 - loaded before the clock starts

import mlhub_core.catalog.extract
import mlhub_core.catalog.index
import mlhub_core.catalog.index_file
import mlhub_core.catalog.scan
import mlhub_core.catalog.standalone  # noqa: F401 - so are ours
from mlhub_core.catalog.processes import rare_collections
from mlhub_core.cli_index import index_archive


def main() -> None:
    """Index: ``python -m benchmarks.index_steps ARCHIVE OUTPUT both|index``."""
    archive, output, steps = sys.argv[1:]
    before, started = os.times(), time.perf_counter()
    with rare_collections():
        index_archive(Path(archive), Path(output), unarchive=steps == "both")
    seconds, after = time.perf_counter() - started, os.times()
    print(json.dumps({"seconds": seconds, "cpu": sum(after[:4]) - sum(before[:4])}))


if __name__ == "__main__":
    main()
