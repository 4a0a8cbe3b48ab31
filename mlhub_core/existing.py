"""A download that is there already, found by the directory of its dataset."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mlhub_core.exceptions import InvalidArgument
from mlhub_core.index.build import STATE_NAME
from mlhub_core.layout import STATE_DIRECTORY, DownloadPaths, safe_name, user_path
from mlhub_core.sources.unarchive import MARKER_NAME
from mlhub_core.state import check_state_files, read_state

_SIGNS = ("ledger", STATE_NAME, MARKER_NAME)
"""What only a download of a dataset leaves in ``.mlhub``; the client's archives make one too."""


def existing_download(directory: str | Path) -> DownloadPaths:
    """All paths of the download that lies in a directory.

    Where the catalog is comes from what the download wrote down, relative to its own place: both
    can have been moved together since.

    Args:
        directory: The directory of a dataset, in which ``.mlhub`` lies.

    Raises:
        InvalidArgument: if it is none, or was renamed.
        StorageError: if its state cannot be read, or is not plain files.
    """
    if not str(directory):
        raise InvalidArgument("directory is empty: name the directory of a dataset.")
    root = Path(os.path.abspath(user_path(directory)))
    state = root / STATE_DIRECTORY
    check_state_files(root)
    if not _is_download(root):
        raise InvalidArgument(
            f"{root} is not the directory of a downloaded dataset (it has no {STATE_DIRECTORY} "
            f"with a ledger): name that directory{_suggestions(root)}."
        )
    dataset_id = _dataset_id(state) or root.name
    if safe_name(dataset_id) != root.name:
        raise InvalidArgument(
            f"{root} holds the dataset {dataset_id} but is not named {safe_name(dataset_id)}: "
            "give it that name again, below any directory you like."
        )
    return DownloadPaths(_output_dir(root, state), root.parent, dataset_id)


def _is_download(root: Path) -> bool:
    return any((root / STATE_DIRECTORY / sign).exists() for sign in _SIGNS)


def _suggestions(root: Path) -> str:
    try:
        found = sorted(path.name for path in root.iterdir() if _is_download(path))
    except OSError:  # the error names the directory, which says enough
        return ""
    return f", such as {root / found[0]}" if found else ", which `mlhub download` made"


def _dataset_id(state: Path) -> str | None:
    archive: Any = (read_state(state / STATE_NAME) or {}).get("archive")
    found = archive.get("dataset_id") if isinstance(archive, dict) else None
    return found if isinstance(found, str) and found else None


def _output_dir(root: Path, state: Path) -> Path:
    written = (read_state(state / MARKER_NAME) or {}).get("directory")
    if isinstance(written, str):
        catalog = Path(os.path.normpath(state / written))
        if catalog.name == root.name:
            return catalog.parent
    # A catalog that stays in its archive is in no directory; where the archive is, the index knows.
    written = (read_state(state / STATE_NAME) or {}).get("output_dir")
    return Path(os.path.normpath(state / written)) if isinstance(written, str) else root.parent
