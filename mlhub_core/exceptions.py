"""Everything the library raises, in one tree.

::

    MLHubException
    ├── InvalidArgument (ValueError)        an argument that cannot work; says which and what would
    │   └── NothingMatches (RuntimeError)   the filters leave nothing to download
    ├── APIKeyNotFound                      no key by any of the five ways
    ├── APIError                            the hub answered with an error
    │   ├── AuthenticationError             401 or 403
    │   └── EntityDoesNotExist              404
    ├── HubUnreachable                      no answer: refused, timed out, unknown host, broken off
    ├── CatalogError                        the catalog archive cannot be used
    │   ├── ArchiveCorrupt                  not a readable tar.gz
    │   └── ArchiveLimitExceeded            larger than the settable caps
    ├── FetchError                          one file could not be fetched whole
    ├── DownloadIncomplete (OSError)        assets failed, or were found wrong; carries the report
    ├── StorageError (OSError)              the disk refuses: full, read-only, not a directory
    │   └── DirectoryBusy                   another run holds the directory
    └── Interrupted                         stopped by Ctrl-C, SIGTERM or a stop flag

Names that the reference client has are the reference client's. Foreign exceptions (``requests``,
``pycurl``, ``tarfile``, ``OSError``) are mapped where they arise, with ``raise … from``. All of
them can be pickled, attributes included, because Prefect and process pools send them around. No
message ever holds an API key or a signature.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def _rebuild(cls: type[MLHubException], message: str, state: dict[str, Any]) -> MLHubException:
    error = cls(message)
    error.__dict__.update(state)
    return error


class MLHubException(Exception):
    """Root of all errors of this library.

    Args:
        message: One line that names the input and the way out.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return _rebuild, (type(self), self.message, dict(self.__dict__))


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


class APIError(MLHubException):
    """The hub answered with an error status.

    Attributes:
        status: The HTTP status code, or None where there was none.
    """

    def __init__(self, message: str = "", *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class AuthenticationError(APIError):
    """The hub wants an API key, or refuses the one it got (401, 403)."""


class EntityDoesNotExist(APIError):
    """The hub knows no dataset, collection, item, model or archive of that name (404)."""


class HubUnreachable(MLHubException):
    """The hub gave no usable answer: connection refused or broken off, time-out, unknown host."""


class CatalogError(MLHubException):
    """The catalog archive cannot be used."""


class ArchiveCorrupt(CatalogError):
    """The file is not a complete, readable ``tar.gz``."""


class ArchiveLimitExceeded(CatalogError):
    """The archive holds more than the caps allow; the message names the setting that lifts it."""


class FetchError(MLHubException):
    """One file could not be fetched whole.

    Attributes:
        status: The HTTP status code, or None where the failure lies elsewhere.
        retryable: Whether trying again later may help.
    """

    def __init__(
        self, message: str = "", *, status: int | None = None, retryable: bool = False
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retryable = retryable


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


class DirectoryBusy(StorageError):
    """Another run is working in the same directory."""


class HandLost(MLHubException):
    """A process that ran a partition was killed, by the system or by somebody."""


class Interrupted(MLHubException):
    """The run was asked to stop. What is finished is kept, and the next run goes on from there."""
