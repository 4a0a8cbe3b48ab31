"""A local directory as a store of final files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mlhub_core.exceptions import StorageError, storage_error, storage_errors
from mlhub_core.paths import OUR_NAMES, STATE_DIRECTORY

_REMEMBERED = 5_000
"""Directories known to exist, before the memory of them is dropped: files of one directory come one
after the other, as a rule."""
_DEEP = 16
"""Levels of directories from which on a directory is listed at once: each that is read bit by bit
holds a descriptor, of which there are not many."""
_USUAL = re.compile(r"(?:[^./\\\0][^/\\\0]*/)*[^./\\\0][^/\\\0]*")
"""Save paths of which no part is empty or begins with a dot, as are nearly all."""


class FileStat(NamedTuple):
    """What lies at a final place.

    Attributes:
        size: Bytes.
        mtime: When it was last written, seconds since 1970.
    """

    size: int
    mtime: float


def is_safe(save_path: str) -> bool:
    """Whether a save path stays below the directory it is relative to, and out of our state."""
    if _USUAL.fullmatch(save_path):
        return True
    parts = save_path.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\x00" in save_path:
        return False
    return parts[0].casefold() != STATE_DIRECTORY and "\\" not in save_path


class LocalStore:
    """A directory as a store: parents are made when needed, none by a link out of it.

    Args:
        root: The dataset's asset directory.
    """

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._real = os.path.realpath(root)
        self._made: set[str] = set()
        self._gone = ""
        """A directory that somebody removed, and that was made again."""

    def path(self, save_path: str) -> str:
        """The final place of an asset."""
        return f"{self._root}/{save_path}"

    def stat(self, save_path: str) -> FileStat | None:
        """What lies at a final place, None where nothing does.

        Raises:
            StorageError: if the disk refuses.
        """
        path = self.path(save_path)
        try:
            found = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise storage_error(f"look at {path}", error) from error
        return FileStat(found.st_size, found.st_mtime)

    def put(self, source: str, save_path: str) -> None:
        """Rename a finished file into its final place.

        Raises:
            StorageError: if the disk refuses, or the directory leads out of the root by a link.
        """
        path = self.prepare(save_path)
        try:
            os.replace(source, path)
        except FileNotFoundError:
            self._put_again(source, save_path)
        except OSError as error:
            raise storage_error(f"write {path}", error) from error

    def _put_again(self, source: str, save_path: str) -> None:
        """Somebody removed the directory; make it again, unless it is all gone."""
        self._made.clear()
        with storage_errors(f"write {self.path(save_path)}"):
            os.stat(source)
            os.replace(source, self.prepare(save_path))
        self._gone = os.path.dirname(self.path(save_path))

    def prepare(self, save_path: str) -> str:
        """Make the directory of a final place.

        Returns:
            The final place.

        Raises:
            StorageError: if the disk refuses, or the directory leads out of the root by a link.
        """
        path = self.path(save_path)
        directory = path.rpartition("/")[0]
        if directory in self._made:
            return path
        with storage_errors(f"make the directory {directory}"):
            inside = self._make_anew(directory) or self._make(directory)
        if not inside:
            raise StorageError(
                f"{directory} leads out of {self._root} by a symbolic link, which is not followed: "
                "put a directory in its place, or name another output directory (which may itself "
                "be a link)."
            )
        if len(self._made) >= _REMEMBERED:
            self.check_still_there()
            self._made.clear()
        self._made.add(directory)
        return path

    def _make_anew(self, directory: str) -> bool:
        """Make a directory that was not there, in one that is known: no link can be on its way."""
        if directory.rpartition("/")[0] not in self._made:
            return False
        try:
            os.mkdir(directory)
        except (FileExistsError, FileNotFoundError):
            return False
        return True

    def _make(self, directory: str) -> bool:
        """Make a directory with its parents, where need be; whether it lies inside."""
        os.makedirs(directory, exist_ok=True)
        parent = directory.rpartition("/")[0]
        if self._is_inside(os.path.realpath(parent)):
            self._made.add(parent)
        return self._is_inside(os.path.realpath(directory))

    def leads_out(self, save_path: str) -> bool:
        """Whether what lies at a final place lies elsewhere, by a symbolic link."""
        return not self._is_inside(os.path.realpath(self.path(save_path)))

    def _is_inside(self, real: str) -> bool:
        return real == self._real or real.startswith(self._real + os.sep)

    def check_still_there(self) -> None:
        """Check that the directories that files were put into are there, with those files.

        Raises:
            StorageError: if somebody has removed one.
        """
        gone = next((one for one in self._made if not os.path.isdir(one)), self._gone)
        if gone:
            raise StorageError(
                f"{gone} was removed while this ran: what was fetched into it before is gone with "
                "it. The same command fetches it again."
            )

    def list(self) -> Iterator[str]:
        """Paths of all files but our own, relative to the root.

        Directories without files, and links to directories, are passed over.

        Raises:
            StorageError: if the disk refuses.
        """
        return self._walk("", 0)

    def _walk(self, directory: str, depth: int) -> Iterator[str]:
        # A directory is read on only when what it holds so far has been walked: a collection has as
        # many directories as items, and they are not to be held in memory.
        with (
            storage_errors(f"look into {self._root}/{directory}"),
            os.scandir(f"{self._root}/{directory}") as found,
        ):
            for entry in found if depth < _DEEP else list(found):
                path = directory + entry.name
                if path in OUR_NAMES:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    yield from self._walk(path + "/", depth + 1)
                elif not entry.is_dir():
                    yield path
