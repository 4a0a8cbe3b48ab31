"""Requests to a hub: which key, which root URL, what an answer means.

:func:`get_session` finds the API key in the documented order; :class:`Session` sends it to the
hub alone, retries what may pass, and turns every failure into an exception of this library.
"""

from __future__ import annotations

import logging
import os
import random
import re
import time
from collections.abc import Collection, Iterator
from typing import Any, NoReturn
from urllib.parse import urljoin

import requests
from urllib3.exceptions import ReadTimeoutError

from mlhub_core import http_rules
from mlhub_core.exceptions import (
    APIError,
    APIKeyNotFound,
    AuthenticationError,
    EntityDoesNotExist,
    HubTimeout,
    HubUnreachable,
    InvalidArgument,
)
from mlhub_core.profiles import ANONYMOUS_PROFILE, DEFAULT_PROFILE, read_api_key
from mlhub_core.redact import redact
from mlhub_core.settings import DEFAULT_ROOT_URL, USER_AGENT, ApiSettings, root_url
from mlhub_core.wire import KeyAdapter, without_key

__all__ = ["ANONYMOUS_PROFILE", "Session", "get_session"]

log = logging.getLogger(__name__)

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|(?i:https?):")
"""How an absolute URL begins; an id with a colon is none."""
_MAX_PAGES = 1_000_000
_POINT_AT_A_HUB = (
    "set MLHUB_ROOT_URL to a hub, start one with `mlhub serve DIR`, or try the demo with --demo"
)


class Session(requests.Session):
    """A :class:`requests.Session` for one hub.

    Paths without a scheme are taken relative to the root URL. Requests have time-outs and are
    tried again on connection errors, 408, 429 and 5xx. The API key goes to URLs under the root URL
    and to no other, and never stands in a URL that Python code can see.

    Args:
        api_key: The key, or None to send none.
        settings: Time-outs and retries.

    Attributes:
        root_url: The hub's root, from ``MLHUB_ROOT_URL`` when the session is made.
    """

    MLHUB_HOME_ENV_VARIABLE = "MLHUB_HOME"
    API_KEY_ENV_VARIABLE = "MLHUB_API_KEY"
    PROFILE_ENV_VARIABLE = "MLHUB_PROFILE"
    ROOT_URL_ENV_VARIABLE = "MLHUB_ROOT_URL"
    DEFAULT_ROOT_URL = DEFAULT_ROOT_URL

    def __init__(self, *, api_key: str | None = None, settings: ApiSettings | None = None) -> None:
        super().__init__()
        self.root_url = root_url()
        self.settings = settings or ApiSettings()
        self._api_key = api_key
        self.headers.update({"Accept": "application/json", "User-Agent": USER_AGENT})
        for prefix in ("http://", "https://"):
            self.mount(prefix, KeyAdapter(self.root_url, api_key))

    def __repr__(self) -> str:
        key = "with a key" if self._api_key else "without a key"
        return f"<Session for {redact(self.root_url)} {key}>"

    @property
    def api_key(self) -> str | None:
        """The key, None where none is sent. A secret: not to be printed."""
        return self._api_key

    @classmethod
    def from_env(cls) -> Session:
        """A session with the key in ``MLHUB_API_KEY``.

        Raises:
            APIKeyNotFound: if it is unset or empty.
        """
        api_key = os.environ.get(cls.API_KEY_ENV_VARIABLE, "").strip()
        if not api_key:
            raise APIKeyNotFound(f"{cls.API_KEY_ENV_VARIABLE} is not set.")
        return cls(api_key=api_key)

    @classmethod
    def from_config(cls, profile: str | None = None) -> Session:
        """A session with the key of a profile.

        Args:
            profile: Its name; None means ``default``.

        Raises:
            APIKeyNotFound: if the profile has none.
        """
        if profile == ANONYMOUS_PROFILE:
            return cls(api_key=None)
        return cls(api_key=read_api_key(profile or DEFAULT_PROFILE))

    def url_of(self, url: str) -> str:
        """The absolute URL of a path; absolute URLs come back as they are."""
        if _SCHEME.match(url):
            return url
        return self.root_url + url.lstrip("/")

    def request(  # type: ignore[override]
        self, method: str, url: str, *, accept: Collection[int] = (), **kwargs: Any
    ) -> requests.Response:
        """Send a request.

        Args:
            method: HTTP method.
            url: Absolute, or a path relative to the root URL.
            accept: Statuses of 400 and above that are answers to the caller, not errors.
            **kwargs: As for :meth:`requests.Session.request`.

        Raises:
            InvalidArgument: if the URL is none.
            AuthenticationError: 401 or 403.
            EntityDoesNotExist: 404.
            APIError: any other status of 400 and above.
            HubUnreachable: no answer after all tries.
        """
        target = self.url_of(url)
        _check_url(target)
        kwargs.setdefault("timeout", (self.settings.connect_timeout, self.settings.read_timeout))
        attempt = 1
        while True:
            last = attempt >= self.settings.max_attempts
            try:
                response = super().request(method, target, **kwargs)
            except (requests.ConnectionError, requests.Timeout) as error:
                if last or _is_final(error):
                    self._raise_unreachable(target, error)
                wait = None
            except requests.RequestException as error:
                if last or not isinstance(error, requests.exceptions.ChunkedEncodingError):
                    self._raise_unreachable(target, error)
                wait = None
            else:
                log.debug("%s %s -> %s", method, redact(target), response.status_code)
                if response.status_code < 400 or response.status_code in accept:
                    return response
                if last or not http_rules.is_retryable(response.status_code):
                    self._raise_for(response)
                wait = http_rules.parse_retry_after(response.headers.get("Retry-After"))
                response.close()
            self._pause(attempt, wait)
            attempt += 1

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Where a redirect leads, without our key; the adapter adds it again where it belongs."""
        target: str | None = super().get_redirect_target(resp)
        return without_key(target, self._api_key) if target and self._api_key else target

    def get_json(self, url: str, **kwargs: Any) -> Any:
        """GET a JSON document.

        Raises:
            APIError: if the answer is not JSON; and all that :meth:`request` raises.
        """
        with self.get(url, **kwargs) as response:
            try:
                return response.json()
            except requests.exceptions.JSONDecodeError as error:
                raise APIError(
                    f"{redact(response.url)} answered with something that is not JSON "
                    f"({response.headers.get('Content-Type', 'no content type')}): is "
                    f"{redact(self.root_url)} the root of an MLHub API? If not, {_POINT_AT_A_HUB}.",
                    response=response,
                ) from error

    def paginate(self, url: str, **kwargs: Any) -> Iterator[dict[str, Any]]:
        """GET a page, then those that its ``rel: next`` links lead to.

        Raises:
            APIError: if the links lead in a circle; and all that :meth:`request` raises.
        """
        current: str | None = self.url_of(url)
        seen: set[str] = set()
        while current is not None:
            if current in seen or len(seen) > _MAX_PAGES:
                raise APIError(f"The pages of {redact(url)} lead in a circle.")
            seen.add(current)
            page = self.get_json(current, **kwargs)
            if not isinstance(page, dict):
                raise APIError(f"{redact(current)} did not answer with a page of items.")
            yield page
            following = _next_link(page)
            current = urljoin(current, following) if following else None
            kwargs.pop("params", None)  # a next link carries its own

    def _pause(self, attempt: int, retry_after: float | None) -> None:
        backoff = self.settings.backoff_base * 2 ** (attempt - 1) * random.uniform(0.5, 1.5)
        wait = backoff if retry_after is None else max(backoff, retry_after)
        time.sleep(min(wait, self.settings.retry_after_cap))

    def _raise_unreachable(self, url: str, error: Exception) -> NoReturn:
        reason = redact(_reason(error), self._api_key)
        kind = HubTimeout if _is_timeout(error) else HubUnreachable
        if self.root_url == DEFAULT_ROOT_URL:
            raise kind(
                f"{DEFAULT_ROOT_URL} does not answer: the public MLHub API has been switched off. "
                f"Instead, {_POINT_AT_A_HUB}. ({reason})"
            ) from error
        raise kind(
            f"{redact(url)} does not answer ({reason}): is the hub running, and is MLHUB_ROOT_URL "
            f"right? Otherwise, {_POINT_AT_A_HUB}."
        ) from error

    def _raise_for(self, response: requests.Response) -> NoReturn:
        status = response.status_code
        url = redact(response.url, self._api_key)
        detail = redact(_detail(response), self._api_key)
        response.close()
        if status in (401, 403):
            what = "refuses the API key" if self._api_key else "wants an API key, and none was sent"
            raise AuthenticationError(
                f"The hub {what} for {url} ({status}{detail}). Check MLHUB_API_KEY, the profile, "
                "or run `mlhub configure`.",
                response=response,
            )
        if status == 404:
            raise EntityDoesNotExist(f"{url} does not exist (404{detail}).", response=response)
        raise APIError(f"{url} answered {status}{detail}.", response=response)


def get_session(*, api_key: str | None = None, profile: str | None = None) -> Session:
    """A session with the API key found in the documented order.

    1. ``api_key``
    2. the environment variable ``MLHUB_API_KEY``
    3. ``profile``
    4. the environment variable ``MLHUB_PROFILE``
    5. the profile ``default``

    Empty values count as absent. The profile ``__anonymous__`` sends no key.

    Raises:
        APIKeyNotFound: if none of these gives a key.
    """
    if api_key:
        return Session(api_key=api_key)
    if os.environ.get(Session.API_KEY_ENV_VARIABLE, "").strip():
        return Session.from_env()
    name = profile or os.environ.get(Session.PROFILE_ENV_VARIABLE, "").strip() or None
    try:
        return Session.from_config(name)
    except APIKeyNotFound as error:
        off = ""
        if root_url() == DEFAULT_ROOT_URL:
            off = f" And the public MLHub API has been switched off: {_POINT_AT_A_HUB}."
        raise APIKeyNotFound(
            f"No API key: {error} Give api_key, set MLHUB_API_KEY, run `mlhub configure`, or use "
            f"the profile {ANONYMOUS_PROFILE} (MLHUB_PROFILE={ANONYMOUS_PROFILE}) for a hub that "
            f"needs none.{off}"
        ) from error


def _check_url(url: str) -> None:
    """Refuse what is no URL before anything is sent; what comes later is the hub's fault."""
    try:
        requests.Request("GET", url).prepare()
    except (requests.RequestException, ValueError) as error:
        raise InvalidArgument(f"{redact(url)} is no URL ({redact(error)}).") from error
    if not url.lower().startswith(("http://", "https://")):
        raise InvalidArgument(f"{redact(url)} is no URL of http or https.")


def _is_final(error: Exception) -> bool:
    """Certificate and proxy errors do not pass by trying again."""
    return isinstance(error, requests.exceptions.SSLError | requests.exceptions.ProxyError)


def _is_timeout(error: Exception) -> bool:
    """Whether no answer came in time; of a body, requests calls that a connection error."""
    return isinstance(error, requests.Timeout) or any(
        isinstance(argument, ReadTimeoutError) for argument in error.args
    )


def _reason(error: BaseException) -> str:
    """The innermost cause, in short: urllib3 wraps it three times."""
    cause: BaseException = error
    seen: set[int] = set()
    while id(cause) not in seen:
        seen.add(id(cause))
        inner = getattr(cause, "reason", None) or next(
            (arg for arg in cause.args if isinstance(arg, BaseException)), None
        )
        cause = inner if isinstance(inner, BaseException) else cause
    return str(cause).rpartition(": ")[2] or type(cause).__name__


def _detail(response: requests.Response) -> str:
    """What the hub says about an error, kept short."""
    try:
        body = response.json()
    except (requests.RequestException, ValueError):
        return ""
    detail = body.get("detail") if isinstance(body, dict) else None
    return f": {detail[:300]}" if isinstance(detail, str) else ""


def _next_link(page: dict[str, Any]) -> str | None:
    links = page.get("links")
    for link in links if isinstance(links, list) else ():
        if isinstance(link, dict) and link.get("rel") == "next":
            href = link.get("href")
            return href if isinstance(href, str) and href else None
    return None
