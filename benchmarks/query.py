"""Filters over a large index: ours, DuckDB and the reference client, by turns in one run.

Two questions: a box of about 1 % of the rows and a month of time, and a coast line of 10,000
corners. Ours writes a plan, DuckDB one Parquet file of the same columns; both may use two threads.
The reference client gets a smaller list, its own SQLite table, and counts per asset.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.figures import note
from benchmarks.query_data import coast, write_index
from benchmarks.query_rivals import COAST_VERTICES
from benchmarks.rivals import compile_ours

_MEMORY = Path("/dev/shm")
_PROJECT = Path(__file__).resolve().parents[1]
_REFERENCE_ROWS = 100_000
_QUESTIONS = {"box": "Box and month", "coast": f"Coast line of {COAST_VERTICES:,} corners"}
Costs = list[dict[str, Any]]


def main() -> None:
    """Measure what was asked for and print a table of each question."""
    options = _parser().parse_args()
    compile_ours()
    directory = options.directory or (_MEMORY if _MEMORY.is_dir() else None)
    with tempfile.TemporaryDirectory(dir=directory, prefix="mlhub-bench-") as scratch:
        work = Path(scratch)
        index = options.index or work / "index.parquet"
        rows = options.rows if options.index else write_index(index, options.rows)
        for question in options.question or _QUESTIONS:
            results: dict[str, Costs] = {"ours": [], "duckdb": []}
            for number in range(options.runs):
                for rival in results:
                    if rival == "ours" or number < options.duckdb_runs:
                        results[rival].append(
                            _rival(rival, index, question, work / f"{rival}{number}")
                        )
            print(_table(question, rows, results), flush=True)
            note(options.figures, {f"query: {question}": _ratio(results, "cpu")})
            if Path(options.reference).exists():
                print(
                    _beside_reference(question, rows, results["ours"], work, options.reference),
                    flush=True,
                )


def _rival(rival: str, index: Path, question: str, out: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.query_rivals", rival, index, question, out]
    done = subprocess.run(
        list(map(str, command)), check=False, capture_output=True, text=True, cwd=_PROJECT
    )
    if done.returncode:
        raise SystemExit(f"{rival} failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _table(question: str, rows: int, results: dict[str, Costs]) -> str:
    titles = {"ours": "ours, a plan", "duckdb": "DuckDB, one file"}
    lines = [f"### {_QUESTIONS[question]}, {rows:,} rows", ""]
    lines += [
        "| | files left | seconds: min / median / max | CPU | peak memory |",
        "|---|---|---|---|---|",
    ]
    for rival, costs in results.items():
        seconds = sorted(cost["seconds"] for cost in costs)
        lines.append(
            f"| {titles[rival]} | {costs[0]['files']:,} | {seconds[0]:.2f} / "
            f"{statistics.median(seconds):.2f} / {seconds[-1]:.2f} | "
            f"{statistics.median(cost['cpu'] for cost in costs):.2f} s | "
            f"{max(cost['peak'] for cost in costs):,.0f} MB |"
        )
    for what in ("seconds", "cpu"):
        lines.append(f"\nOurs takes {_ratio(results, what):.3f} x DuckDB's {what}.")
    return "\n".join(lines) + "\n"


def _ratio(results: dict[str, Costs], what: str) -> float:
    pairs = zip(results["ours"], results["duckdb"], strict=False)
    return float(statistics.median(ours[what] / theirs[what] for ours, theirs in pairs))


def _beside_reference(question: str, rows: int, costs: Costs, work: Path, python: str) -> str:
    from mlhub_core.selection.filters import AssetFilter
    from mlhub_core.selection.query import plan_assets

    small = work / "small.parquet"
    write_index(small, _REFERENCE_ROWS)
    plan_assets("bench", small, AssetFilter(), work / "small", asset_db=work / "assets.db")
    shape = work / "coast.json"
    shape.write_text(json.dumps(coast(COAST_VERTICES)))
    script = Path(__file__).with_name("query_reference.py")
    named = "box" if question == "box" else str(shape)
    done = subprocess.run(
        [python, str(script), str(work / "assets.db"), named],
        check=True,
        capture_output=True,
        text=True,
    )
    theirs = json.loads(done.stdout.splitlines()[-1])
    (work / "assets.db").unlink()
    own = statistics.median(cost["cpu"] for cost in costs) / rows * 1e6
    other = theirs["cpu"] / theirs["rows"] * 1e6
    return (
        f"radiant-mlhub's filter steps take {other:.2f} microseconds of CPU per asset "
        f"({theirs['rows']:,} assets), ours {own:.3f}: {other / own:,.0f} x.\n"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.query", description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--index", type=Path, help="one that benchmarks.query_data wrote already")
    parser.add_argument("--question", action="append", choices=_QUESTIONS, help="only this one")
    parser.add_argument("--runs", type=int, default=5, help="of ours, by turns; default: 5")
    parser.add_argument("--duckdb-runs", type=int, default=5, help="of DuckDB; default: 5")
    parser.add_argument("--figures", type=Path, help="add the ratios to this file")
    parser.add_argument("--directory", help="where to work; default: /dev/shm where there is one")
    parser.add_argument(
        "--reference",
        default=str(_PROJECT / ".venv-reference" / "bin" / "python"),
        help="the Python that has radiant-mlhub",
    )
    return parser


if __name__ == "__main__":
    main()
