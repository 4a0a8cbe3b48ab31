"""What a product is: something that is made of a download, of the files that are here."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mlhub_core.exceptions import StorageError
from mlhub_core.paths import DownloadPaths
from mlhub_core.sources.base import Catalog
from mlhub_core.transfer.ledger import Entry, State, entries
from mlhub_core.work import Work


@dataclass(frozen=True, slots=True)
class Made:
    """A product that is there.

    Attributes:
        path: What to open.
        contents: What is in it, in words.
        reused: Whether it was there already, as it would be.
    """

    path: Path
    contents: str = ""
    reused: bool = False


class Product(Protocol):
    """A kind of product. Every run imports its module: what writing takes is imported by ``write``.

    ``mode`` is how it is written, one of those that it is listed with.
    """

    def check(self, mode: str, paths: DownloadPaths, *, unarchive: bool) -> None:
        """Check what is asked for before anybody is asked; the dataset has no name yet.

        Raises:
            InvalidArgument: if it cannot work.
        """

    def check_place(self, mode: str, paths: DownloadPaths) -> None:
        """Check that there is a place for it, before any work.

        Raises:
            InvalidArgument: if something else lies there.
        """

    def last_mode(self, paths: DownloadPaths) -> str | None:
        """How it was written last; None if it never was.

        Raises:
            StorageError: if our state cannot be read.
        """

    def write(
        self,
        paths: DownloadPaths,
        catalog: Catalog | None,
        mode: str,
        work: Work,
    ) -> Made | None:
        """Write it, if what is there is not what it would be.

        Args:
            paths: The download, its lock held and its journals merged.
            catalog: What describes it; None for the one that is here.
            mode: How.
            work: Caps on what is read of the catalog, what ends it early, who gets the progress.

        Returns:
            None where it cannot be made any more, which has been said.

        Raises:
            CatalogError: if the catalog cannot be read.
            StorageError: if the disk refuses, or something else lies in its place.
            Interrupted: if ``stop`` is set.
        """


def digest(paths: DownloadPaths, version: int) -> str:
    """What tells one state of what is here from the next, wherever it is moved.

    Args:
        paths: The download.
        version: Raised when the same download gives another product: older ones are then written
            anew.

    Raises:
        StorageError: if one cannot be read.
    """
    found = hashlib.sha256(f"{version}\n".encode())
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


def product_name(paths: DownloadPaths, name: str, ours: object) -> str:
    """What a product is called in the dataset's directory: another name where its own is taken.

    Args:
        paths: The download.
        name: Its name, one of ``paths.PRODUCT_NAMES``.
        ours: What it was called when it was last written, if it was.

    Raises:
        StorageError: if both names are taken.
    """
    for candidate in (name, f"_{name}"):
        if candidate == ours or not os.path.lexists(paths.asset_dir / candidate):
            return candidate
    raise StorageError(
        f"{paths.asset_dir / name} is not ours, so {name} cannot be written there: move it "
        "elsewhere, or leave the local STAC out (--stac none)."
    )
