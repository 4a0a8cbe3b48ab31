"""The plan: what a run will download, decided before the first byte, and cut into partitions.

A plan is immutable data. It can be printed, counted, saved and run later; the assets themselves
lie in its partition files.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from mlhub_core.exceptions import InvalidArgument
from mlhub_core.selection.partition import Partition, read_assets
from mlhub_core.state import open_state

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
        collections: ``(id, items)`` of each collection that anything is taken of.
        span: First and last moment of the items, in microseconds since 1970; None without any.
        box: West, south, east, north around the items; None without a place.
        made_from: What tells whether the same would come out again: the index, the filter and
            the number of workers.
        seals: For each partition file its size, time of change and SHA-256.
        output_dir: Where the run that it was made for has its archive and catalog.
        asset_output_dir: Where that has its assets.
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
    collections: tuple[tuple[str, int], ...] = ()
    span: tuple[int, int] | None = None
    box: tuple[float, float, float, float] | None = None
    made_from: dict[str, Any] = field(default_factory=dict)
    seals: tuple[tuple[int, int, str], ...] = ()
    output_dir: str | None = None
    asset_output_dir: str | None = None

    @property
    def path(self) -> Path:
        """Where it is saved."""
        return self.directory / PLAN_NAME

    @property
    def estimated_bytes(self) -> int | None:
        """What files of unknown size may take: as much as the others; None where nothing tells."""
        known = self.files - self.unknown_sizes
        return self.known_bytes * self.unknown_sizes // known if known else None

    def save(self) -> Path:
        """Write ``plan.json`` in one step.

        Returns:
            Its path.
        """
        path = self.directory / PLAN_NAME
        temporary = path.with_suffix(".tmp")
        text = json.dumps(asdict(self), default=str, indent=1)
        with open_state(temporary, "w") as file:
            file.write(text)
        os.replace(temporary, path)
        return path

    @classmethod
    def load(cls, path: Path) -> Plan:
        """Read a saved plan.

        Raises:
            InvalidArgument: if the file is no plan.
        """
        try:
            return _parse(path.read_text("utf-8-sig"))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise InvalidArgument(
                f"{path} is not a saved plan ({reason}): name a plan.json that --dry-run wrote."
            ) from error

    def describe(self) -> list[str]:
        """What a person wants to know before it starts, a line each."""
        lines = [f"{counted(self.files, 'file')} of {counted(self.items, 'item')}, {self._size()}"]
        lines += [f"  {left:>12,} files: {name}" for name, left in self.funnel]
        for count, what in ((self.without_place, "place"), (self.without_time, "time")):
            if count:
                lines.append(f"  left out without a {what}: {counted(count, 'item')}")
        return lines

    def details(self) -> list[str]:
        """More of what is in it: items by collection, time, place, the first paths."""
        lines = [f"  {name}: {counted(count, 'item')}" for name, count in self.collections]
        if self.span:
            lines.append("  from {} to {}".format(*map(moment_text, self.span)))
        if self.box:
            lines.append("  within " + ",".join(f"{side:g}" for side in self.box))
        paths = [asset.save_path for part in self.partitions[:1] for asset in _first(part)]
        lines += [f"  {path}" for path in paths]
        if self.files > len(paths):
            lines.append(f"  … and {counted(self.files - len(paths), 'file')} more")
        free = shutil.disk_usage(self.directory).free
        lines.append(f"{format_bytes(free)} free in {self.asset_output_dir or self.directory}")
        lines.append(f"saved as {self.path}")
        return lines

    def _size(self) -> str:
        size = f"{format_bytes(self.known_bytes)} known"
        if self.unknown_sizes:
            estimated = self.estimated_bytes
            about = f", about {format_bytes(estimated)}" if estimated is not None else ""
            size += f", {counted(self.unknown_sizes, 'file')} of unknown size{about}"
        return size


def _parse(data: str) -> Plan:
    """A plan out of JSON.

    Raises:
        ValueError: if something is missing, or of another type.
    """
    from pydantic import TypeAdapter, ValidationError  # here, because it takes long to import

    try:
        return TypeAdapter(Plan).validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{where}: {first['msg']}" if where else first["msg"]) from error


_SHOWN_PATHS = 5


def _first(partition: Partition) -> list[Any]:
    return list(islice(read_assets(partition.path), _SHOWN_PATHS))


def moment_text(moment: int) -> str:
    """Microseconds since 1970 as RFC 3339 writes them."""
    found = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=moment)
    return found.isoformat().replace("+00:00", "Z")


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
