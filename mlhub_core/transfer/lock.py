"""One run at a time per directory."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from mlhub_core.exceptions import DirectoryBusy, StorageError
from mlhub_core.layout import DownloadPaths


@contextmanager
def directory_lock(paths: DownloadPaths) -> Iterator[None]:
    """Hold ``.mlhub/lock`` for the length of the block.

    The operating system drops the lock with the process, so what a killed run leaves is no
    obstacle. The file stays: removing it would let two runs lock two files of one name.

    Raises:
        DirectoryBusy: if another run holds it; the message names its process.
        StorageError: if the directory cannot be written.
    """
    try:
        paths.state_dir.mkdir(parents=True, exist_ok=True)
        fd = os.open(paths.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise StorageError(
            f"Cannot write in {paths.asset_dir}: {error.strerror}. Name another output directory."
        ) from error
    try:
        _lock(fd, paths)
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)
        yield
    finally:
        os.close(fd)


def _lock(fd: int, paths: DownloadPaths) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        words = os.pread(fd, 200, 0).decode("utf-8", "replace").split()
        holder = f"process {words[0]} on {words[1]}" if len(words) == 2 else "another process"
        raise DirectoryBusy(
            f"{paths.asset_dir} is in use by {holder}. Wait for it, stop it, or use another "
            "output directory."
        ) from error
    except OSError as error:
        raise StorageError(
            f"Cannot lock {paths.lock}: {error.strerror}. Use a file system that has locks."
        ) from error
