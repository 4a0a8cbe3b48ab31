"""The connections to a hub: they add the API key where nothing else sees it, and have an end.

The API takes its key as the query parameter ``key``. A key in a URL ends up wherever URLs do: in
``response.url``, in urllib3's debug log, in the text of every connection error and its causes. So
it is added in the connection, below all of these, as the request line is written, and only for
URLs under the hub's root.

And time-outs of a socket begin anew with every byte: a hub that sends one now and then would hold
a caller for ever. So answers also have to keep a least speed.
"""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from email.errors import MissingHeaderBodySeparatorDefect
from http.client import HTTPException, HTTPResponse
from typing import Any
from urllib.parse import quote, unquote, unquote_plus, urlsplit, urlunsplit

import requests
import requests.adapters
from requests.adapters import BaseAdapter
from urllib3.poolmanager import PoolManager
from urllib3.poolmanager import pool_classes_by_scheme as plain_pools
from urllib3.response import BaseHTTPResponse

from mlhub_core.net.addresses import Gate
from mlhub_core.net.clients import is_loopback
from mlhub_core.net.response import misframing, parse_codings
from mlhub_core.settings import ApiSettings

_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Sending:
    """Which key the requests under way carry, and where.

    Attributes:
        owner: The session that sends.
        root_url: The hub's root; only URLs under it get the key.
        api_key: The key, None or empty to send none.
        gate: Decides about the addresses that they connect to.
    """

    owner: object
    root_url: str
    api_key: str | None
    gate: Gate = field(default_factory=Gate)

    def carries_key(self, url: str) -> bool:
        """Whether a request for a URL does."""
        return bool(self.api_key) and is_under(self.root_url, url)

    def signed(self, url: str) -> str:
        """A URL with the key in its query, if it gets it."""
        if not self.carries_key(url):
            return url
        return f"{url}{'&' if '?' in url else '?'}key={quote(self.api_key or '', safe='')}"


_sending: ContextVar[Sending | None] = ContextVar("mlhub_sending", default=None)


@contextmanager
def sending(key: Sending) -> Iterator[Sending]:
    """Let the requests of the block carry a key."""
    token = _sending.set(key)
    try:
        yield key
    finally:
        _sending.reset(token)


def under_way(owner: object) -> Sending | None:
    """What a session is sending, None outside of a block."""
    current = _sending.get()
    return current if current is not None and current.owner is owner else None


def _signed(url: str) -> str:
    current = _sending.get()
    return url if current is None else current.signed(url)


def is_under(root: str, url: str) -> bool:
    """Whether a URL lies under a root: same scheme, host and port, and a path below the root's.

    A path with dot segments, encoded ones too, is never under it: who resolves them is unclear.
    """
    try:
        base, target = urlsplit(root), urlsplit(url)
        ports = [part.port or _DEFAULT_PORTS.get(part.scheme) for part in (base, target)]
    except ValueError:
        return False
    same_origin = (base.scheme, base.hostname, ports[0]) == (
        target.scheme,
        target.hostname,
        ports[1],
    )
    path = target.path or "/"
    if ".." in unquote(unquote(path)).replace("\\", "/").split("/"):
        return False
    return same_origin and (path.startswith(base.path) or path + "/" == base.path)


def without_key(url: str, api_key: str) -> str:
    """A URL without the query parameters whose value is the key; all else stays as it is.

    Servers that redirect to a path with a slash at its end repeat the query, the key in it.
    """
    return _without(url, lambda pair: api_key in _values(pair))[0]


def take_key(root: str, url: str) -> tuple[str, str | None]:
    """Take the parameter ``key`` out of a URL under a root.

    Returns:
        The URL without it, and its value; None where there is none.
    """
    if not is_under(root, url):
        return url, None
    rest, keys = _without(url, lambda pair: pair.partition("=")[0] == "key" and "=" in pair)
    return rest, _values(keys[0])[1] if keys else None


def _without(url: str, leaves: Callable[[str], bool]) -> tuple[str, list[str]]:
    """A URL without some of the pairs of its query, and these."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url, []
    pairs = parts.query.split("&")
    taken = [pair for pair in pairs if leaves(pair)]
    if not taken:
        return url, []
    query = "&".join(pair for pair in pairs if pair not in taken)
    return urlunsplit(parts._replace(query=query)), taken


def _values(pair: str) -> tuple[str, str]:
    value = pair.partition("=")[2]
    return unquote(value), unquote_plus(value)


class TooSlow(TimeoutError):
    """An answer comes, but so slowly that there is no end in sight."""


def slowness(error: BaseException | None) -> TooSlow | None:
    """What was too slow, where that is what went wrong."""
    while error is not None and not isinstance(error, TooSlow):
        error = error.__cause__ or error.__context__
    return error


class Barred(Exception):
    """An address that may not be connected to; the text is it. No time-out, so not tried again."""


class NotHTTP(requests.ConnectionError):
    """An answer whose end nobody can tell, though its head says where it is."""


def read_pieces(response: requests.Response, size: int) -> Iterator[bytes]:
    """Read a body piece by piece.

    Args:
        response: Whose body.
        size: Bytes at a time.

    Raises:
        requests.RequestException: if it breaks off, or is in frames that are none.
    """
    try:
        yield from response.iter_content(size)
    except requests.RequestException:
        raise
    except ValueError as error:
        raise NotHTTP("a chunk of less than nothing") from error


class _PacedReader(io.RawIOBase):
    """What comes over a connection, as long as it comes fast enough.

    The head has to be whole within the read time-out; of a body, what is waited for has to come at
    the least speed, measured over the same time. While nobody reads, nothing is measured.

    Attributes:
        is_at_end: Whether the connection ended before the head did.

    Args:
        raw: Where to read.
        settings: Time-out and least speed.
    """

    def __init__(self, raw: io.RawIOBase, settings: ApiSettings) -> None:
        super().__init__()
        self._raw = raw
        self._seconds = settings.read_timeout
        self._least = settings.min_speed * settings.read_timeout
        self._began = time.monotonic()
        self._in_body = False
        self.is_at_end = False
        self._waited = 0.0
        self._came = 0

    def begin_body(self) -> None:
        """The head is whole."""
        self._in_body = True

    def readable(self) -> bool:
        """Whether it can be read: always."""
        return True

    def fileno(self) -> int:
        """The descriptor of the socket."""
        return self._raw.fileno()

    def readinto(self, buffer: Any) -> int | None:
        """Read what has come.

        Raises:
            TooSlow: if it comes too slowly.
        """
        before = time.monotonic()
        count = self._raw.readinto(buffer)
        now = time.monotonic()
        if not self._in_body:
            self.is_at_end = not count
            if now - self._began > self._seconds:
                raise TooSlow(f"its header is not whole after {self._seconds:g} s")
            return int(count)
        self._waited += now - before
        self._came += count
        if self._waited > self._seconds:
            if self._came < self._least:
                speed = self._came / self._waited
                raise TooSlow(f"{speed:.1f} bytes a second, over {self._seconds:g} s")
            self._waited = self._came = 0
        return int(count)

    def close(self) -> None:
        """Let go of the socket."""
        self._raw.close()
        super().close()


def _paced_response(settings: ApiSettings) -> type[HTTPResponse]:
    class PacedResponse(HTTPResponse):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._paced = _PacedReader(self.fp.detach(), settings)
            self.fp = io.BufferedReader(self._paced)

        def begin(self) -> None:
            super().begin()
            if self._paced.is_at_end:
                raise ConnectionResetError("broken off within its header")
            if any(isinstance(one, MissingHeaderBodySeparatorDefect) for one in self.msg.defects):
                raise HTTPException("a header line without a colon, and others behind it")
            self._paced.begin_body()

    return PacedResponse


class _KeyedMixin:
    """A connection that adds the key when it writes the request line."""

    key_scheme: str

    def _new_conn(self) -> socket.socket:
        """Connect, and hang up before a word is said where that may not be.

        Raises:
            Barred: if it may not.
        """
        connected: socket.socket = super()._new_conn()  # type: ignore[misc]
        current = _sending.get()
        # A connection through SOCKS calls the host its peer, and not the proxy that it is to.
        address = socket.socket.getpeername(connected)[:2]
        if current is not None and not current.gate.admits(*address):
            connected.close()
            raise Barred(address[0])
        return connected

    def putrequest(self, method: str, url: str, *args: Any, **kwargs: Any) -> None:
        """Write the request line, with the key where it belongs."""
        if url.startswith("/"):
            host: str = self.host  # type: ignore[attr-defined]
            host = f"[{host}]" if ":" in host else host
            port: int = self.port  # type: ignore[attr-defined]
            signed = _signed(f"{self.key_scheme}://{host}:{port}{url}")
            url = "/" + signed.split("/", 3)[3]
        else:  # to a proxy goes the absolute form
            url = _signed(url)
        super().putrequest(method, url, *args, **kwargs)  # type: ignore[misc]


def _keyed_pool(scheme: str, pool: Any, more: dict[str, Any]) -> Any:
    """A class of pools like another one, be it of direct connections or through SOCKS."""
    more = more | {"key_scheme": scheme}
    connection = type("KeyedConnection", (_KeyedMixin, pool.ConnectionCls), more)
    return type("KeyedPool", (pool,), {"ConnectionCls": connection})


class KeyAdapter(requests.adapters.HTTPAdapter):
    """A transport adapter that sends the API key to the hub, and to nobody else."""

    _more: dict[str, Any]
    """What its connections have, beside the key."""

    @staticmethod
    def of(adapter: BaseAdapter, settings: ApiSettings) -> BaseAdapter:
        """Let an adapter, made by whomever, open connections that add the key.

        Adapters that open none of their own, or unusual ones, come back as they are.

        Args:
            adapter: The adapter. It may serve several sessions: each sends its own key.
            settings: How slow an answer may be.
        """
        if not isinstance(adapter, requests.adapters.HTTPAdapter) or isinstance(
            adapter, KeyAdapter
        ):
            return adapter
        pools: PoolManager = adapter.poolmanager
        if pools.pool_classes_by_scheme is not plain_pools:
            return adapter
        kind = type(adapter)
        adapter.__class__ = type(f"Keyed{kind.__name__}", (KeyAdapter, kind), {})
        assert isinstance(adapter, KeyAdapter)
        adapter._more = {"response_class": _paced_response(settings)}
        adapter._keyed(pools).clear()
        return adapter

    def build_response(
        self, req: requests.PreparedRequest, resp: BaseHTTPResponse
    ) -> requests.Response:
        """Make of an answer what requests hands out.

        Its ``Content-Encoding`` then names codings only: urllib3 takes what it does not know in a
        list for deflate.

        Raises:
            NotHTTP: if nobody can tell where its body ends.
        """
        headers = resp.headers
        if cause := misframing(headers):
            resp.close()
            raise NotHTTP(cause, request=req)
        if "Content-Encoding" in headers:
            headers["Content-Encoding"] = ", ".join(parse_codings(headers["Content-Encoding"]))
        return super().build_response(req, resp)

    def _keyed(self, manager: PoolManager) -> PoolManager:
        manager.pool_classes_by_scheme = {
            scheme: _keyed_pool(scheme, pool, self._more)
            for scheme, pool in manager.pool_classes_by_scheme.items()
        }
        return manager

    def send(
        self, request: requests.PreparedRequest, *args: Any, **kwargs: Any
    ) -> requests.Response:
        """Send a request, to this machine without any proxy."""
        if is_loopback(request.url or ""):
            kwargs["proxies"] = {}
        return super().send(request, *args, **kwargs)

    def proxy_manager_for(self, proxy: Any, **kwargs: Any) -> PoolManager:
        """Make the pools of connections through a proxy, or give those that were made before."""
        made = proxy in self.proxy_manager
        manager = super().proxy_manager_for(proxy, **kwargs)
        return manager if made else self._keyed(manager)
