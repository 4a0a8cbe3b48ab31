"""The local STAC and its table of a dataset of any size: time and memory of writing them.

    python -m benchmarks.local_stac --assets 1000000 --work /dev/shm/stac

A catalog is made and indexed, the ledger is told that all of it is here, and each file is a hard
link to one of a thousand. What is measured is a process of its own that writes the local STAC; then
another, which finds that there is nothing to do.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.catalogs import write_catalog
from benchmarks.figures import note
from benchmarks.memory import Peak
from mlhub_core.index.build import index_assets
from mlhub_core.net.body import digest_file
from mlhub_core.paths import DownloadPaths
from mlhub_core.sources.archive import CatalogArchive
from mlhub_core.threads import StopFlag
from mlhub_core.transfer.ledger import Entry, LedgerWriter, State, merge_journals
from mlhub_core.transfer.names import index_batches

_DATASET = "bigearthnet_v1"
_PER_ITEM = 7
_SOURCES = 1_000
_SIZE = 5


def prepare(work: Path, assets: int) -> int:
    """Make a download of so many assets; how many they are."""
    paths = DownloadPaths.of(_DATASET, work)
    paths.state_dir.mkdir(parents=True)
    write_catalog(paths.archive, "bigearthnet", max(2, assets // _PER_ITEM), level=1)
    sha256 = digest_file(str(paths.archive), ["sha256"], lambda: None)["sha256"]
    size = paths.archive.stat().st_size
    index = index_assets(CatalogArchive(paths.archive, _DATASET, size, sha256), paths)
    originals = [paths.state_dir / f"{number}" for number in range(_SOURCES)]
    for original in originals:
        original.write_bytes(b"0" * _SIZE)
    ledger, made, number = LedgerWriter(paths.ledger_dir, 0), set[str](), 0
    for (saved,) in index_batches(paths.index, ("save_path",), StopFlag()):
        for path in set(saved):
            place = paths.asset_dir / path
            parent = os.path.dirname(place)
            if parent not in made:
                os.makedirs(parent, exist_ok=True)
                made.add(parent)
            if not place.exists():
                os.link(originals[number % _SOURCES], place)
                entry = Entry(path, _SIZE, "0" * 64, None, None, "2", State.VERIFIED, 1.0)
                ledger.add(entry)
                number += 1
    ledger.close()
    merge_journals(paths.ledger_dir)
    return index.assets


def main() -> int:
    """Measure, and print a line a phase."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=int, default=100_000)
    parser.add_argument("--work", type=Path, required=True, help="a directory that is not there")
    parser.add_argument("--figures", type=Path, help="add the figures to this file")
    options = parser.parse_args()
    try:
        assets = prepare(options.work, options.assets)
        for phase in ("written", "unchanged"):
            started = time.monotonic()
            process = subprocess.Popen(
                [sys.executable, "-m", "mlhub_core", "stac", "-q", options.work / _DATASET],
                stdout=subprocess.PIPE,
                text=True,
            )
            with Peak(process.pid) as peak:
                told = process.communicate()[0]
            assert process.returncode == 0
            assert told.strip().endswith(phase)
            seconds = time.monotonic() - started
            note(options.figures, {f"local STAC: {phase}, MB": peak.kilobytes / 1e3})
            print(
                f"{assets:,} assets, {phase}: {seconds:.1f} s, {seconds / assets * 1e6:.0f} µs an "
                f"asset, peak {peak.kilobytes / 1e3:,.0f} MB"
            )
    finally:
        shutil.rmtree(options.work, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
