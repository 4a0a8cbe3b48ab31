"""All that docs/performance.md tells of, in one run of about a quarter of an hour: ``make bench``.

    python -m benchmarks.floors [--quick] [--only NAME]

Each part is a program of its own, whose tables are printed as they come; at the end stands the
table of floors: what is to be reached, and what was. A part that fails is named, and the others
go on.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Figures, noted

_PROJECT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Part:
    """A program of the benchmarks.

    Attributes:
        module: Its module.
        words: Its arguments.
        quick: Further arguments that let it run through in seconds, its figures worth nothing.
    """

    module: str
    words: str
    quick: str = ""


_TRANSFER = "--runs 3 --rival ours --rival transfer --rival curl --shape"
PARTS = {
    "start": Part("start", "", "--runs 2"),
    "small": Part(
        "__main__", "--shape small --runs 2 --rival ours --rival reference", "--divide 50"
    ),
    "https-0": Part("__main__", f"{_TRANSFER} https-0-32", "--divide 50"),
    "https-20": Part("__main__", f"{_TRANSFER} https-20-32", "--divide 50"),
    "https-50": Part("__main__", f"{_TRANSFER} https-50-128", "--divide 50"),
    "long": Part("__main__", "--runs 1 --shape https-50-60k", "--divide 500"),
    "large": Part(
        "__main__",
        "--runs 3 --rival transfer --rival transfer-2 --rival curl --shape https-0-large",
        "--divide 10",
    ),
    "crawl": Part("crawl", "", "--items 200"),
    "index": Part(
        "index", "--runs 1 --directory . --rival tar --rival both --rival index", "--items 500"
    ),
    "query": Part("query", "--rows 1000000 --question box", "--rows 300000 --runs 1"),
    "stac": Part("local_stac", "--assets 100000 --work {scratch}/stac", "--assets 2000"),
}
"""In the order in which they run."""


@dataclass(frozen=True, slots=True)
class Floor:
    """A row of the table.

    Attributes:
        what: In words.
        figure: Which figure it is about.
        bound: What is to be reached.
        unit: What follows the number.
        at_most: Whether less is better.
    """

    what: str
    figure: str
    bound: float
    unit: str = "of `curl`"
    at_most: bool = False

    def row(self, figures: Figures) -> str:
        """The row; what was not measured says so."""
        found = figures.get(self.figure)
        reached = "not measured"
        if found is not None:
            good = found <= self.bound if self.at_most else found >= self.bound
            reached = f"{found:.3g} {self.unit}"
            reached = f"**{reached}**" if good else reached
        sign = "≤" if self.at_most else "≥"
        return f"| {self.what} | {sign} {self.bound:g} {self.unit} | {reached} |"


_SMALL = "6,000 small files over HTTPS, {} ms away, {} connections: transfer"
FLOORS = (
    Floor(_SMALL.format(0, 32), "https-0-32: transfer / curl", 0.75),
    Floor(_SMALL.format(20, 32), "https-20-32: transfer / curl", 0.95),
    Floor(_SMALL.format(50, 128), "https-50-128: transfer / curl", 0.9),
    Floor("`Dataset.download()` of them, 0 ms", "https-0-32: ours / curl", 0.9),
    Floor("… 20 ms", "https-20-32: ours / curl", 0.9),
    Floor("… 50 ms", "https-50-128: ours / curl", 0.9),
    Floor("… of 60,000, 50 ms", "https-50-60k: ours / curl", 0.9),
    Floor("16 MB files, 0 ms, one process", "https-0-large: transfer / curl", 0.95),
    Floor("… two processes", "https-0-large: transfer-2 / curl", 0.95),
    Floor(
        "`Dataset.download()` of 6,000 small files over HTTP",
        "small: ours / reference",
        10,
        "x radiant-mlhub",
    ),
    Floor(
        "a static catalog of 20,000 items, 20 ms away",
        "crawl, nothing is here",
        0.8,
        "of what 32 connections allow",
    ),
    Floor("… asked by ETag", "crawl, all is as it was", 0.8, "of what 32 connections allow"),
    Floor("an asset indexed, seven an item", "index: an asset", 40, "µs of CPU", at_most=True),
    Floor("a box and a month, a million assets", "query: box", 1.5, "x DuckDB's CPU", at_most=True),
    Floor(
        "a local STAC of 100,000 assets: memory",
        "local STAC: written, MB",
        1000,
        "MB",
        at_most=True,
    ),
    Floor("`import mlhub_core`", "start: import", 0.3, "s", at_most=True),
    Floor("`mlhub --help`", "start: help", 0.5, "s", at_most=True),
    Floor("the first word of a command", "start: first word", 1, "s", at_most=True),
)


def main() -> int:
    """Run all parts, or those that are named; 1 if one of them fails."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.floors", description=__doc__)
    parser.add_argument("--only", action="append", choices=PARTS, help="only this part; repeat")
    parser.add_argument("--quick", action="store_true", help="see that all runs; figures are none")
    options = parser.parse_args()
    failed = []
    with tempfile.TemporaryDirectory(prefix="mlhub-floors-") as scratch:
        file = Path(scratch) / "figures"
        for name in options.only or PARTS:
            started = time.monotonic()
            print(f"\n## {name}\n", flush=True)
            if _run(PARTS[name], file, scratch, quick=options.quick):
                failed.append(name)
            print(f"\n({name}: {time.monotonic() - started:.0f} s)", flush=True)
        figures = noted(file)
    print("\n## Floors\n\n| | to reach | reached |\n|---|---|---|")
    print("\n".join(floor.row(figures) for floor in FLOORS))
    if failed:
        print(f"\nFailed: {', '.join(failed)}; what they said stands above.")
    return 1 if failed else 0


def _run(part: Part, file: Path, scratch: str, *, quick: bool) -> int:
    """Run a part; its exit status."""
    words = f"{part.words} {part.quick if quick else ''}".format(scratch=scratch).split()
    command = [sys.executable, "-m", f"benchmarks.{part.module}", *words, "--figures", str(file)]
    return subprocess.run(command, cwd=_PROJECT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
