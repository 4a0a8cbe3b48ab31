"""Writes files below one directory, with few system calls and never outside of it.

Files are written straight under their final names: whoever uses this keeps a marker that is
written last, and without which nothing that lies here is believed unread. That saves a rename a
file, and a half-written file is found by comparing.
"""

from __future__ import annotations

import errno
import os
import stat
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable
from contextlib import suppress
from enum import Enum
from pathlib import Path

from mlhub_core.exceptions import StorageError, storage_error, storage_errors
from mlhub_core.paths import case_key

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
_CREATE |= getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_READ |= getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)  # a pipe must not block us
_NAME_REFUSED = frozenset({errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ})

_LATEST = 250_000
"""Paths kept as a set, which takes 60 bytes each, before they are put in order."""


class Outcome(Enum):
    """What became of one file."""

    WRITTEN = "written"
    KEPT = "it was there, the same"
    REPLACED = "it replaces an earlier member that lands on the same file"
    NAME_REFUSED = "the file system refuses its name"
    IN_THE_WAY = "another member has its name, or that of one of its directories"


class Tree:
    """The directory that files are written to.

    Args:
        root: The directory; made if need be.
        within: Symbolic links met below ``root`` must not lead out of here. ``root`` itself may be
            one, to anywhere: it is the user's.

    Raises:
        StorageError: if the disk refuses.
    """

    def __init__(self, root: Path, within: Path) -> None:
        self._root = str(root)
        self._within = os.path.realpath(within), os.path.realpath(root)
        self._directories: set[str] = set()
        self._written = _Paths(case_key)
        self._new = _Paths(str)
        """Those of them that were not there before; and directories that were not."""
        self._made: list[str] = []
        with storage_errors(f"write {self._root}"):
            os.makedirs(within, exist_ok=True)
            self._make_directory("")

    def put(self, path: str, pieces: Iterable[bytes], same_as: bytes | None = None) -> Outcome:
        """Write a file.

        Args:
            path: Safe, relative to the root.
            pieces: Its data.
            same_as: Leave a file alone that has this content already; None replaces what is there.

        Raises:
            StorageError: if the disk refuses.
        """
        full = f"{self._root}/{path}"
        try:
            outcome, descriptor = self._open(path, full, same_as)
            if descriptor is None:
                return outcome
            _write_whole(descriptor, full, pieces)
        except StorageError:
            raise
        except OSError as error:
            if error.errno in _NAME_REFUSED:
                return Outcome.NAME_REFUSED
            if isinstance(error, FileExistsError | NotADirectoryError) and self._ours(path):
                return Outcome.IN_THE_WAY
            raise storage_error(f"write {full}", error) from error
        self._written.add(path)
        return outcome

    def _open(self, path: str, full: str, same_as: bytes | None) -> tuple[Outcome, int | None]:
        """Open a file to be written; no descriptor where it is not to be."""
        parent = path.rpartition("/")[0]
        if parent not in self._directories:
            self._make_directory(parent)
        try:
            descriptor = os.open(full, _CREATE, 0o666)
        except FileExistsError:
            pass
        else:
            self._new.add(path)
            return Outcome.WRITTEN, descriptor
        if path in self._directories:
            return Outcome.IN_THE_WAY, None
        if same_as is not None and _same_content(full, same_as):
            self._written.add(path)
            return Outcome.KEPT, None
        outcome = Outcome.REPLACED if path in self._written else Outcome.WRITTEN
        # Unlinked, not emptied: the same inode may have other names by now, such as that of a
        # downloaded asset.
        os.unlink(full)
        return outcome, os.open(full, _CREATE, 0o666)

    def has_written(self, path: str) -> bool:
        """Whether a file of this run lies in a place, in whatever case its name is written."""
        return path in self._written

    def give_back(self) -> None:
        """Remove what was written and was not there before: the disk is full, or soon would be."""
        for directory, _, names in os.walk(self._root):
            inside = os.path.relpath(directory, self._root).replace(os.sep, "/")
            for name in names:
                if (name if inside == "." else f"{inside}/{name}") in self._new:
                    with suppress(OSError):
                        os.unlink(os.path.join(directory, name))
        for directory in reversed(self._made):
            with suppress(OSError):  # where others have put something since
                os.rmdir(directory)

    def _ours(self, path: str) -> bool:
        """Whether a file of this run has the name of one of the directories of ``path``."""
        parent = path.rpartition("/")[0]
        while parent:
            if parent in self._written:
                return True
            parent = parent.rpartition("/")[0]
        return False

    def _make_directory(self, path: str) -> None:
        """Make a directory and those above it; look at each one that is there already, once."""
        missing = []
        while path not in self._directories:
            missing.append(path)
            if not path:
                break
            path = path.rpartition("/")[0]
        for directory in reversed(missing):
            full = f"{self._root}/{directory}" if directory else self._root
            try:
                os.mkdir(full)
                self._made.append(full)
            except FileExistsError:
                self._check_directory(full)
            self._directories.add(directory)

    def _check_directory(self, full: str) -> None:
        mode = os.stat(full).st_mode if full == self._root else os.lstat(full).st_mode
        if stat.S_ISDIR(mode):
            return
        if not stat.S_ISLNK(mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        target = os.path.realpath(full)
        if not any(os.path.commonpath((target, within)) == within for within in self._within):
            raise StorageError(
                f"{full} is a symbolic link that leads out of {self._within[0]}, which is not "
                "followed: put a directory in its place, or choose another output directory."
            )
        if not os.path.isdir(target):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))


class _Paths:
    """Paths that were written: a hash each, 8 bytes.

    Enough to tell whether what is in the way came from the archive or was there before.

    Args:
        alike: Makes one of paths that count as the same.
    """

    def __init__(self, alike: Callable[[str], str]) -> None:
        self._alike = alike
        self._latest: set[int] = set()
        self._sorted = array("q")

    def add(self, path: str) -> None:
        self._latest.add(hash(self._alike(path)))
        if len(self._latest) >= _LATEST:
            import numpy as np

            both = np.append(np.array(self._sorted, np.int64), np.fromiter(self._latest, np.int64))
            self._sorted = array("q", np.sort(both).tobytes())
            self._latest.clear()

    def __contains__(self, path: str) -> bool:
        wanted = hash(self._alike(path))
        at = bisect_left(self._sorted, wanted)
        return wanted in self._latest or self._sorted[at : at + 1] == array("q", [wanted])


def _write_whole(descriptor: int, full: str, pieces: Iterable[bytes]) -> None:
    """Write all of a file and close it; half of it is removed."""
    try:
        for piece in pieces:
            written = os.write(descriptor, piece)
            while written < len(piece):
                written += os.write(descriptor, memoryview(piece)[written:])
    except BaseException:
        os.unlink(full)
        raise
    finally:
        os.close(descriptor)


def _same_content(full: str, data: bytes) -> bool:
    try:
        descriptor = os.open(full, _READ)
    except (FileNotFoundError, PermissionError):
        return False
    except OSError as error:
        if error.errno == errno.ELOOP:  # a symbolic link: replaced, not followed
            return False
        raise
    try:
        status = os.fstat(descriptor)
        if status.st_size != len(data) or not stat.S_ISREG(status.st_mode):
            return False
        return read_exactly(descriptor, len(data)) == data
    finally:
        os.close(descriptor)


def read_exactly(descriptor: int, count: int) -> bytes:
    """Read so many bytes of a file, fewer only at its end."""
    data = os.read(descriptor, count)
    while len(data) < count and (more := os.read(descriptor, count - len(data))):
        data += more
    return data
