"""One file on disk held against what is known of it: is it there, as long, and the same?"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from mlhub_core.transfer.findings import Finding, Kind
from mlhub_core.transfer.storage import storage_error

_OPEN = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_OPEN |= getattr(os, "O_NONBLOCK", 0)  # a pipe in place of a file must not block us
_OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""Errors that say nothing about the file."""


def judge(full: str, path: str, size: int, by: str, same: Callable[[int], bool]) -> Finding | None:
    """Look at a file.

    Args:
        full: Where it is.
        path: What the finding calls it.
        size: How long it has to be.
        by: Whose word that is, such as ``by the ledger``.
        same: Whether the content of an open file is what it has to be; asked if the size is.

    Returns:
        What is wrong with it, None when nothing.

    Raises:
        StorageError: if the process may open no more files.
    """
    try:
        descriptor = os.open(full, _OPEN)
        try:
            return _compare(descriptor, path, size, by, same)
        finally:
            os.close(descriptor)
    except (FileNotFoundError, NotADirectoryError):
        return Finding(Kind.MISSING, path)
    except OSError as error:
        if error.errno is None or error.errno in _OURS:
            raise storage_error(f"read {full}", error) from error
        # A disk that loses sectors says so here, and there is no better word for the file.
        return Finding(Kind.DAMAGED, path, f"cannot be read: {error.strerror}")


def _compare(
    descriptor: int, path: str, size: int, by: str, same: Callable[[int], bool]
) -> Finding | None:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        return Finding(Kind.DAMAGED, path, "not a file")
    sizes = f"{status.st_size} bytes, {size} {by}"
    if status.st_size < size:
        return Finding(Kind.TRUNCATED, path, sizes)
    if status.st_size > size:
        return Finding(Kind.DAMAGED, path, sizes)
    return None if same(descriptor) else Finding(Kind.DAMAGED, path, f"other bytes than {by}")
