"""The plan: what a run will download, decided before the first byte, and cut into partitions.

A plan is immutable data. It can be printed, counted, saved and run later; the assets themselves
lie in its partition files.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlhub_core.exceptions import InvalidArgument
from mlhub_core.selection.partition import Partition

PLAN_NAME = "plan.json"
MAX_PARTITIONS = 64
"""More of them cost the orchestrator time and gain nothing."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to download.

    Attributes:
        dataset_id: The dataset.
        directory: Where ``plan.json`` and the partition files lie.
        partitions: The batches, of similar weight.
        files: Different files in all.
        items: Items that they belong to.
        known_bytes: Sum of the sizes that the catalog gives.
        unknown_sizes: Files whose size it does not give.
        funnel: ``(name, files)``: what was left after each filter, the whole dataset first.
        without_place: Items that a spatial filter left out because they have no place.
        without_time: Items that a temporal filter left out because they have no time.
    """

    dataset_id: str
    directory: Path
    partitions: tuple[Partition, ...]
    files: int
    items: int
    known_bytes: int
    unknown_sizes: int
    funnel: tuple[tuple[str, int], ...]
    without_place: int = 0
    without_time: int = 0

    def save(self) -> Path:
        """Write ``plan.json`` in one step.

        Returns:
            Its path.
        """
        path = self.directory / PLAN_NAME
        temporary = path.with_suffix(".tmp")
        text = json.dumps(asdict(self), default=str, indent=1)
        temporary.write_text(text, "utf-8")
        os.replace(temporary, path)
        return path

    @classmethod
    def load(cls, path: Path) -> Plan:
        """Read a saved plan.

        Raises:
            InvalidArgument: if the file is no plan.
        """
        try:
            fields: dict[str, Any] = json.loads(path.read_text("utf-8"))
            fields["directory"] = Path(fields["directory"])
            fields["partitions"] = tuple(
                Partition(**{**part, "path": Path(part["path"])}) for part in fields["partitions"]
            )
            fields["funnel"] = tuple((str(name), int(left)) for name, left in fields["funnel"])
            return cls(**fields)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InvalidArgument(f"{path} is not a saved plan ({error}).") from error

    def describe(self) -> list[str]:
        """What a person wants to know before it starts, a line each."""
        size = f"{format_bytes(self.known_bytes)} known"
        if self.unknown_sizes:
            size += f", {counted(self.unknown_sizes, 'file')} of unknown size"
        lines = [f"{counted(self.files, 'file')} of {counted(self.items, 'item')}, {size}"]
        lines += [f"  {left:>12,} files: {name}" for name, left in self.funnel]
        for count, what in ((self.without_place, "place"), (self.without_time, "time")):
            if count:
                lines.append(f"  left out without a {what}: {counted(count, 'item')}")
        return lines


def partition_count(files: int, workers: int) -> int:
    """How many partitions to cut: two for each worker, never more than files, or than 64."""
    return max(1, min(2 * workers, MAX_PARTITIONS, files))


def counted(count: int, noun: str) -> str:
    """A number with its noun: ``1 file``, ``1,200 files``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def format_bytes(count: int) -> str:
    """A number of bytes for people, in units of 1,000."""
    if count < 1000:
        return f"{count} B"
    value = float(count)
    for unit in ("kB", "MB", "GB", "TB"):
        value /= 1000
        if value < 999.95:
            return f"{value:.1f} {unit}"
    return f"{value / 1000:.1f} PB"
