"""The results as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from benchmarks.figures import Figures
from benchmarks.generate import Served
from benchmarks.rivals import TITLES, Cost
from benchmarks.shapes import Shape

Results = dict[str, list[Cost]]
"""The costs of all runs, by rival."""

_HEAD = (
    "| | assets/s: min / median / max | MB/s | CPU per asset | peak memory | requests per asset "
    "| connections per asset |\n|---|---|---|---|---|---|---|"
)


def table(title: str, results: Results, served: Served) -> str:
    """All rivals in one course, a row each.

    Args:
        title: Its heading.
        results: What they took.
        served: What was downloaded.
    """
    lines = [f"### {title}", "", _HEAD]
    for name, costs in results.items():
        rates = sorted(served.files / cost.seconds for cost in costs)
        middle = statistics.median(rates)
        per_asset = [1000 * cost.cpu / served.files for cost in costs]
        lines.append(
            f"| {TITLES[name]} | {rates[0]:,.0f} / {middle:,.0f} / {rates[-1]:,.0f} "
            f"| {middle * served.size / served.files / 1e6:,.0f} "
            f"| {statistics.median(per_asset):.3f} ms "
            f"| {max(cost.peak for cost in costs) / 1000:,.0f} MB "
            f"| {_each([cost.requests for cost in costs], served)} "
            f"| {_each([cost.connections for cost in costs], served)} |"
        )
    return "\n".join(lines)


def ratio(results: Results, one: str, other: str) -> float:
    """How many times as fast one is as the other: the median over the turns."""
    pairs = zip(results[one], results[other], strict=True)
    return statistics.median(theirs.seconds / ours.seconds for ours, theirs in pairs)


def verdicts(shape: Shape, results: Results, *, again: bool = False) -> list[str]:
    """The ratios that matter, a line each."""
    lines = []
    if "ours" in results and "reference" in results:
        what = "as fast as radiant-mlhub's" if again else "as fast as radiant-mlhub"
        lines.append(f"`Dataset.download()` is {ratio(results, 'ours', 'reference'):.1f} x {what}.")
    for rival in ("ours", "transfer", "transfer-2"):
        for curl in ("curl", "curl-2"):
            if rival in results and curl in results:
                lines.append(
                    f"{TITLES[rival]} is {ratio(results, rival, curl):.2f} x as fast as "
                    f"{TITLES[curl]}, {shape.connections} connections."
                )
    return lines


def figures(shape: Shape, results: Results) -> Figures:
    """How many times as fast ours are as others, by name, for the table of floors."""
    return {
        f"{shape.name}: {one} / {other}": ratio(results, one, other)
        for one in ("ours", "transfer", "transfer-2")
        for other in ("curl", "reference")
        if one in results and other in results
    }


def _each(counts: Sequence[int], served: Served) -> str:
    middle = statistics.median(counts) / served.files
    return f"{middle:.3f}" if middle else "0"
