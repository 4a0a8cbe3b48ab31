"""Everybody downloads the same files into the same tree, by turns.

Two nginx servers of our own, for the hub and for the files, serve a generated dataset from memory
(tmpfs) over the loopback interface, and the copies go to memory too. What counts is the ratio
within one run: the machine's own speed drifts.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from benchmarks.figures import note
from benchmarks.generate import HUB_RULES, generate
from benchmarks.nginx import Nginx, can_delay, is_there
from benchmarks.rivals import TITLES, Course, compile_ours, run
from benchmarks.shapes import SHAPES, Shape
from benchmarks.table import Results, figures, table, verdicts

_QUICK = 10
_MEMORY = Path("/dev/shm")
_PROJECT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Run the courses that were asked for and print a table of each."""
    options = _parser().parse_args()
    if not is_there():
        print("No nginx: nothing is measured. scripts/install_nginx.py says how to get it.")
        return 0
    reference = Path(options.reference)
    if not reference.exists():
        print("No reference client (scripts/reference_venv.py): the others run without it.")
    directory = options.directory or (_MEMORY if _MEMORY.is_dir() else None)
    compile_ours()
    for name in options.shape or SHAPES:
        shape = SHAPES[name].shrunk(options.divide or (_QUICK if options.quick else 1))
        if shape.delay and not can_delay():
            print(f"{name}: left out, there is no C compiler (cc) for the proxy that delays.")
            continue
        runs = options.runs or (2 if options.quick else 5)
        rivals = [
            rival
            for rival in options.rival or shape.rivals
            if rival in shape.rivals and (rival != "reference" or reference.exists())
        ]
        with tempfile.TemporaryDirectory(dir=directory, prefix="mlhub-bench-") as scratch:
            cold, text = _measure(Path(scratch), shape, rivals, runs, reference)
        print("\n" + text, flush=True)
        note(options.figures, figures(shape, cold))
    return 0


def _measure(
    work: Path, shape: Shape, rivals: list[str], runs: int, reference: Path
) -> tuple[Results, str]:
    """Let all run by turns: what they took into an empty directory, and all of it in words."""
    served_dir = work / "served"
    with (
        Nginx(work / "hub", served_dir / "api", rules=HUB_RULES) as hub,
        Nginx(work / "nginx", served_dir / "assets", tls=shape.tls, delay=shape.delay) as assets,
    ):
        # Elsewhere, because a child's peak of memory begins with that of who started it.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            served = pool.submit(generate, served_dir, shape, assets.url).result()
        course = Course(shape, served, hub, assets, work / "copies", reference)
        cold: Results = {rival: [] for rival in rivals}
        again: Results = {}
        missing: Results = {}
        for number in range(runs):
            for rival in rivals:
                _say(f"{shape.name}: {rival}, run {number + 1} of {runs}")
                cold[rival].append(run(rival, course))
                if shape.again and rival in ("ours", "reference"):
                    again.setdefault(rival, []).append(run(rival, course, anew=False))
                    _remove_some(course.target / rival)
                    missing.setdefault(rival, []).append(run(rival, course, anew=False))
                shutil.rmtree(course.target / rival)
        _say("")
    parts = [table(shape.title, cold, served), *verdicts(shape, cold)]
    if again:
        parts += [table("The same again, all there", again, served)]
        parts += verdicts(shape, again, again=True)
        parts += [table("The same again, 1 % of the files missing", missing, served)]
        parts += verdicts(shape, missing, again=True)
    return cold, "\n\n".join(parts)


def _remove_some(target: Path) -> None:
    """Remove every hundredth file."""
    for path in sorted(target.rglob("*.tif"))[::100]:
        path.unlink()


def _say(text: str) -> None:
    """A line on the terminal that the next one replaces; nothing in a file."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--shape", action="append", choices=SHAPES, help="only this one; repeat")
    parser.add_argument("--rival", action="append", choices=TITLES, help="only this one; repeat")
    parser.add_argument("--runs", type=int, help="of each, by turns; default: 5")
    parser.add_argument("--divide", type=int, metavar="N", help="an N-th of the files")
    parser.add_argument("--figures", type=Path, help="add the ratios to this file")
    parser.add_argument("--quick", action="store_true", help="a tenth of the files, two runs")
    parser.add_argument("--directory", help="where to work; default: /dev/shm where there is one")
    parser.add_argument(
        "--reference",
        default=str(_PROJECT / ".venv-reference" / "bin" / "python"),
        help="the Python that has radiant-mlhub",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
