"""Puts a local STAC that is whole in its place: a directory of its own, or beside the files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from mlhub_core.exceptions import InvalidArgument, StorageError, storage_errors
from mlhub_core.paths import PRODUCT_FILES_NAME, DownloadPaths
from mlhub_core.state import open_state

_OLD = "stac.old"


def replace_file(path: Path, content: bytes) -> bool:
    """Write a file whole, or leave it where it says that already; whether it was written.

    Raises:
        StorageError: if the disk refuses.
    """
    part = path.with_name(path.name + ".part")
    with storage_errors(f"write {path}"):
        if path.is_file() and path.read_bytes() == content:
            return False
        with open_state(part, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    return True


class Swap:
    """Puts it into a directory of its own, by two renames.

    Args:
        paths: The download.
        directory: What that is called in the dataset's directory.
    """

    def __init__(self, paths: DownloadPaths, directory: str) -> None:
        self.directory = directory
        self._target = paths.asset_dir / directory
        self._old = paths.state_dir / _OLD

    def recover(self) -> None:
        """Put right what a kill between the two renames left."""
        if self._old.exists() and not self._target.exists():
            self._old.rename(self._target)
        shutil.rmtree(self._old, ignore_errors=True)

    def publish(self, part: Path) -> None:
        """Put a directory in the place of the old one."""
        if self._target.exists():
            self._target.rename(self._old)
        part.rename(self._target)
        shutil.rmtree(self._old, ignore_errors=True)


class InPlace:
    """Puts its documents beside the files, one by one, those first that others link to.

    Which of the files there are ours is on a list, written before the first of them.

    Args:
        paths: The download.
    """

    directory = ""

    def __init__(self, paths: DownloadPaths) -> None:
        self._root = paths.asset_dir
        self._listing = paths.state_dir / PRODUCT_FILES_NAME

    def recover(self) -> None:
        """Nothing: what a kill left is linked as before, and replaced by the next run."""

    def publish(self, part: Path) -> None:
        """Move the documents of a directory to their places, and remove those that are gone.

        Raises:
            StorageError: if something else lies in the place of one; nothing was moved then.
        """
        before, new = set(listed(self._listing)), _documents(part)
        for path in new:
            if path not in before and os.path.lexists(self._root / path):
                raise StorageError(_taken(self._root / path))
        self._note(sorted(before | set(new)))
        for path in new:
            (self._root / path).parent.mkdir(parents=True, exist_ok=True)
            os.replace(part / path, self._root / path)
        self._unlink(sorted(before - set(new)))
        self._note(new)

    def remove(self) -> None:
        """Remove all documents."""
        self._unlink(list(listed(self._listing)))
        self._listing.unlink(missing_ok=True)

    def _note(self, paths: list[str]) -> None:
        part = self._listing.with_name(self._listing.name + ".part")
        with open_state(part, "w") as file:
            file.writelines(f"{path}\n" for path in paths)
        os.replace(part, self._listing)

    def _unlink(self, paths: list[str]) -> None:
        for path in paths:
            (self._root / path).unlink(missing_ok=True)
            with suppress(OSError):  # files of the dataset lie there still
                (self._root / path).parent.rmdir()


def listed(listing: Path) -> Iterator[str]:
    """The documents that lie beside the files, relative to the dataset's directory."""
    with suppress(FileNotFoundError), open_state(listing) as lines:
        for line in lines:
            yield line.rstrip("\n")


def _documents(part: Path) -> list[str]:
    """The documents in a directory: of items, then of collections, then the root."""
    found = [
        os.path.relpath(os.path.join(directory, name), part)
        for directory, _, names in os.walk(part)
        for name in names
    ]
    return sorted(found, key=lambda path: (-path.count("/"), path))


def check_in_place(paths: DownloadPaths) -> None:
    """Check that a local STAC can lie beside the files, before any work: that no catalog does.

    Raises:
        InvalidArgument: if one does.
    """
    root = paths.asset_dir / "catalog.json"
    if os.path.lexists(root) and "catalog.json" not in set(
        listed(paths.state_dir / PRODUCT_FILES_NAME)
    ):
        raise InvalidArgument(_taken(root))


def _taken(path: Path) -> str:
    """Say that a document of the local STAC would replace a file that is not one."""
    return (
        f"{path} is not of our local STAC, such as a file of the catalog itself, and is not "
        "replaced: use --stac copy, or download with --no-unarchive into a new directory."
    )
