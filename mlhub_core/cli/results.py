"""What a command came to, on standard output: a few lines, JSON, or nothing."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol

from mlhub_core.console import echo, show, show_json

if TYPE_CHECKING:
    from mlhub_core.selection.plan import Plan

_OF_THE_FILE = ("partitions", "seals", "made_from", "directory")
"""What of a plan its file is for."""


class Report(Protocol):
    """What a run came to: a dataclass that says so in words, too."""

    def summary(self) -> str:
        """A few lines for people."""

    def shortcomings(self) -> list[str]:
        """What is less than was asked for: told on standard error where all else is quiet."""


def show_report(given: argparse.Namespace, report: Report) -> None:
    """Write what a run came to, in the way that the command line asks for.

    Args:
        given: What the parser has read; ``quiet`` and ``json`` of it.
        report: What it came to.
    """
    if given.json:
        show_json(report_json(report))
    elif not given.quiet:
        show(*report.summary().split("\n"))
    if given.json or given.quiet:
        for line in report.shortcomings():
            echo(line)


def show_plan(given: argparse.Namespace, plan: Plan) -> None:
    """Write the plan of a dry run; the last line is its path, with which it is downloaded.

    Args:
        given: What the parser has read; ``quiet`` and ``json`` of it.
        plan: The plan.
    """
    if given.json:
        show_json(plan_json(plan))
        return
    if not given.quiet:
        show(*plan.describe(), *plan.details())
        show("Nothing was fetched. This is what `mlhub download --plan FILE` would, FILE being")
    show(str(plan.path))


def report_json(report: Any) -> dict[str, Any]:
    """A report as what JSON has: its fields by their names; paths are texts, enums their values."""
    return {name: _plain(value) for name, value in asdict(report).items()}


def plan_json(plan: Plan) -> dict[str, Any]:
    """A plan as what JSON has, without what only its file is for."""
    fields = {name: value for name, value in asdict(plan).items() if name not in _OF_THE_FILE}
    return {
        **{name: _plain(value) for name, value in fields.items()},
        "estimated_bytes": plan.estimated_bytes,
        "path": str(plan.path),
    }


def _plain(value: Any) -> Any:
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
