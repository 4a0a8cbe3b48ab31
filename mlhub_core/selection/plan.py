"""The plan: what a run will download, decided before the first byte, and cut into partitions.

A plan is immutable data. It can be printed, counted, saved and run later; the assets themselves
lie in its partition files.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from mlhub_core.exceptions import InvalidArgument, MLHubException, StorageError
from mlhub_core.index.datetimes import moment_text
from mlhub_core.paths import DownloadPaths
from mlhub_core.selection.partition import Partition, read_assets
from mlhub_core.state import open_state

PLAN_NAME = "plan.json"
SHOWN_PATHS = 5
KEPT_PLANS = 10
"""So many plans of dry runs are kept for a dataset."""


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
        licenses: ``(id, licenses)`` of each collection that anything is taken of and that, or whose
            items, have one.
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
    licenses: tuple[tuple[str, tuple[str, ...]], ...] = ()
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

    @property
    def expected_bytes(self) -> int | None:
        """Known and estimated sizes in all; None where nothing tells."""
        if not self.unknown_sizes:
            return self.known_bytes
        estimated = self.estimated_bytes
        return None if estimated is None else self.known_bytes + estimated

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
            text = path.read_text("utf-8-sig")
            from pydantic import TypeAdapter  # here, because it takes long to import

            return TypeAdapter(Plan).validate_json(text)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            if hasattr(error, "errors"):  # pydantic's: a ValueError of many lines
                first = error.errors()[0]
                where = ".".join(map(str, first["loc"]))
                reason = f"{where}: {first['msg']}" if where else first["msg"]
            raise InvalidArgument(
                f"{path} is not a saved plan ({reason}): name a plan.json that --dry-run wrote."
            ) from error

    @property
    def is_everything(self) -> bool:
        """Whether every file of the dataset is in it."""
        return bool(self.funnel) and self.files == self.funnel[0][1]

    def __str__(self) -> str:
        """What a person wants to know: what is in it, and of what extent that is."""
        return "\n".join([*self.describe(), *self.extent()])

    def _repr_html_(self) -> str:
        """What a notebook shows; the map is read from the index, if that is here."""
        from mlhub_core.views.html import card, pairs, table

        licenses = dict(self.licenses)
        rows = [
            (name, count, " or ".join(licenses.get(name, ()))) for name, count in self.collections
        ]
        return card(
            f"Plan for {self.dataset_id}" if self.dataset_id else "What matches",
            pairs(
                [
                    ("Files", f"{self.files:,} of {counted(self.items, 'item')}"),
                    ("Size", self._size()),
                    ("Time", self.span and " to ".join(map(moment_text, self.span))),
                    ("Goes to", self.asset_output_dir),
                    ("Without a place", f"{self.without_place:,}" if self.without_place else None),
                    ("Without a time", f"{self.without_time:,}" if self.without_time else None),
                ]
            ),
            table(("collection", "items", "licence"), rows),
            table(("filter", "files left"), self.funnel),
            self._map(),
        )

    def _map(self) -> str:
        """Its map as HTML; nothing where its index is gone, or says nothing of places."""
        from mlhub_core.selection.footprints import count_footprints
        from mlhub_core.views.html import note, picture
        from mlhub_core.views.map import draw

        if self.asset_output_dir is None:
            return ""  # of a query, whose index has a place of its own
        index = DownloadPaths.of(self.dataset_id, self.output_dir, self.asset_output_dir).index
        try:
            prints = count_footprints(index, self.partitions, all_chosen=self.is_everything)
        except (MLHubException, OSError) as error:
            return note(f"No map: {error}")
        chosen = f"{counted(self.items, 'item')} selected"
        return picture(draw(prints, self.dataset_id, chosen, "all items"))

    def describe(self) -> list[str]:
        """What a person wants to know before it starts, a line each."""
        lines = [f"{counted(self.files, 'file')} of {counted(self.items, 'item')}, {self._size()}"]
        lines += [f"  {left:>12,} files: {name}" for name, left in self.funnel]
        for count, what in ((self.without_place, "place"), (self.without_time, "time")):
            if count:
                lines.append(f"  left out without a {what}: {counted(count, 'item')}")
        return lines

    def extent(self) -> list[str]:
        """Items by collection, time and place."""
        licenses = dict(self.licenses)
        lines = [
            f"  {name}: {counted(count, 'item')}"
            + (f", license {' or '.join(licenses[name])}" if name in licenses else "")
            for name, count in self.collections
        ]
        if self.span:
            lines.append("  from {} to {}".format(*map(moment_text, self.span)))
        if self.box:
            lines.append("  within " + ",".join(f"{side:g}" for side in self.box))
        return lines

    def details(self) -> list[str]:
        """More of what is in it: items by collection, time, place, the first paths."""
        lines = self.extent()
        first = (asset for part in self.partitions[:1] for asset in read_assets(part.path))
        paths = [asset.save_path for asset in islice(first, SHOWN_PATHS)]
        lines += [f"  {path}" for path in paths]
        if self.files > len(paths):
            lines.append(f"  … and {counted(self.files - len(paths), 'file')} more")
        free = shutil.disk_usage(self.directory).free
        lines.append(f"{format_bytes(free)} free in {self.asset_output_dir or self.directory}")
        return lines

    def _size(self) -> str:
        size = f"{format_bytes(self.known_bytes)} known"
        if self.unknown_sizes:
            estimated = self.estimated_bytes
            about = f", about {format_bytes(estimated)}" if estimated is not None else ""
            size += f", {counted(self.unknown_sizes, 'file')} of unknown size{about}"
        return size


# Plans that are there already


def seal(path: Path) -> tuple[int, int, str]:
    """What a file must still be: its size, time of change and SHA-256."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    status = path.stat()
    return status.st_size, status.st_mtime_ns, digest


def save_plan(plan: Plan) -> None:
    """Write ``plan.json`` of a plan that is kept, and let go of older ones beside it.

    Those go that cannot be run any more, because the catalog is another one by now, and of the
    others all but the newest.

    Raises:
        StorageError: if the disk refuses.
    """
    try:
        plan.save()
        usable = []
        for path in plan.directory.parent.iterdir():
            if path == plan.directory:
                continue
            saved = _saved_at(path / PLAN_NAME, plan.made_from.get("archive"))
            if saved is None:
                shutil.rmtree(path, ignore_errors=True)
            else:
                usable.append((saved, path))
        for _, path in sorted(usable, reverse=True)[KEPT_PLANS - 1 :]:
            shutil.rmtree(path, ignore_errors=True)
    except OSError as error:
        raise StorageError(f"{plan.path} cannot be written: {error.strerror or error}.") from error


def _saved_at(path: Path, archive: Any) -> int | None:
    """When a plan was saved; None if there is none that could be run with this archive."""
    try:
        made_from = Plan.load(path).made_from
        return path.stat().st_mtime_ns if made_from.get("archive") == archive else None
    except (InvalidArgument, OSError):
        return None


def reusable(path: Path, made_from: dict[str, Any]) -> Plan | None:
    """The plan that lies there, if the same would come out again and nobody has touched it."""
    try:
        plan = Plan.load(path)
        if plan.made_from != made_from or plan.directory != path.parent or not plan.partitions:
            return None
        for part, sealed in zip(plan.partitions, plan.seals, strict=True):
            if seal(part.path) != sealed:
                return None
    except (InvalidArgument, OSError, ValueError, TypeError):
        return None
    return plan


def load_saved(path: Path, dataset_id: str, archive: Any) -> Plan:
    """A saved plan, to be run as it is.

    Args:
        path: Its ``plan.json``; the partition files lie beside it.
        dataset_id: The dataset that is downloaded.
        archive: The identity of the catalog archive that is there now.

    Raises:
        InvalidArgument: if it is no plan, is about something else by now, or is not whole.
    """
    plan = Plan.load(path)
    anew = "make the plan anew with --dry-run"
    if plan.dataset_id != dataset_id:
        raise InvalidArgument(f"{path} is a plan for {plan.dataset_id}, not {dataset_id}: {anew}.")
    if plan.made_from.get("archive") != archive:
        raise InvalidArgument(
            f"{path} was made from another state of the catalog than the one that is here: {anew}."
        )
    # Beside it, wherever it has been moved to since.
    partitions = tuple(replace(part, path=path.parent / part.path.name) for part in plan.partitions)
    for part, sealed in zip(partitions, plan.seals, strict=False):
        try:
            found = seal(part.path)
        except OSError as error:
            raise InvalidArgument(
                f"{path} needs {part.path.name} beside it, which cannot be read "
                f"({error.strerror}): {anew}."
            ) from error
        if found[2] != sealed[2]:
            raise InvalidArgument(f"{part.path} is not what {path} was saved with: {anew}.")
    if len(plan.seals) != len(partitions):
        raise InvalidArgument(f"{path} does not say what its partitions were: {anew}.")
    return replace(plan, directory=path.parent, partitions=partitions)


# Words


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


def parse_bytes(text: str) -> int:
    """A number of bytes as people write it, in units of 1,000: ``10 GB``, ``500 kB``, ``1.5TB``.

    Raises:
        InvalidArgument: if it is none.
    """
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kKMGTP]?)B?\s*", text)
    if found is None:
        raise InvalidArgument(f"{text!r} is no size: write a number with its unit, such as 10 GB.")
    return int(float(found[1]) * 1000 ** " KMGTP".index(found[2].upper() or " "))
