"""The disk, as far as assets are put on it: directories, and the one way errors of it are told."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mlhub_core.exceptions import MLHubException, StorageError
from mlhub_core.exceptions import storage_error as storage_error
from mlhub_core.layout import STATE_DIRECTORY

_USUAL = re.compile(r"(?:[^./\\\0][^/\\\0]*/)*[^./\\\0][^/\\\0]*")
"""Save paths of which no part is empty or begins with a dot, as are nearly all."""
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
_REMEMBERED = 5_000
"""Directories known to exist, before the memory of them is dropped: files of one directory come one
after the other, as a rule."""


@contextmanager
def telling_refusals(what: str) -> Iterator[None]:
    """Tell what the system refuses during the block in the way of this library.

    Most is told where it arises, with more to say. Here comes what can arise anywhere: a disk that
    fails in the middle of something, no memory, no further thread.

    Args:
        what: Such as ``work in /data/x``.

    Raises:
        StorageError: for all of it.
    """
    try:
        yield
    except MLHubException:
        raise
    except Exception as error:
        told = _refusal(what, error)
        if told is None:
            raise
        raise told from error


def _refusal(what: str, error: Exception) -> StorageError | None:
    """What an error of the system comes to; None where it is none."""
    if isinstance(error, MemoryError):
        return _exhausted(f"Cannot {what}: there is no memory left", errno.ENOMEM)
    if isinstance(error, OSError):
        return storage_error(f"{what} ({error.filename})" if error.filename else what, error)
    if isinstance(error, ImportError):  # as a rule, because there is no room to load it in
        return _exhausted(f"Cannot {what}, as a library cannot be loaded: {error}", errno.ENOMEM)
    if "start new thread" in str(error) or "launch worker thread" in str(error):
        return _exhausted(f"Cannot {what}: the system starts no further thread", errno.EAGAIN)
    return None


def _exhausted(message: str, code: int) -> StorageError:
    told = StorageError(
        f"{message}. Give it more (ulimit), or lower --concurrency and --workers. What is finished "
        "is kept; the same command goes on from there."
    )
    told.errno = code
    return told


def is_safe(save_path: str) -> bool:
    """Whether a save path stays below the directory it is relative to, and out of our state."""
    if _USUAL.fullmatch(save_path):
        return True
    parts = save_path.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\x00" in save_path:
        return False
    return parts[0].casefold() != STATE_DIRECTORY and "\\" not in save_path


class Places:
    """Final places of assets: paths below one directory, their parents made when needed.

    Args:
        root: The dataset's asset directory.
    """

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._real = os.path.realpath(root)
        self._made: set[str] = set()
        self._gone = ""
        """A directory that somebody removed, and that was made again."""
        self._absent = ""
        """The directory looked into last, if it is not there: what it would hold is not, either."""
        self._present = ""
        """The same, if it is there."""

    def path(self, save_path: str) -> str:
        """The final place of an asset."""
        return f"{self._root}/{save_path}"

    def size_and_mtime(self, save_path: str) -> tuple[int, float] | None:
        """What lies at a final place, None where nothing does.

        Raises:
            StorageError: if the disk refuses.
        """
        path = self.path(save_path)
        parent = path.rpartition("/")[0]
        if parent == self._absent:
            return None
        if parent != self._present and parent not in self._made:
            # Asked without an exception, which takes longer than the question.
            if not os.access(parent, os.F_OK):
                self._absent = parent
                return None
            self._present = parent
        try:
            stat = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise storage_error(f"look at {path}", error) from error
        return stat.st_size, stat.st_mtime

    def prepare(self, save_path: str) -> str:
        """Make the directory of a final place.

        Returns:
            The final place.

        Raises:
            StorageError: if the disk refuses, or the directory leads out of the root by a link.
        """
        path = self.path(save_path)
        parent = path.rpartition("/")[0]
        if parent not in self._made:
            self._make(parent)
            if len(self._made) >= _REMEMBERED:
                self.check_still_there()
                self._made.clear()
            self._made.add(parent)
        return path

    def _make(self, directory: str) -> None:
        self._absent = ""
        above = directory.rpartition("/")[0]
        try:
            if above in self._made and _make_one(directory):
                return  # below a directory that was looked at, and just made: it is no link
            os.makedirs(directory, exist_ok=True)
            real = os.path.realpath(directory)
            link = os.path.islink(directory)
        except OSError as error:
            raise storage_error(f"make the directory {directory}", error) from error
        if not self._is_inside(real):
            raise StorageError(
                f"{directory} leads out of {self._root} by a symbolic link, which is not followed: "
                "put a directory in its place, or name another output directory (which may itself "
                "be a link)."
            )
        if not link and self._is_inside(os.path.dirname(real)):
            self._made.add(above)

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

    def put(self, data: bytes, scratch: str, save_path: str) -> None:
        """Write a file into its final place, by way of another name.

        Args:
            data: All of it.
            scratch: The other name, on the same file system.
            save_path: The final place.

        Raises:
            StorageError: if the disk refuses.
        """
        try:
            fd = os.open(scratch, _CREATE, 0o666)
            try:
                written = os.write(fd, data)
                while written < len(data):
                    written += os.write(fd, data[written:])
            finally:
                os.close(fd)  # NFS tells of a full disk here
            self.move(scratch, save_path)
        except OSError as error:  # StorageError, of the move, is one too
            with suppress(OSError):  # it may be what could not be made
                os.unlink(scratch)
            if isinstance(error, StorageError):
                raise
            raise storage_error(f"write {scratch}", error) from error

    def move(self, source: str, save_path: str) -> None:
        """Rename a finished file into its final place.

        Raises:
            StorageError: if the disk refuses.
        """
        path = self.prepare(save_path)
        try:
            os.replace(source, path)
        except FileNotFoundError:
            self._move_again(source, save_path)
        except OSError as error:
            raise storage_error(f"write {path}", error) from error

    def _move_again(self, source: str, save_path: str) -> None:
        """Somebody removed the directory; make it again, unless it is all gone."""
        self._made.clear()
        try:
            os.stat(source)
            os.replace(source, self.prepare(save_path))
            self._gone = self.path(save_path).rpartition("/")[0]
        except OSError as error:
            raise storage_error(f"write {self.path(save_path)}", error) from error


def _make_one(directory: str) -> bool:
    """Make a directory in one that should be there; False when it is there already, or that not."""
    try:
        os.mkdir(directory)
    except (FileExistsError, FileNotFoundError):
        return False
    return True
