"""A static catalog, each answer late: how near a crawl comes to what its connections allow.

::

    python -m benchmarks.crawl --items 20000 --late 20

So many connections, each answered so many milliseconds late, allow so many documents a second.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from benchmarks.figures import note
from benchmarks.late_catalog import LateCatalog
from mlhub_core.index.build import index_assets
from mlhub_core.paths import DownloadPaths
from mlhub_core.settings import TransferSettings
from mlhub_core.sources import open_source
from mlhub_core.sources.base import SourceSpec


def main() -> None:
    """Crawl it twice and index it, and show what each took."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.crawl", description=__doc__)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--late", type=float, default=20.0, help="milliseconds")
    parser.add_argument("--figures", type=Path, help="add the figures to this file")
    given = parser.parse_args()
    with LateCatalog(given.items, given.late) as server, tempfile.TemporaryDirectory() as place:
        paths = DownloadPaths.of("late", place)
        source = open_source(SourceSpec(server.url, "static", "late"))
        for what in ("crawl, nothing is here", "crawl, all is as it was"):
            before, began, worked = server.requests, time.monotonic(), time.process_time()
            catalog = source.acquire(paths)
            seconds, cpu = time.monotonic() - began, time.process_time() - worked
            asked = server.requests - before
            limit = asked * given.late / 1000 / TransferSettings().concurrency
            print(
                f"{what}: {asked:,} documents in {seconds:.1f} s, {asked / seconds:,.0f} a second, "
                f"{cpu / asked * 1e6:.0f} us of CPU each; {limit / seconds:.2f} of the limit"
            )
            note(given.figures, {what: limit / seconds})
        began = time.monotonic()
        index = index_assets(catalog, paths)
        print(f"index: {index.assets:,} assets in {time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    main()
