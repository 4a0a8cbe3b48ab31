"""Our unarchive and index, timed from where the libraries are loaded, as the reference client's.

Says in its last line what it took.
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib import import_module
from pathlib import Path

from mlhub_core.datasets.indexes import index_source

_LIBRARIES = (
    "mlhub_core.sources.unarchive",
    "mlhub_core.index.build",
    "mlhub_core.sources.archive",
    "pyarrow.compute",
    "pyarrow.parquet",
)


def main() -> None:
    """Index: ``python -m benchmarks.index_steps ARCHIVE OUTPUT both|index``."""
    archive, output, steps = sys.argv[1:]
    for name in _LIBRARIES:
        import_module(name)
    before, started = os.times(), time.perf_counter()
    index_source(Path(archive), Path(output), unarchive=steps == "both")
    seconds, after = time.perf_counter() - started, os.times()
    print(json.dumps({"seconds": seconds, "cpu": sum(after[:4]) - sum(before[:4])}))


if __name__ == "__main__":
    main()
