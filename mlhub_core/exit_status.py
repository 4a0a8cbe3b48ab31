"""What a command's exit status means, and which error gives which."""

from __future__ import annotations

from enum import IntEnum

from mlhub_core import exceptions, signals
from mlhub_core.exceptions import DownloadIncomplete, Interrupted, InvalidArgument, StorageError


class ExitStatus(IntEnum):
    """Exit statuses of all commands."""

    OK = 0
    """All there."""
    INCOMPLETE = 1
    """Some assets failed; they are in ``err_report.csv``. Or a check found files that are wrong."""
    BAD_ARGUMENT = 2
    """Bad arguments, an unknown dataset, or nothing matches."""
    HUB = 3
    """The hub refuses, cannot be reached, or hands out what cannot be used."""
    DISK = 4
    """The disk refuses."""
    INTERRUPTED = signals.INTERRUPTED
    """Stopped by Ctrl-C or SIGTERM."""


def exit_status(error: BaseException) -> ExitStatus:
    """The exit status that an error ends a command with."""
    if isinstance(error, KeyboardInterrupt | Interrupted):
        return ExitStatus.INTERRUPTED
    if isinstance(error, DownloadIncomplete):
        return ExitStatus.INCOMPLETE
    if isinstance(error, InvalidArgument | exceptions.EntityDoesNotExist):
        return ExitStatus.BAD_ARGUMENT
    if isinstance(error, StorageError):
        return ExitStatus.DISK
    return ExitStatus.HUB
