"""Everything the library raises, in one tree.

::

    MLHubException
    ├── InvalidArgument (ValueError)        an argument that cannot work; says which and what would
    │   └── NothingMatches (RuntimeError)   the filters leave nothing to download
    ├── APIKeyNotFound                      no key by any of the five ways
    ├── APIError (HTTPError)                the hub answered with an error; carries the response
    │   ├── AuthenticationError             401 or 403
    │   ├── EntityDoesNotExist              404
    │   └── AnswerTooLarge                  more bytes than are read
    ├── HubUnreachable (ConnectionError)    no answer: refused, unknown host, broken off
    │   └── HubTimeout (Timeout)            no answer in time
    ├── CatalogError                        the catalog archive cannot be used
    │   ├── ArchiveCorrupt                  not a readable tar.gz
    │   └── ArchiveLimitExceeded            larger than the settable caps
    ├── FetchError (ConnectionError)        one file could not be fetched whole
    ├── DownloadIncomplete (OSError)        assets failed, or were found wrong; carries the report
    ├── StorageError (OSError)              the disk refuses: full, read-only
    │   ├── NotADirectory (FileExistsError) a file where a directory should be
    │   └── DirectoryBusy                   another run holds the directory
    └── Interrupted                         stopped by Ctrl-C, SIGTERM or a stop flag

Names that the reference client has are the reference client's; ``HTTPError``, ``ConnectionError``
and ``Timeout`` are those of ``requests``, which scripts for it catch: those errors stand in
:mod:`mlhub_core.http_errors` and are loaded when first used. Foreign exceptions
(``requests``, ``pycurl``, ``tarfile``, ``OSError``) are mapped where they arise, with ``raise …
from``. All of them can be pickled, attributes and cause included, because Prefect and process pools
send them around. No message ever holds an API key or a signature.
"""

from __future__ import annotations

import errno
import importlib
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any

from mlhub_core.redact import redact, without_secrets

_OF_REQUESTS = (
    *("AnswerTooLarge", "APIError", "AuthenticationError", "EntityDoesNotExist", "FetchError"),
    *("HubTimeout", "HubUnreachable"),
)


def __getattr__(name: str) -> Any:
    """The errors that are those of requests too, which takes half a second to load."""
    if name not in _OF_REQUESTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("mlhub_core.http_errors"), name)


def _rebuild(
    cls: type[MLHubException],
    message: str,
    state: dict[str, Any],
    cause: BaseException | None = None,
) -> MLHubException:
    error = cls(message)
    error.__dict__.update(state)
    error.__cause__ = cause
    return error


class MLHubException(Exception):
    """Root of all errors of this library.

    Args:
        message: One line that names the input and the way out.
    """

    def __init__(self, message: str = "") -> None:
        message = without_secrets(message)
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return _rebuild, (type(self), self.message, self._pickled(), _portable(self.__cause__))

    def _pickled(self) -> dict[str, Any]:
        """The attributes as they are pickled."""
        return {**self.__dict__}


def _portable(cause: BaseException | None) -> BaseException | None:
    """A cause that can be pickled: itself, or what it says."""
    if cause is None or isinstance(cause, MLHubException):
        return cause
    copy = None
    with suppress(Exception):  # whatever foreign objects raise that were not made for it
        copy = pickle.loads(pickle.dumps(cause))
    # A request that a cause carries has headers, which nobody may read where pickles are stored.
    if type(copy) is type(cause) and not hasattr(copy, "request"):
        return cause
    return MLHubException(f"{type(cause).__name__}: {redact(cause)}")


class InvalidArgument(MLHubException, ValueError):
    """An argument that cannot work. Nothing has been written."""


class NothingMatches(InvalidArgument, RuntimeError):
    """The filters leave nothing to download.

    Attributes:
        funnel: What was left after each filter, as ``(name, assets)`` pairs.
    """

    def __init__(self, message: str = "", *, funnel: tuple[tuple[str, int], ...] = ()) -> None:
        super().__init__(message)
        self.funnel = funnel


class APIKeyNotFound(MLHubException):
    """No API key could be found by any of the documented ways."""


class CatalogError(MLHubException):
    """The catalog archive cannot be used."""


FETCH_ANEW = (
    "name another archive, or, where it was fetched, `mlhub download --if-exists overwrite` "
    "fetches it anew"
)
"""The way out where an archive cannot be used; it may be somebody's own, and stays."""


class ArchiveCorrupt(CatalogError):
    """The file is not a complete, readable ``tar.gz``."""


class ArchiveLimitExceeded(CatalogError):
    """The archive holds more than the caps allow; the message names the setting that lifts it."""


class DownloadIncomplete(MLHubException, OSError):
    """Some assets could not be had, or are not as they should be; all others are on disk.

    Attributes:
        report: The ``DownloadReport`` of the run, the ``VerifyReport`` of the check, or None.
    """

    def __init__(self, message: str = "", *, report: Any = None) -> None:
        super().__init__(message)
        self.report = report


class StorageError(MLHubException, OSError):
    """The disk refuses: full, read-only, no permission, or a file where a directory should be."""

    _errno: int | None = None

    @property
    def errno(self) -> int | None:
        """What the system said, such as ``errno.ENOSPC``; None where it was not asked."""
        cause = self.__cause__
        if self._errno is not None or cause is self or not isinstance(cause, OSError):
            return self._errno
        return cause.errno

    @errno.setter
    def errno(self, value: int | None) -> None:
        self._errno = value


def storage_error(what: str, error: OSError) -> StorageError:
    """Say what the disk refused, and how to go on.

    Args:
        what: Such as ``write /data/x/a.tif``.
        error: The operating system's.
    """
    told = StorageError(
        f"Cannot {what}: {error.strerror or error}. What is finished is kept; make room or fix "
        "the permissions, and the same command goes on from there."
    )
    told.errno = error.errno
    return told


class storage_errors:  # noqa: N801 - as those of contextlib, of which one costs three times as much
    """Tells what the disk refuses during a block; several of them are gone through for each file.

    Args:
        what: Such as ``write /data/x/a.tif``.

    Raises:
        StorageError: for all of it.
    """

    __slots__ = ("_what",)

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        """Nothing has been refused yet."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Say in our words what the system said."""
        if isinstance(error, OSError) and not isinstance(error, MLHubException):
            raise storage_error(self._what, error) from error


@contextmanager
def system_errors(what: str) -> Iterator[None]:
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


class NotADirectory(StorageError, FileExistsError, NotADirectoryError, ValueError):
    """A file is where a directory should be: all that the reference client raised for that."""


class DirectoryBusy(StorageError):
    """Another run is working in the same directory."""


class Interrupted(MLHubException):
    """The run was asked to stop. What is finished is kept, and the next run goes on from there."""
