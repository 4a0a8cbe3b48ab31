"""One run at a time per directory."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

from mlhub_core.exceptions import DirectoryBusy, StorageError
from mlhub_core.paths import DownloadPaths
from mlhub_core.state import check_state_files, open_descriptor

logger = logging.getLogger(__name__)

_HELD: dict[str, int] = {}
"""Descriptors of the locks that this process holds, by path."""
_LEFTOVERS_SECONDS = 5.0
"""How long the processes of a killed run take at most to notice that it is gone."""


_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)
"""What file systems say that have no locks: Lustre without ``-o flock``, NFS without its daemon,
many that are made of an object store."""


def descriptor_of(paths: DownloadPaths) -> int | None:
    """The descriptor of a lock that is held, None where it is not.

    The lock lasts as long as any process has the descriptor: whoever works on a run's behalf in
    another process inherits it.
    """
    return _HELD.get(str(paths.lock))


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
        logger.warning(
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
