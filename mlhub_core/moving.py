"""Moves a file into its place in one step, from another file system too."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from mlhub_core.state import open_state


def move_file(source: Path, target: Path) -> None:
    """Give a file its final name; whoever looks sees the old file there, or all of the new one.

    Where both lie on different file systems, as an output directory and one for assets may, it is
    copied under another name beside the target first.

    Args:
        source: The file; gone afterwards.
        target: Where it goes; replaced.

    Raises:
        OSError: if the disk refuses; the source is still there.
    """
    try:
        os.replace(source, target)
        return
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    beside = target.with_name(f".{target.name}.part")
    try:
        beside.unlink(missing_ok=True)  # of a run that was killed here; or a link, never followed
        with source.open("rb") as old, open_state(beside, "xb") as new:
            shutil.copyfileobj(old, new)
        shutil.copystat(source, beside)
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)
    source.unlink()
