"""Plans that are there already: whether one may be used again, and running one that was saved."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlhub_core.exceptions import InvalidArgument, StorageError
from mlhub_core.selection.plan import PLAN_NAME, Plan

KEPT_PLANS = 10
"""So many plans of dry runs are kept for a dataset."""

_READ_BYTES = 1 << 20


def seal(path: Path) -> tuple[int, int, str]:
    """What a file must still be: its size, time of change and SHA-256."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(_READ_BYTES):
            digest.update(part)
    status = path.stat()
    return status.st_size, status.st_mtime_ns, digest.hexdigest()


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
