"""The errors of the tree that are those of ``requests`` too: scripts catch them as such."""

from __future__ import annotations

from typing import Any

import requests

from mlhub_core.exceptions import MLHubException
from mlhub_core.redact import redact


class _FromRequest(MLHubException):
    """An error that may carry a request and its response."""

    def _pickled(self) -> dict[str, Any]:
        # Headers and bodies may hold what nobody may read where pickles are stored.
        response = _head(self.__dict__.get("response"))
        return {**self.__dict__, "request": None, "response": response}


class APIError(_FromRequest, requests.HTTPError):
    """The hub answered with an error status.

    Attributes:
        status: The HTTP status code, or None where there was none.
        response: The answer, or None; without headers and body once it has been pickled.
        request: What was answered, or None.
    """

    def __init__(
        self,
        message: str = "",
        *,
        status: int | None = None,
        response: requests.Response | None = None,
    ) -> None:
        super().__init__(message)
        if status is None and response is not None:
            status = response.status_code
        self.status = status
        self.response = response
        self.request = getattr(response, "request", None)


class AuthenticationError(APIError):
    """The hub wants an API key, or refuses the one it got (401, 403)."""


class EntityDoesNotExist(APIError):
    """The hub knows no dataset, collection, item, model or archive of that name (404)."""


class AnswerTooLarge(APIError):
    """An answer has more bytes than are read of one."""


class HubUnreachable(_FromRequest, requests.ConnectionError):
    """The hub gave no usable answer: connection refused or broken off, time-out, unknown host."""


class HubTimeout(HubUnreachable, requests.Timeout):
    """The hub did not answer in time."""


def _head(response: requests.Response | None) -> requests.Response | None:
    """A response without headers, body and request."""
    if response is None:
        return None
    head = requests.Response()
    head.status_code, head.reason = response.status_code, response.reason
    head.url = redact(response.url)
    head._content = b""
    return head


class FetchError(_FromRequest, requests.ConnectionError):
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
