"""Whether the local STAC that is there is of what is here: without what it takes to write one."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mlhub_core.exceptions import StorageError
from mlhub_core.paths import PRODUCTS_NAME, DownloadPaths
from mlhub_core.state import read_state
from mlhub_core.transfer.ledger import Entry, State, entries

_VERSION = 1
"""Raised when the same download gives another local STAC: older ones are then written anew."""


@dataclass(frozen=True, slots=True)
class LocalStac:
    """A local STAC.

    Attributes:
        catalog: Its root, ``catalog.json``.
        items: Items in it.
        without_time: Items that are here and left out, for they have no time, as STAC asks.
        reused: Whether it was there already.
    """

    catalog: Path
    items: int
    without_time: int = 0
    reused: bool = False


def noted_mode(paths: DownloadPaths) -> str:
    """How the local STAC was written last: ``copy`` or ``inplace``.

    Raises:
        StorageError: if our state cannot be read.
    """
    mode = (read_state(paths.state_dir / PRODUCTS_NAME) or {}).get("mode")
    return "inplace" if mode == "inplace" else "copy"


def current_stac(paths: DownloadPaths, found: str, mode: str) -> LocalStac | None:
    """The local STAC that is there, if it is of this state of what is here.

    Args:
        paths: The download.
        found: The :func:`digest` of it.
        mode: ``copy`` or ``inplace``.

    Raises:
        StorageError: if our state cannot be read.
    """
    state = read_state(paths.state_dir / PRODUCTS_NAME) or {}
    if state.get("digest") != found or state.get("mode", "copy") != mode:
        return None
    catalog = paths.asset_dir / str(state.get("stac")) / "catalog.json"
    table = paths.asset_dir / str(state.get("table"))
    if not (catalog.is_file() and table.is_file()):
        return None
    return LocalStac(catalog, state.get("items", 0), state.get("without_time", 0), reused=True)


def digest(paths: DownloadPaths) -> str:
    """What tells one state of what is here from the next, wherever it is moved.

    Raises:
        StorageError: if one cannot be read.
    """
    found = hashlib.sha256(f"{_VERSION}\n".encode())
    try:
        with paths.index.open("rb") as file:
            found.update(hashlib.file_digest(file, "sha256").digest())
    except OSError as error:
        raise StorageError(f"Cannot read {paths.index}: {error.strerror or error}.") from error
    root = str(paths.asset_dir)
    for entry in entries(paths.ledger_dir):
        if not is_here(root, entry):
            continue
        text = f"{entry.path}\n{entry.size}\n{entry.sha256}\n"
        found.update(text.encode("utf-8", "surrogatepass"))
    return found.hexdigest()


def is_here(root: str, entry: Entry) -> bool:
    """Whether a file is where the ledger says, and whole as far as its length tells."""
    if entry.state is State.DAMAGED:
        return False
    with suppress(OSError, ValueError):
        return os.stat(f"{root}/{entry.path}").st_size == entry.size
    return False
