"""How a STAC API is asked: pystac-client, by a session of ours without the hub's key."""

from __future__ import annotations

import time
from typing import Any, NoReturn
from urllib.parse import urljoin, urlsplit

import requests
from pystac_client.stac_api_io import StacApiIO

from mlhub_core.http_errors import (
    APIError,
    AuthenticationError,
    EntityDoesNotExist,
    HubTimeout,
    HubUnreachable,
)
from mlhub_core.json_text import parse_json
from mlhub_core.net.addresses import Gate
from mlhub_core.net.retry import delay_before
from mlhub_core.net.session import Session, detail_of, is_limited, is_timeout, one_line, reason_of
from mlhub_core.redact import redact
from mlhub_core.settings import ApiSettings
from mlhub_core.threads import StopFlag

_MAX_DEPTH = 100
"""Of JSON; geometries have eight levels."""
_STEP = 0.1
"""Seconds between two looks at the flag that stops a wait."""
_JSON = "application/geo+json, application/json"


class ApiSession(Session):
    """A session for one API: the hub's key is not in it.

    Args:
        root: The API's root.
        stop: Ends a wait between two tries.
        settings: Time-outs and retries.
        gate: Decides about the addresses that it leads to; by its own when None.
    """

    _WITHOUT_TLS = "name the API by http:// if it is to be asked without TLS"

    def __init__(
        self,
        root: str,
        stop: StopFlag | None = None,
        settings: ApiSettings | None = None,
        gate: Gate | None = None,
    ) -> None:
        super().__init__(settings=settings, root=urljoin(root, "/"))
        self.headers["Accept"] = _JSON
        self._stop = stop or StopFlag()
        self.gate = gate or Gate(learns=True)

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        self._stop.check()
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _STEP))
            self._stop.check()

    def wait(self, attempt: int) -> None:
        """Wait before another try of what was answered with something else."""
        self._pause(delay_before(attempt, None, self.settings))

    def _raise_unreachable(self, url: str, error: Exception) -> NoReturn:
        kind = HubTimeout if is_timeout(error) else HubUnreachable
        raise kind(
            f"{redact(url)} does not answer ({redact(reason_of(error))}): is this the URL of the "
            "API, and is it running?"
        ) from error

    def _raise_for(self, response: requests.Response) -> NoReturn:
        status, url = response.status_code, redact(response.url)
        detail = redact(detail_of(response))
        if is_limited(response):
            raise APIError(
                f"The API is asked too often, by us or by others: {url} answered {status}{detail}, "
                "and went on to. Try again later.",
                response=response,
            )
        if status in (401, 403):
            host = urlsplit(response.url).hostname
            raise AuthenticationError(
                f"{url} wants a login, or refuses the one it got ({status}{detail}): put one into "
                f"~/.netrc, as in `machine {host} login NAME password WORD`.",
                response=response,
            )
        if status == 404:
            raise EntityDoesNotExist(f"{url} does not exist (404{detail}).", response=response)
        reason = f" ({one_line(response.reason)})" if response.reason else ""
        raise APIError(f"{url} answered {status}{detail or reason}.", response=response)


class ApiIO(StacApiIO):
    """How pystac-client asks: by our session."""

    session: ApiSession

    def __init__(self, session: ApiSession) -> None:
        super().__init__(max_retries=None)
        self.session = session

    def request(
        self,
        href: str,
        method: str | None = None,
        headers: dict[str, str] | None = None,
        parameters: dict[str, Any] | None = None,
    ) -> str:
        """Ask for a document, and give its text.

        Raises:
            MLHubException: all that the session raises.
        """
        method = (method or "GET").upper()
        given: dict[str, Any] = {"json" if method == "POST" else "params": parameters or None}
        most = self.session.settings.max_json_bytes
        response = self.session.request(method, href, headers=headers, max_bytes=most, **given)
        return response.content.decode("utf-8", "replace")

    def json_loads(self, txt: str, *args: Any, **kwargs: Any) -> Any:
        """Read JSON, however deeply it is nested.

        Raises:
            ValueError: if it is none.
        """
        return parse_json(txt.encode("utf-8", "replace"), max_depth=_MAX_DEPTH)
