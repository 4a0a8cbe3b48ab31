"""Unarchive and index, side by side with tar and the reference client, by turns.

    python -m benchmarks.index [--items 50002] [--runs 3] [--archive FILE]
    python -m benchmarks.index --items 1428574 --rival index --runs 1    # 10 million assets

All of it on tmpfs, our SQLite table left out. The times are those of the steps, without the start
of an interpreter and its imports, for the reference client and for ours alike; processes that ours
runs beside count from their start. ``tar`` is a whole process.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.catalogs import write_catalog
from benchmarks.figures import note
from benchmarks.manners import MANNERS
from benchmarks.memory import Peak
from benchmarks.rivals import compile_ours

_PROJECT = Path(__file__).resolve().parents[1]
_MEMORY = Path("/dev/shm")
_TITLES = {
    "tar": "`tar xzf`",
    "both": "ours, unarchive and index",
    "index": "ours, `--no-unarchive`",
    "reference": "radiant-mlhub 0.5.5, unarchive and list",
}


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of the clock and of the processors, and kilobytes of the whole tree at most."""

    seconds: float
    cpu: float
    peak: int


def measure(rival: str, archive: Path, dataset: str, work: Path, reference: Path) -> Cost:
    """Let a rival do it once, into an empty directory."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    if rival == "tar":
        command = ["tar", "xzf", str(archive), "-C", str(work)]
    elif rival == "reference":
        script = str(_PROJECT / "benchmarks" / "reference_list.py")
        command = [str(reference), script, str(archive), dataset, str(work)]
    else:
        command = [sys.executable, "-m", "benchmarks.index_steps", str(archive)]
        command += [str(work / "index.parquet"), rival]
    started = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=_PROJECT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    with Peak(process.pid) as peak:
        said = process.stdout.read().decode() if process.stdout else ""
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{rival} failed: {said}")
    if rival != "tar":
        own = json.loads(said.rstrip().rpartition("\n")[2])
        return Cost(own["seconds"], own["cpu"], peak.kilobytes)
    return Cost(seconds, usage.ru_utime + usage.ru_stime, peak.kilobytes)


def table(costs: dict[str, list[Cost]], assets: int) -> str:
    """All rivals, a row each, and the ratios that matter."""
    lines = [
        "| | seconds: min / median / max | CPU seconds | microseconds CPU per asset | memory |"
    ]
    lines.append("|---|---|---|---|---|")
    for rival, found in costs.items():
        walls = sorted(cost.seconds for cost in found)
        cpu = statistics.median(cost.cpu for cost in found)
        lines.append(
            f"| {_TITLES[rival]} | {walls[0]:.1f} / {statistics.median(walls):.1f} / "
            f"{walls[-1]:.1f} | {cpu:.1f} | {1e6 * cpu / assets:.1f} "
            f"| {max(cost.peak for cost in found) / 1000:,.0f} MB |"
        )
    lines.append("")
    for one, other in (("both", "tar"), ("reference", "both"), ("reference", "index")):
        if one in costs and other in costs:
            pairs = list(zip(costs[one], costs[other], strict=True))
            wall = statistics.median(a.seconds / b.seconds for a, b in pairs)
            cpu = statistics.median(a.cpu / b.cpu for a, b in pairs)
            lines.append(
                f"{_TITLES[one]} : {_TITLES[other]} = {wall:.2f} by the clock, {cpu:.2f} of CPU"
            )
    return "\n".join(lines)


def main() -> int:
    """Measure what the arguments say."""
    options = _parser().parse_args()
    compile_ours()
    reference = Path(options.reference)
    if not reference.exists():
        print("No reference client (scripts/reference_venv.py): the others run without it.")
    rivals = [rival for rival in options.rival or _TITLES if rival != "reference"]
    if reference.exists() and "reference" in (options.rival or _TITLES):
        rivals.append("reference")
    directory = options.directory or (_MEMORY if _MEMORY.is_dir() else None)
    with tempfile.TemporaryDirectory(dir=directory, prefix="mlhub-index-") as scratch:
        archive = options.archive
        dataset = "bigearthnet_v1" if options.manner == "bigearthnet" else "ref_landcovernet_af_v1"
        if archive is None:
            archive = Path(scratch) / f"{dataset}.tar.gz"
            written = write_catalog(archive, options.manner, options.items)
            print(f"{written.items:,} items, {written.assets:,} assets")
        work = Path(scratch) / "work"
        costs: dict[str, list[Cost]] = {rival: [] for rival in rivals}
        for _ in range(options.runs):
            for rival in rivals:
                costs[rival].append(measure(rival, archive, dataset, work, reference))
                print(f"{rival}: {costs[rival][-1]}", file=sys.stderr, flush=True)
        assets, size = _size_of_index(archive, dataset, work, reference)
        if options.keep is not None:
            shutil.move(work / "index.parquet", options.keep)
    print(table(costs, assets))
    print(f"\nThe index: {assets:,} assets, {size / assets:.1f} bytes each")
    found = {f"index: {name}": min(cost.cpu for cost in costs[name]) for name in costs}
    if "index" in costs:
        found["index: an asset"] = 1e6 * found["index: index"] / assets
    note(options.figures, found)
    return 0


def _size_of_index(archive: Path, dataset: str, work: Path, reference: Path) -> tuple[int, int]:
    import pyarrow.parquet as pq

    if not (work / "index.parquet").exists():
        measure("index", archive, dataset, work, reference)
    path = work / "index.parquet"
    return pq.read_metadata(path).num_rows, path.stat().st_size


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.index", description=__doc__)
    parser.add_argument("--archive", type=Path, help="this one instead of a generated one")
    parser.add_argument("--manner", choices=MANNERS, default="bigearthnet")
    parser.add_argument("--items", type=int, default=50_002, help="default: 50002")
    parser.add_argument("--runs", type=int, default=3, help="of each, by turns; default: 3")
    parser.add_argument("--rival", action="append", choices=_TITLES, help="only this one; repeat")
    parser.add_argument("--figures", type=Path, help="add the figures to this file")
    parser.add_argument("--keep", type=Path, help="keep the index under this name")
    parser.add_argument("--directory", help="where to work; default: /dev/shm where there is one")
    parser.add_argument(
        "--reference",
        default=str(_PROJECT / ".venv-reference" / "bin" / "python"),
        help="the Python that has radiant-mlhub",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
