"""Is there room on the disk for what a plan will fetch? Asked before the first byte."""

from __future__ import annotations

import errno
import logging
import os
import shutil

from mlhub_core.exceptions import StorageError
from mlhub_core.paths import DownloadPaths
from mlhub_core.selection.partition import Asset, read_assets
from mlhub_core.selection.plan import Plan, format_bytes
from mlhub_core.threads import StopFlag

log = logging.getLogger(__name__)

_CHECK_EVERY = 1_000
"""Files looked at between two looks at the stop flag."""


def check_space(plan: Plan, paths: DownloadPaths, *, stop: StopFlag | None = None) -> None:
    """Compare the free space with what the plan's files will take beyond what is here already.

    Only sizes that the catalog gives count, so passing proves nothing, and failing much. The files
    are looked at one by one only where the whole plan would not fit.

    Args:
        plan: What will be fetched.
        paths: Where to; the asset directory exists.
        stop: Looked at now and then.

    Raises:
        StorageError: if there is not enough; says how much is needed and how much is free.
        Interrupted: if stopped.
    """
    try:
        usage = shutil.disk_usage(paths.asset_dir)
    except OSError as error:
        log.debug("free space of %s is not known: %s", paths.asset_dir, error)
        return
    # Some file systems in user space know no size at all.
    if not usage.total or plan.known_bytes <= usage.free:
        return
    needed = _missing_bytes(plan, paths, stop or StopFlag())
    if needed <= usage.free:
        return
    unknown = f" and {plan.unknown_sizes:,} files of unknown size" if plan.unknown_sizes else ""
    told = StorageError(
        f"Not enough room in {paths.asset_dir}: {format_bytes(needed)}{unknown} are to come, "
        f"{format_bytes(usage.free)} are free. Make room, narrow the filters, name another "
        "directory with --asset-output-dir, or go on regardless with --ignore-space."
    )
    told.errno = errno.ENOSPC
    raise told


def _missing_bytes(plan: Plan, paths: DownloadPaths, stop: StopFlag) -> int:
    """What the plan's files will take beyond what lies in their places and among the partials."""
    root = str(paths.asset_dir)
    missing = 0
    for partition in plan.partitions:
        for number, asset in enumerate(read_assets(partition.path)):
            if number % _CHECK_EVERY == 0:
                stop.check()
            missing += _still_to_come(root, asset)
    return max(0, missing - _in_partials(paths))


def _still_to_come(root: str, asset: Asset) -> int:
    if not asset.file_size:
        return 0
    try:
        here = os.stat(f"{root}/{asset.save_path}").st_size
    except (OSError, ValueError):
        here = 0
    return max(0, asset.file_size - here)


def _in_partials(paths: DownloadPaths) -> int:
    try:
        with os.scandir(paths.partial_dir) as listed:
            return sum(entry.stat().st_size for entry in listed)
    except OSError:  # there are none, or one has just gone
        return 0
