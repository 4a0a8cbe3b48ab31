"""Asks Prefect's API about what is good to have: briefly, and never to the harm of a run."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import httpx
from prefect import get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import PrefectException
from prefect.settings import PREFECT_API_URL

from mlhub_core.redact import redact

API_SECONDS = 10.0
"""How long one request may take."""
API_ERRORS = (httpx.HTTPError, PrefectException, OSError)
"""What the API's client raises when the API cannot be reached, or refuses."""


_shared: ContextVar[SyncPrefectClient | None] = ContextVar("mlhub_api_client", default=None)


@contextmanager
def one_client() -> Iterator[None]:
    """Have one client ask everything that is asked within the block, by whatever thread.

    Each client costs a connection, and a request for the token that others go with.
    """
    with new_client(API_SECONDS) as client:
        token = _shared.set(client)
        try:
            yield
        finally:
            _shared.reset(token)


@contextmanager
def brief_client() -> Iterator[SyncPrefectClient]:
    """A client of the API, for the length of the block."""
    shared = _shared.get()
    if shared is not None:
        yield shared
        return
    with new_client(API_SECONDS) as client:
        yield client


def new_client(seconds: float) -> SyncPrefectClient:
    """A client of one's own; use it in a ``with`` statement.

    Args:
        seconds: How long one request may take.
    """
    settings: dict[str, Any] = {"timeout": seconds}
    if (PREFECT_API_URL.value() or "").startswith("http://"):
        # Else Prefect reads all certificates of the machine for a connection that needs none.
        settings["verify"] = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return get_client(httpx_settings=settings, sync_client=True)


def warn(what: str, error: BaseException) -> None:
    """Say in the run's log what the API's failure comes to."""
    get_run_logger().warning("%s: %s", what, reason(error))


def reason(error: BaseException) -> str:
    """The first line of an error, without secrets."""
    return (redact(error).strip().splitlines() or [type(error).__name__])[0]
