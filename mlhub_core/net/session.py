"""Requests to a hub: which key, which root URL, what an answer means.

:func:`get_session` finds the API key in the documented order; :class:`Session` sends it to the
hub alone, retries what may pass, and turns every failure into an exception of this library.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Collection, Iterator, Mapping
from http.client import HTTPException, IncompleteRead, RemoteDisconnected
from typing import Any, NoReturn
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import BaseAdapter
from urllib3.exceptions import InvalidHeader, ReadTimeoutError

from mlhub_core.exceptions import APIKeyNotFound, InvalidArgument
from mlhub_core.http_errors import (
    AnswerTooLarge,
    APIError,
    AuthenticationError,
    EntityDoesNotExist,
    HubTimeout,
    HubUnreachable,
)
from mlhub_core.json_text import parse_json
from mlhub_core.net.addresses import Gate, note_zones
from mlhub_core.net.clients import certificates, check_proxies
from mlhub_core.net.connection import (
    Barred,
    KeyAdapter,
    NotHTTP,
    Sending,
    is_under,
    read_pieces,
    sending,
    slowness,
    take_key,
    under_way,
    without_key,
)
from mlhub_core.net.profiles import ANONYMOUS_PROFILE, DEFAULT_PROFILE, read_api_key
from mlhub_core.net.response import parse_codings
from mlhub_core.net.retry import delay_before, is_retryable, parse_wait, says_limited
from mlhub_core.redact import holds, redact, remember
from mlhub_core.settings import (
    DEFAULT_ROOT_URL,
    USER_AGENT,
    ApiSettings,
    as_root_url,
    root_url,
)

__all__ = ["ANONYMOUS_PROFILE", "Session", "get_session"]

log = logging.getLogger("mlhub_core.session")  # as the reference client has it

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|(?i:https?):")
"""How an absolute URL begins; an id with a colon is none."""
_MAX_PAGES = 1_000_000
_MAX_EMPTY_PAGES = 100
"""Pages in a row without an item; some hubs filter what is on a page after they have cut it."""
_MAX_DEPTH = 100
"""Of JSON; geometries have eight levels."""
_MAX_ERROR_BYTES = 64 * 1024
"""What is read of an error page, or of the body of a redirect."""
_PIECE = 16 * 1024
"""Bytes of a body that are decompressed at a time, to a thousand times as many at most."""
_CODINGS = frozenset({"", "gzip", "deflate"})
_BAD_REDIRECTS = (
    requests.exceptions.InvalidSchema,
    requests.exceptions.InvalidURL,
    requests.exceptions.MissingSchema,
    requests.TooManyRedirects,
)
"""What comes of redirects only: the URL that is asked for has been looked at."""
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
        root: The root URL; None for that of the hub, see :attr:`root_url`.

    Attributes:
        settings: Time-outs and retries.
        gate: Decides about the addresses that all of its requests connect to. None: a request may
            go anywhere, and be redirected from there to what everybody reaches, or its neighbours.
    """

    MLHUB_HOME_ENV_VARIABLE = "MLHUB_HOME"
    API_KEY_ENV_VARIABLE = "MLHUB_API_KEY"
    PROFILE_ENV_VARIABLE = "MLHUB_PROFILE"
    ROOT_URL_ENV_VARIABLE = "MLHUB_ROOT_URL"
    DEFAULT_ROOT_URL = DEFAULT_ROOT_URL
    _WITHOUT_TLS = "if the hub is to be asked without TLS, say so in MLHUB_ROOT_URL"

    def __init__(
        self,
        *,
        api_key: str | None = None,
        settings: ApiSettings | None = None,
        root: str | None = None,
    ) -> None:
        if not isinstance(api_key, str | None):
            raise InvalidArgument(f"api_key is of type {type(api_key).__name__}: give a text.")
        self.settings = settings or ApiSettings()
        super().__init__()
        self._root_url = root_url() if root is None else as_root_url(root)
        check_proxies()
        self._trusted = certificates().path
        self._api_key = api_key
        self.gate: Gate | None = None
        self._zones: dict[str, tuple[str, ...] | None] = {}
        """What hosts may redirect to, by where they lie."""
        for secret in (api_key, _password(self.root_url)):
            remember(secret)  # servers repeat it in redirects, titles and error texts
        self.headers.update(
            {
                "Accept": "application/json",
                "Accept-Encoding": "gzip, deflate",  # those whose bombs are bounded
                "User-Agent": USER_AGENT,
            }
        )

    @property
    def root_url(self) -> str:
        """The hub's root, from ``MLHUB_ROOT_URL`` when the session was made; it may be set."""
        return self._root_url

    @root_url.setter
    def root_url(self, url: str) -> None:
        self._root_url = as_root_url(url)

    def mount(self, prefix: str | bytes, adapter: BaseAdapter) -> None:
        """Use another adapter for URLs that begin so; those of the hub still get the key.

        One that does not open its connections by urllib3 finds the key in the URL.
        """
        super().mount(prefix, KeyAdapter.of(adapter, self.settings))

    def __repr__(self) -> str:
        key = "with a key" if self.api_key else "without a key"
        return f"<Session for {redact(self.root_url)} {key}>"

    @property
    def api_key(self) -> str | None:
        """The key, None where none is sent. A secret: not to be printed."""
        given = self.params.get("key") if isinstance(self.params, Mapping) else None
        return given or self._api_key

    @classmethod
    def from_env(cls, *, settings: ApiSettings | None = None) -> Session:
        """A session with the key in ``MLHUB_API_KEY``.

        Raises:
            APIKeyNotFound: if it is unset or empty.
        """
        api_key = os.environ.get(cls.API_KEY_ENV_VARIABLE, "").strip()
        if not api_key:
            raise APIKeyNotFound(f"{cls.API_KEY_ENV_VARIABLE} is not set.")
        return cls(api_key=api_key, settings=settings)

    @classmethod
    def from_config(
        cls, profile: str | None = None, *, settings: ApiSettings | None = None
    ) -> Session:
        """A session with the key of a profile.

        Args:
            profile: Its name; None means ``default``.
            settings: Time-outs and retries.

        Raises:
            APIKeyNotFound: if the profile has none.
        """
        if profile == ANONYMOUS_PROFILE:
            return cls(api_key=None, settings=settings)
        return cls(api_key=read_api_key(profile or DEFAULT_PROFILE), settings=settings)

    def url_of(self, url: str) -> str:
        """The absolute URL of a path; absolute URLs come back as they are."""
        if not isinstance(url, str):
            raise InvalidArgument(f"url is {url!r}: give a URL, or a path of the API.")
        if _SCHEME.match(url):
            return url
        return self.root_url + url.lstrip("/")

    def request(  # type: ignore[override]
        self,
        method: str,
        url: str,
        *,
        accept: Collection[int] = (),
        max_bytes: int | None = None,
        params: Any = None,
        **kwargs: Any,
    ) -> requests.Response:
        """Send a request.

        Args:
            method: HTTP method.
            url: Absolute, or a path relative to the root URL.
            accept: Statuses of 400 and above that are answers to the caller, not errors.
            max_bytes: Of the body at most, which is read then; None leaves it to ``stream``.
            params: Of the query. A ``key`` among them is sent instead of the session's, to the hub
                alone; None or empty sends none.
            **kwargs: As for :meth:`requests.Session.request`.

        Raises:
            InvalidArgument: if the URL is none.
            AuthenticationError: 401 or 403.
            EntityDoesNotExist: 404.
            APIError: any other status of 400 and above, or a body of more than ``max_bytes``.
            HubUnreachable: no answer after all tries, or none that comes to an end.
        """
        target, given = take_key(self.root_url, _checked_url(self.url_of(url), params))
        remember(given)
        if self.verify is True:
            kwargs.setdefault("verify", self._trusted)
        kwargs.setdefault("timeout", (self.settings.connect_timeout, self.settings.read_timeout))
        if max_bytes is not None:
            kwargs["stream"] = True
        key = self.api_key if given is None else given
        gate = self.gate or self._gate_for(target)
        try:
            with sending(Sending(self, self.root_url, key, gate)):
                return self._try(method, target, accept, max_bytes, **kwargs)
        except Barred as error:
            raise APIError(
                f"{redact(target)} leads to a private address, {error}: if you trust it, "
                "--allow-private-hosts lets it."
            ) from error
        finally:
            if gate.has_learned:
                self._zones.setdefault(_host(target), gate.zones)
                note_zones(target, gate)

    def _gate_for(self, target: str) -> Gate:
        """What lets a request through that may reuse a connection to where it goes first."""
        known = self._zones.get(_host(target))
        return Gate(learns=True) if known is None else Gate(known)

    def _try(
        self,
        method: str,
        target: str,
        accept: Collection[int],
        max_bytes: int | None,
        **kwargs: Any,
    ) -> requests.Response:
        attempt = 0
        while True:
            attempt += 1
            wait = None
            try:
                response = self._answer(method, target, accept, max_bytes, **kwargs)
            except APIError:  # which is one of requests', too
                raise
            except requests.RequestException as error:
                if attempt >= self._tries_after(error):
                    self._raise_unreachable(target, error)
            else:
                if response.status_code < 400 or response.status_code in accept:
                    return response
                if attempt >= self._tries_for(response):
                    self._raise_for(response)
                wait = parse_wait(response.headers)
            self._pause(delay_before(attempt, wait, self.settings))

    def _pause(self, seconds: float) -> None:
        """Wait before another try."""
        time.sleep(seconds)

    def _answer(
        self,
        method: str,
        target: str,
        accept: Collection[int],
        max_bytes: int | None,
        **kwargs: Any,
    ) -> requests.Response:
        """One answer, read if it is an error or to be bounded."""
        try:
            response = super().request(method, target, **kwargs)
            log.debug("%s %s -> %s", method, redact(target), response.status_code)
            if response.status_code >= 400 and response.status_code not in accept:
                self._read(response, _MAX_ERROR_BYTES, cut=True)
            elif max_bytes is not None:
                self._read(response, max_bytes)
            return response
        except _BAD_REDIRECTS as error:
            raise _bad_redirect(target, error) from error
        except requests.RequestException:
            raise
        except ValueError as error:  # what requests makes of some redirects
            raise _bad_redirect(target, error) from error

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send a prepared request; errors are those of :meth:`requests.Session.send`."""
        request.url, given = take_key(self.root_url, request.url or "")
        key = under_way(self)  # as for what a redirect leads to
        key = key or Sending(self, self.root_url, self.api_key if given is None else given)
        if not isinstance(self.get_adapter(request.url), KeyAdapter):
            request.url = key.signed(request.url)
        with sending(key):
            return super().send(request, **kwargs)

    def _tries_after(self, error: requests.RequestException) -> int:
        """How often to try where there was no answer, or not all of one."""
        if slowness(error):
            return min(2, self.settings.max_attempts)
        if isinstance(error, requests.exceptions.SSLError | requests.exceptions.ProxyError):
            return 1  # certificates and proxies do not change by trying again
        passing = (
            requests.ConnectionError | requests.Timeout | requests.exceptions.ChunkedEncodingError
        )
        return self.settings.max_attempts if isinstance(error, passing) else 1

    def _tries_for(self, response: requests.Response) -> int:
        """How often to try where this is the answer."""
        if is_limited(response):
            return 2 * self.settings.max_attempts - 1
        passes = is_retryable(response.status_code)
        return self.settings.max_attempts if passes else 1

    def _read(self, response: requests.Response, most: int, *, cut: bool = False) -> None:
        """Read a body into memory, and let go of the connection.

        Args:
            response: Whose body.
            most: Bytes at most, decompressed.
            cut: Leave out what is beyond them, rather than refuse all of it.

        Raises:
            APIError: if there are more.
            requests.RequestException: if it breaks off.
        """
        coding = ", ".join(parse_codings(response.headers.get("Content-Encoding")))
        if coding not in _CODINGS:
            response.close()
            raise APIError(
                f"{redact(response.url)} answered in a coding that nobody asked for: {coding}."
            )
        body = bytearray()
        with response:
            for piece in read_pieces(response, _PIECE):
                body += piece
                if len(body) > most:
                    if cut:
                        break
                    raise AnswerTooLarge(
                        f"{redact(response.url)} answered with more than {most:,} bytes: if you "
                        "trust it, raise ApiSettings.max_json_bytes."
                    )
        response._content = bytes(body[:most])  # where requests keeps what has been read

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Where a redirect leads, without our key; the adapter adds it again where it belongs."""
        if resp.is_redirect:
            self._read(resp, _MAX_ERROR_BYTES, cut=True)  # requests would read all there is
        target: str | None = super().get_redirect_target(resp)
        if target and _is_downgrade(resp.url, target):
            raise APIError(
                f"{redact(resp.url)} redirects from https to http, which is not followed: "
                f"{self._WITHOUT_TLS}.",
                response=resp,
            )
        for secret in self._secrets() if target else ():
            target = without_key(target or "", secret)
            if holds(target, secret):
                raise APIError(
                    f"{redact(resp.url)} redirects to a URL that has the API key in it, outside "
                    "of its query: it is not followed, whoever reads logs on the way would have "
                    "the key. Tell whoever runs the hub."
                )
        return target

    def _secrets(self) -> set[str]:
        """The keys that are sent, which nobody may read."""
        key = under_way(self)
        return {secret for secret in (self.api_key, key and key.api_key) if secret}

    def get_json(self, url: str, **kwargs: Any) -> Any:
        """GET a JSON document.

        Raises:
            APIError: if the answer is not JSON; and all that :meth:`request` raises.
        """
        response = self.request("GET", url, max_bytes=self.settings.max_json_bytes, **kwargs)
        try:
            return parse_json(response.content, max_depth=_MAX_DEPTH)
        except (ValueError, MemoryError) as error:
            raise APIError(
                f"{redact(response.url)} answered with something that is not JSON "
                f"({one_line(response.headers.get('Content-Type', 'no content type'))}: "
                f"{one_line(error) or 'too large'}): is {redact(self.root_url)} the root of an "
                f"MLHub API? If not, {_POINT_AT_A_HUB}.",
                response=response,
            ) from error

    def paginate(self, url: str, **kwargs: Any) -> Iterator[dict[str, Any]]:
        """GET a page, then those that its ``rel: next`` links lead to.

        Raises:
            APIError: if the links lead in a circle, or on and on without an item; and all that
                :meth:`request` raises.
        """
        current: str | None = self.url_of(url)
        given = _key_in(kwargs.get("params"))
        seen: set[str] = set()
        empty = 0
        while current is not None:
            if current in seen or len(seen) > _MAX_PAGES:
                raise APIError(f"The pages of {redact(url)} lead in a circle.")
            seen.add(current)
            page = self.get_json(current, **kwargs)
            if not isinstance(page, dict):
                raise APIError(f"{redact(current)} did not answer with a page of items.")
            yield page
            empty = 0 if page.get("features") else empty + 1
            if empty > _MAX_EMPTY_PAGES:
                raise APIError(f"The pages of {redact(url)} lead on and on, with nothing on them.")
            following = _next_link(page)
            try:
                current = urljoin(current, following) if following else None
                _checked_url(current or self.root_url)
            except ValueError as error:
                raise APIError(f"{redact(current)} has a next page that is no URL.") from error
            # A next link carries its own parameters; the key is ours to give.
            current = current and take_key(self.root_url, current)[0]
            kwargs["params"] = given

    def _raise_unreachable(self, url: str, error: Exception) -> NoReturn:
        reason = redact(reason_of(error), *self._secrets())
        kind = HubTimeout if is_timeout(error) else HubUnreachable
        what = "answers in bytes that are not HTTP" if _is_no_http(error) else "does not answer"
        if not is_under(self.root_url, url):
            raise kind(
                f"{redact(url)} {what} ({reason}): check the address, or try again later."
            ) from error
        if self.root_url == DEFAULT_ROOT_URL:
            raise kind(
                f"{DEFAULT_ROOT_URL} does not answer: the public MLHub API has been switched off. "
                f"Instead, {_POINT_AT_A_HUB}. ({reason})"
            ) from error
        raise kind(
            f"{redact(url)} {what} ({reason}): is the hub running, and is MLHUB_ROOT_URL "
            f"right? Otherwise, {_POINT_AT_A_HUB}."
        ) from error

    def _raise_for(self, response: requests.Response) -> NoReturn:
        status = response.status_code
        url = redact(response.url, *self._secrets())
        detail = redact(detail_of(response), *self._secrets())
        reason = f" ({one_line(response.reason)})" if response.reason else ""
        if is_limited(response):
            raise APIError(
                f"The hub is asked too often, by us or by others: {url} answered {status}{detail}, "
                "and went on to. Try again later.",
                response=response,
            )
        if status in (401, 403) and not self.api_key and not is_under(self.root_url, url):
            host = urlsplit(url).hostname
            raise AuthenticationError(
                f"{url} wants a login, or refuses it ({status}{detail}): a line `machine {host} "
                "login NAME password …` in the netrc file of this machine gives one.",
                response=response,
            )
        if status in (401, 403):
            key = under_way(self)
            if key and key.carries_key(response.url):
                what = "refuses the API key"
            elif key and key.api_key:
                what = f"wants a key, and none was sent outside of {redact(self.root_url)}"
            else:
                what = "wants an API key, and none was sent"
            raise AuthenticationError(
                f"The hub {what} for {url} ({status}{detail}). Check MLHUB_API_KEY, the profile, "
                "or run `mlhub configure`.",
                response=response,
            )
        if status == 404:
            raise EntityDoesNotExist(f"{url} does not exist (404{detail}).", response=response)
        raise APIError(f"{url} answered {status}{detail or reason}.", response=response)


def get_session(
    *,
    api_key: str | None = None,
    profile: str | None = None,
    settings: ApiSettings | None = None,
) -> Session:
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
        return Session(api_key=api_key, settings=settings)
    if os.environ.get(Session.API_KEY_ENV_VARIABLE, "").strip():
        return Session.from_env(settings=settings)
    name = profile or os.environ.get(Session.PROFILE_ENV_VARIABLE, "").strip() or None
    try:
        return Session.from_config(name, settings=settings)
    except APIKeyNotFound as error:
        off = ""
        if root_url() == DEFAULT_ROOT_URL:
            off = f" And the public MLHub API has been switched off: {_POINT_AT_A_HUB}."
        raise APIKeyNotFound(
            f"No API key: {error} Give api_key, set MLHUB_API_KEY, run `mlhub configure`, or use "
            f"the profile {ANONYMOUS_PROFILE} (MLHUB_PROFILE={ANONYMOUS_PROFILE}) for a hub that "
            f"needs none.{off}"
        ) from error


def _key_in(params: Any) -> dict[str, str] | None:
    """The key among the parameters of a call; None, which requests leaves out, means none."""
    if isinstance(params, Mapping) and "key" in params:
        return {"key": params["key"] or ""}
    return None


def _checked_url(url: str, params: Any = None) -> str:
    """A URL with its parameters.

    What is none is refused before anything is sent; what comes later is the hub's fault.
    """
    if given := _key_in(params):
        params = {**params, **given}
    try:
        whole = requests.Request("GET", url, params=params).prepare().url
    except (requests.RequestException, ValueError) as error:
        raise InvalidArgument(f"{redact(url)} is no URL ({redact(error)}).") from error
    except TypeError as error:
        raise InvalidArgument(f"params: {redact(error)}: give a mapping.") from error
    if not url.lower().startswith(("http://", "https://")):
        raise InvalidArgument(f"{redact(url)} is no URL of http or https.")
    return whole or url


def _host(url: str) -> str:
    return urlsplit(url).netloc


def _password(url: str) -> str | None:
    try:
        password: str | None = urlsplit(url).password
    except ValueError:
        return None
    return password


def _bad_redirect(url: str, error: Exception) -> APIError:
    why = reason_of(error)
    return APIError(f"{redact(url)} answers with a redirect that cannot be followed ({why}).")


def is_limited(response: requests.Response) -> bool:
    """Whether the hub says that it is asked too often; its body has been read."""
    status = response.status_code
    return status == 429 or says_limited(status, response.headers, response.content)


def one_line(text: object) -> str:
    """What others say, kept short and on one line, without what a terminal would obey."""
    plain = redact(text)[:1_000]  # half a key that a cut leaves would not be recognised
    shown = "".join(letter if letter.isprintable() else " " for letter in plain)
    return " ".join(shown.split())[:300]


def is_timeout(error: Exception) -> bool:
    """Whether no answer came in time; of a body, requests calls that a connection error."""
    return isinstance(error, requests.Timeout) or any(
        isinstance(argument, ReadTimeoutError) for argument in error.args
    )


def reason_of(error: BaseException) -> str:
    """The innermost cause, in short: urllib3 wraps it three times."""
    slow = slowness(error)
    if slow is not None:
        return f"too slow: {slow}"
    cause = _innermost(error)
    return one_line(str(cause).rpartition(": ")[2]) or type(cause).__name__


def _innermost(error: BaseException) -> BaseException:
    """The cause of the cause, and so on."""
    cause = error
    seen: set[int] = set()
    while id(cause) not in seen:
        seen.add(id(cause))
        inner = getattr(cause, "reason", None) or next(
            (arg for arg in cause.args if isinstance(arg, BaseException)), None
        )
        cause = inner if isinstance(inner, BaseException) else cause
    return cause


def _is_no_http(error: BaseException) -> bool:
    """Whether something answered, and not as a server of HTTP does."""
    cause = _innermost(error)
    broken_off = isinstance(cause, RemoteDisconnected | IncompleteRead)
    return not broken_off and isinstance(cause, NotHTTP | HTTPException | InvalidHeader)


def detail_of(response: requests.Response) -> str:
    """What the hub says about an error, kept short."""
    try:
        body = parse_json(response.content, max_depth=_MAX_DEPTH)
    except ValueError:
        return ""
    detail = body.get("detail") if isinstance(body, dict) else None
    return f": {one_line(detail)}" if isinstance(detail, str) else ""


def _is_downgrade(url: str, target: str) -> bool:
    """Whether a redirect leads from https to http."""
    return urlsplit(url).scheme == "https" and urlsplit(urljoin(url, target)).scheme == "http"


def _next_link(page: dict[str, Any]) -> str | None:
    links = page.get("links")
    for link in links if isinstance(links, list) else ():
        if isinstance(link, dict) and link.get("rel") == "next":
            href = link.get("href")
            return href if isinstance(href, str) and href else None
    return None
