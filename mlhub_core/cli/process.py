"""A command as a process: what errors and signals come to, in a line and an exit status."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum

from mlhub_core import exceptions, signals
from mlhub_core.console import echo, have_standard_streams, set_verbosity, show, silence
from mlhub_core.exceptions import (
    DownloadIncomplete,
    Interrupted,
    InvalidArgument,
    MLHubException,
    StorageError,
    system_errors,
)
from mlhub_core.progress import ProgressSink
from mlhub_core.redact import redact
from mlhub_core.signals import stopping_on_signals

_STOPPED = "Stopped. What is finished is kept; the same command goes on there."


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
    if isinstance(error, InvalidArgument):
        return ExitStatus.BAD_ARGUMENT
    if isinstance(error, exceptions.EntityDoesNotExist):
        return ExitStatus.BAD_ARGUMENT
    if isinstance(error, StorageError):
        return ExitStatus.DISK
    return ExitStatus.HUB


@contextmanager
def reporting_errors(program: str) -> Iterator[Callable[[], int]]:
    """Turn an error into one line on standard error and an exit status.

    Yields:
        A function that gives the exit status once the block is over.
    """
    have_standard_streams()
    status = ExitStatus.OK
    last_line = f"{program}: {_STOPPED}"
    with stopping_on_signals(last_line) as stopped:
        try:
            try:
                with system_errors("go on"), _suppressing_broken_pipes():
                    yield lambda: int(status)
                show()  # what others printed gets out while somebody can be told that it does not
            except MLHubException as error:
                status = exit_status(error)
                echo(f"{program}: {str(error) or _STOPPED}")
            except Exception as error:
                if not stopped():
                    raise
                raise KeyboardInterrupt from error  # what a library made of one
        except KeyboardInterrupt as error:
            status = exit_status(error)
            echo(last_line)


def begin(given: argparse.Namespace) -> None:
    """Give a first sign of life on a terminal, before anything heavy is imported.

    Args:
        given: What the parser has read.
    """
    if given.quiet or sys.stderr is None or not sys.stderr.isatty():
        return
    named = (getattr(given, name, None) for name in ("dataset", "directory", "source"))
    echo(redact(" ".join([given.command, *filter(None, named), "…"])))


@contextmanager
def showing(given: argparse.Namespace) -> Iterator[ProgressSink]:
    """Show as much of what the block runs as the command line asks for.

    Args:
        given: What the parser has read; ``quiet`` and ``verbose`` of it.

    Yields:
        Where progress is to be told.
    """
    from mlhub_core.display import showing_progress

    set_verbosity(quiet=given.quiet, verbose=given.verbose)
    with showing_progress(not given.quiet) as on_progress:
        yield on_progress


@contextmanager
def _suppressing_broken_pipes() -> Iterator[None]:
    """End the block, and nothing else, where whoever read our output has gone, as ``head`` does."""
    try:
        yield
    except BrokenPipeError:
        silence(sys.stdout)
