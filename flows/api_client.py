"""Asks Prefect's API about what is good to have: briefly, and never to the harm of a run."""

from __future__ import annotations

import httpx
from prefect import get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import PrefectException

from mlhub_core.redact import redact

API_SECONDS = 10.0
"""How long one request may take."""
API_ERRORS = (httpx.HTTPError, PrefectException, OSError)
"""What the API's client raises when the API cannot be reached, or refuses."""


def brief_client() -> SyncPrefectClient:
    """A client of the API; use it in a ``with`` statement."""
    return get_client(httpx_settings={"timeout": API_SECONDS}, sync_client=True)


def warn(what: str, error: BaseException) -> None:
    """Say in the run's log what the API's failure comes to."""
    get_run_logger().warning("%s: %s", what, reason(error))


def reason(error: BaseException) -> str:
    """The first line of an error, without secrets."""
    return (redact(error).strip().splitlines() or [type(error).__name__])[0]
