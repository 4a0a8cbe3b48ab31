"""Our own state in a dataset's directory: how its files are opened and written, and who holds it.

The output directory, the one for assets and the dataset's directory are the user's: they may be
symbolic links to anywhere. What lies below the dataset's directory and is ours may not: whoever can
write there could have us empty any file of the user's by a link in its place. So a run looks at all
of it before it begins, which holds for what libraries open too (SQLite, Arrow); and what we open
ourselves is never opened through a link, should one appear later.
"""

from __future__ import annotations

import csv
import errno
import fcntl
import json
import logging
import os
import socket
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self, TextIO

from mlhub_core.exceptions import DirectoryBusy, StorageError, storage_errors
from mlhub_core.paths import (
    ASSET_DB_NAME,
    ERR_REPORT_NAME,
    INDEX_NAME,
    PRODUCT_NAMES,
    PRODUCTS_NAME,
    STATE_DIRECTORY,
    DownloadPaths,
)

log = logging.getLogger(__name__)

TRASH_NAME = "trash"
"""Below it lies what was the user's: links among it are moved there, and never opened."""

_HELD: dict[str, int] = {}
"""Descriptors of the locks that this process holds, by path."""
_LEFTOVERS_SECONDS = 5.0
"""How long the processes of a killed run take at most to notice that it is gone."""
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)
"""What file systems say that have no locks: Lustre without ``-o flock``, NFS without its daemon,
many that are made of an object store."""
_NEW_NAMES = {"oddities": "remarks", "oddity_count": "remark_count"}
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


def open_state(path: Path | str, mode: str = "r", **options: Any) -> Any:
    """Open a file of our state as :func:`open` does, but not through a symbolic link.

    Raises:
        OSError: as :func:`open`; ``ELOOP`` where a link lies there.
    """
    if "b" not in mode:
        options.setdefault("encoding", "utf-8")
    return open(path, mode, opener=open_descriptor, **options)


def open_descriptor(path: Path | str, flags: int) -> int:
    """Open a file of our state as :func:`os.open` does, but not through a symbolic link.

    Raises:
        OSError: as :func:`os.open`; ``ELOOP`` where a link lies there.
    """
    return os.open(path, flags | _NO_FOLLOW, 0o666)


def check_state_files(asset_dir: Path) -> None:
    """Check that all that is ours in a dataset's directory is plain files and directories.

    Args:
        asset_dir: The dataset's directory, which may itself be a link, or not be there yet.

    Raises:
        StorageError: naming the first that is a symbolic link or something else; or if the disk
            refuses.
    """
    for name in (INDEX_NAME, ASSET_DB_NAME, ERR_REPORT_NAME, STATE_DIRECTORY):
        path = asset_dir / name
        with storage_errors(f"look at {path}"), suppress(FileNotFoundError, NotADirectoryError):
            mode = path.lstat().st_mode
            if name == STATE_DIRECTORY and not stat.S_ISDIR(mode):
                raise _not_ours(path, "directory")
            if name != STATE_DIRECTORY and not stat.S_ISREG(mode):
                raise _not_ours(path, "file")
    for entry in _entries(asset_dir / STATE_DIRECTORY):
        if not entry.is_dir(follow_symlinks=False) and not entry.is_file(follow_symlinks=False):
            raise _not_ours(Path(entry.path), "file")


def _entries(directory: Path | str) -> Iterator[os.DirEntry[str]]:
    """All that is below a directory of ours, apart from what was pruned."""
    # It need not be there yet, or be removed meanwhile by the run that holds the lock.
    with (
        storage_errors(f"read {directory}"),
        suppress(FileNotFoundError, NotADirectoryError),
        os.scandir(directory) as found,
    ):
        for entry in found:
            yield entry
            if entry.is_dir(follow_symlinks=False) and entry.name != TRASH_NAME:
                yield from _entries(entry.path)


def _not_ours(path: Path, kind: str) -> StorageError:
    what = f"a symbolic link to {os.readlink(path)}" if path.is_symlink() else f"no {kind}"
    return StorageError(
        f"{path} is {what}: our own state is never read or written through one. Put a plain {kind} "
        "there, or name another output directory; the directory of the dataset itself may be a "
        "link."
    )


def read_state(path: Path) -> dict[str, Any] | None:
    """Read a small JSON file; None where there is none, or nothing of use.

    Raises:
        StorageError: if it is there and cannot be read.
    """
    state = None
    # Written by somebody else, or before a power failure, it is as good as none.
    as_none = FileNotFoundError, NotADirectoryError, ValueError, RecursionError
    with storage_errors(f"read {path}"), suppress(*as_none), open_state(path, "rb") as file:
        state = json.loads(file.read())
    return state if isinstance(state, dict) else None


def under_new_names(state: dict[str, Any]) -> dict[str, Any]:
    """State as an earlier version wrote it, its fields called as they are now."""
    return {_NEW_NAMES.get(name, name): value for name, value in state.items()}


def write_state(path: Path, state: dict[str, Any]) -> None:
    """Write a small JSON file: under another name first, then renamed.

    Raises:
        StorageError: if the disk refuses.
    """
    part = path.with_name(path.name + ".part")
    with storage_errors(f"write {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with open_state(part, "w") as file:
            json.dump(state, file, indent=1, ensure_ascii=True)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)


def remove_state(path: Path) -> None:
    """Remove a small JSON file; none there is fine.

    Raises:
        StorageError: if the disk refuses.
    """
    with storage_errors(f"remove {path}"):
        path.unlink(missing_ok=True)


class RowFile:
    """Rows of ours as CSV: a file that appears with the first of them, a context manager.

    Args:
        path: The file; one of an earlier run is removed.
        header: The first row.
        errors: What is done about text that is not UTF-8.

    Raises:
        StorageError: from every method, if the disk refuses.
    """

    def __init__(self, path: Path, header: Iterable[str], errors: str) -> None:
        self.path = path
        self._header = header
        self._errors = errors
        self._file: TextIO | None = None
        with storage_errors(f"write {path}"):
            path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, row: Iterable[object]) -> None:
        """Append a row."""
        with storage_errors(f"write {self.path}"):
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = open_state(self.path, "w", errors=self._errors, newline="")
                csv.writer(self._file).writerow(self._header)
            csv.writer(self._file).writerow(row)

    def flush(self) -> None:
        """Hand what is pending to the operating system."""
        if self._file is not None:
            with storage_errors(f"write {self.path}"):
                self._file.flush()

    def close(self) -> None:
        """Flush and close."""
        if self._file is not None:
            with storage_errors(f"write {self.path}"):
                self._file.close()
            self._file = None


@contextmanager
def directory_lock(paths: DownloadPaths) -> Iterator[None]:
    """Hold ``.mlhub/lock`` for the length of the block.

    The operating system drops the lock with the process, so what a killed run leaves is no
    obstacle. The file stays: removing it would let two runs lock two files of one name.

    Raises:
        DirectoryBusy: if another run holds it; the message names its process.
        StorageError: if the directory cannot be written, or state in it is not plain files; or at
            the end, if the directory is another one by then.
    """
    check_state_files(paths.asset_dir)
    try:
        paths.state_dir.mkdir(parents=True, exist_ok=True)
        fd = open_descriptor(paths.lock, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise StorageError(
            f"Cannot write in {paths.asset_dir}: {error.strerror}. Name another output directory."
        ) from error
    try:
        _lock(fd, paths)
        _HELD[str(paths.lock)] = fd
        _sign(fd)
        yield
        _check_still_there(fd, paths)
    finally:
        if _HELD.get(str(paths.lock)) == fd:
            del _HELD[str(paths.lock)]
        os.close(fd)


def _check_still_there(fd: int, paths: DownloadPaths) -> None:
    """Check that the lock that is held is the one that lies in the directory.

    Where the directory was removed or replaced while a run went on, so was what the run had put
    there, and no count of files tells.
    """
    try:
        there = os.path.samestat(os.stat(paths.lock), os.fstat(fd))
    except OSError:
        there = False
    if not there:
        raise StorageError(
            f"{paths.asset_dir}, or {paths.state_dir.name} in it, was removed or replaced while "
            "this ran: what was fetched before is gone with it. The same command fetches it again."
        )


def _sign(fd: int) -> None:
    """Write down who holds the lock, for messages of others."""
    if os.fstat(fd).st_nlink > 1:
        return  # a file of somebody else's may be the same one, by a hard link
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)


def _lock(fd: int, paths: DownloadPaths) -> None:
    deadline = time.monotonic() + _LEFTOVERS_SECONDS
    try:
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if _is_alive(_holder(fd)) or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
    except BlockingIOError as error:
        words = _holder(fd)
        holder = f"process {words[0]} on {words[1]}" if len(words) == 2 else "another process"
        raise DirectoryBusy(
            f"{paths.asset_dir} is in use by {holder}. Wait for it, stop it, or use another "
            "output directory."
        ) from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise StorageError(f"Cannot lock {paths.lock}: {error.strerror}.") from error
        log.warning(
            "The file system of %s has no locks (%s): see to it that no other run works there.",
            paths.asset_dir,
            error.strerror,
        )


def _holder(fd: int) -> list[str]:
    """Process and host of whoever took the lock, as far as the file says."""
    return os.pread(fd, 200, 0).decode("utf-8", "replace").split()


def _is_alive(holder: list[str]) -> bool:
    """Whether that process is there; yes where nobody can tell."""
    if len(holder) != 2 or holder[1] != socket.gethostname() or not holder[0].isdigit():
        return True
    try:
        os.kill(int(holder[0]), 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def descriptor_of(paths: DownloadPaths) -> int | None:
    """The descriptor of a lock that is held, None where it is not.

    The lock lasts as long as any process has the descriptor: whoever works on a run's behalf in
    another process inherits it.
    """
    return _HELD.get(str(paths.lock))


def product_names(state_dir: Path) -> set[str]:
    """What our products of a download are called that lie beside its data, if there are any.

    Raises:
        StorageError: if our state cannot be read.
    """
    noted = (read_state(state_dir / PRODUCTS_NAME) or {}).values()
    return {
        name for name in noted if isinstance(name, str) and name.removeprefix("_") in PRODUCT_NAMES
    }
