"""What each process of a flow run holds in memory at most, over an index of any size.

The whole command ``python -m flows.download_dataset``, with the Prefect server that it starts for
itself, over a generated catalog in the manner of BigEarthNet (seven assets an item), the catalog
left in its archive: once from nothing, index and all, and once more with another filter, by when
the index is there. Each filter leaves the assets of some items, one each.

    python -m benchmarks.flow_memory --items 1428574 --archive catalog.tar.gz
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.catalogs import write_catalog
from benchmarks.manners import HOST
from benchmarks.memory import Processes
from benchmarks.nginx import Nginx, is_there

DATASET = "bigearthnet_v1"
SOURCE = f"{DATASET}_source"
_MEMORY = Path("/dev/shm")
_PROJECT = Path(__file__).resolve().parents[1]
_LIMIT = 1_000_000
"""Kilobytes that no process may go beyond."""
_SIZES = {"B02": 2 * 120**2 + 504, "B11": 2 * 60**2 + 504}
"""Bytes of the file of a band, as the catalog has it; one file is served for all patches."""
_BY_BAND = r"rewrite _(B[0-9A]+)\.tif$ /$1.tif break;"
_NAMES = {
    "flows.download_dataset": "the flow",
    "server_process.py": "the Prefect server",
    "mlhub_core.transfer.workers": "a process that fetches",
    "mlhub_core.index": "a process that reads the archive",
    "mlhub_core.sources": "a process that unarchives it",
}


def main() -> int:
    """Measure, and print a table of each run; 1 if a process went beyond the limit."""
    options = _parser().parse_args()
    if not is_there():
        print("No nginx: nothing is measured. scripts/install_nginx.py says how to get it.")
        return 0
    directory = options.directory or (_MEMORY if _MEMORY.is_dir() else None)
    with tempfile.TemporaryDirectory(prefix="mlhub-bench-", dir=directory) as scratch:
        work = Path(scratch)
        archive = options.archive or work / "catalog.tar.gz"
        if options.archive is None:
            write_catalog(archive, "bigearthnet", options.items)
        _serve(work, archive)
        with (
            Nginx(work / "hub", work / "api") as hub,
            Nginx(work / "nginx", work / "bands", rules=_BY_BAND) as assets,
        ):
            return max(
                _run(work, hub, assets, options.selected, title, band, words)
                for title, band, words in (
                    ("From nothing", "B02", ["--bbox=-11,35,31,70", "--datetime=2017/2018"]),
                    ("Another filter, the index there", "B11", ["--datetime=2017-07/2018-04"]),
                )
            )


def _serve(work: Path, archive: Path) -> None:
    """Lay out what the two servers answer."""
    api = work / "api" / "mlhub" / "v1"
    for folder in ("datasets", "collections", "catalog"):
        (api / folder).mkdir(parents=True)
    listed = [{"id": SOURCE, "types": ["source_imagery"]}]
    dataset = {"id": DATASET, "title": "Patches", "collections": listed}
    (api / "datasets" / DATASET).write_text(json.dumps(dataset))
    (api / "collections" / SOURCE).write_text(json.dumps({"id": SOURCE, "license": "CC0-1.0"}))
    (api / "catalog" / DATASET).symlink_to(archive.absolute())
    (work / "bands").mkdir()
    for band, size in _SIZES.items():
        (work / "bands" / f"{band}.tif").write_bytes(band.encode() * (size // 3))


def _run(
    work: Path, hub: Nginx, assets: Nginx, selected: int, title: str, band: str, filters: list[str]
) -> int:
    words = [DATASET, "--output-dir", str(work / "out"), "--quiet", "--no-unarchive"]
    words += ["--no-asset-db", f"--collection={SOURCE}={band}", f"--limit={selected}", *filters]
    words.append(f"--mirror={HOST}/={assets.url}/")
    environment = {
        **{name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"},
        "MLHUB_ROOT_URL": f"{hub.url}/mlhub/v1/",
        "MLHUB_API_KEY": "none",
        "PREFECT_HOME": str(work / "prefect"),
        "PYTHONPATH": str(_PROJECT),
    }
    started = time.perf_counter()
    with (
        subprocess.Popen(
            [sys.executable, "-m", "flows.download_dataset", *words],
            cwd=work,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process,
        Processes(process.pid, _NAMES) as processes,
    ):
        said = process.communicate()[0]
    seconds = time.perf_counter() - started
    if process.returncode:
        raise SystemExit(f"The flow failed ({process.returncode}):\n{said[-2000:]}")
    files = sum(1 for _ in (work / "out" / DATASET / SOURCE).glob(f"*/{band}.tif"))
    print(_table(f"{title}: {files:,} files in {seconds:.0f} s", processes.peaks), flush=True)
    return int(max(processes.peaks.values()) > _LIMIT)


def _table(title: str, peaks: dict[str, int]) -> str:
    lines = [f"### {title}", "", "| | peak memory |", "|---|---|"]
    ordered = sorted(peaks.items(), key=lambda pair: -pair[1])
    lines += [f"| {name} | {peak / 1000:,.0f} MB |" for name, peak in ordered]
    verdict = "none" if max(peaks.values()) <= _LIMIT else "**one or more**"
    return "\n".join([*lines, "", f"Above {_LIMIT / 1000:,.0f} MB: {verdict}.", ""])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.flow_memory",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--items", type=int, default=1_428_574, help="of the catalog to make")
    parser.add_argument("--archive", type=Path, help="one that benchmarks.catalogs made already")
    parser.add_argument("--selected", type=int, default=1000, help="assets left; default: 1000")
    parser.add_argument("--directory", help="where to work; default: /dev/shm where there is one")
    return parser


if __name__ == "__main__":
    sys.exit(main())
