"""Figures that a benchmark leaves in a file, a JSON object a line, for the table of floors."""

from __future__ import annotations

import json
from pathlib import Path

Figures = dict[str, float]
"""Figures by name."""


def note(file: Path | None, figures: Figures) -> None:
    """Add figures to a file; None for nowhere."""
    if file is not None:
        with file.open("a") as out:
            out.write(json.dumps(figures) + "\n")


def noted(file: Path) -> Figures:
    """The figures in a file; of the same name the last one."""
    found: Figures = {}
    if file.exists():
        for line in file.read_text().splitlines():
            found |= json.loads(line)
    return found
