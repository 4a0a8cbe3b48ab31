"""Transfers that libcurl does, in one thread: handles, their sockets, and the bytes that come.

It knows requests and responses, and neither what is fetched nor how many at a time: that is up to
each :class:`Exchange`, and to :mod:`~mlhub_core.net.http`.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import pycurl

from mlhub_core.exceptions import StorageError
from mlhub_core.net.addresses import Gate, barred
from mlhub_core.net.clients import certificates, check_proxies, no_proxy
from mlhub_core.net.response import ResponseHead, parse_head, parse_length
from mlhub_core.net.retry import UNWANTED, Fault, fault_of, out_of_descriptors, says_limited
from mlhub_core.settings import USER_AGENT, TransferSettings

_BUFFER = 1024 * 1024
"""Bytes that libcurl reads at once, if there are as many; one such buffer for all handles. Reading
less wakes the sender more often, which costs both sides more than the copying does."""
_HELD = 128 * 1024
"""Bytes of a body that come before it is judged, unless it ends sooner."""
_MOST_HELD = 64
"""Pieces of one, the same: of a byte each they would cost more memory than they bring."""
_DRAIN = 64 * 1024
"""An unwanted body up to this size is read and dropped, which keeps the connection."""
_AT_A_TIME = 8
"""Pieces, of up to 16 KiB, that are looked at together."""
_SHARE = 2 * 1024 * 1024
"""Bytes of one body in one turn of the loop. Left alone, libcurl goes on until the socket is empty,
which it never is while the server is faster than we are; nobody else would get a word in, the stop
flag included."""
_EVENTS = {
    pycurl.POLL_IN: selectors.EVENT_READ,
    pycurl.POLL_OUT: selectors.EVENT_WRITE,
    pycurl.POLL_INOUT: selectors.EVENT_READ | selectors.EVENT_WRITE,
}
_BITS = {
    selectors.EVENT_READ: pycurl.CSELECT_IN,
    selectors.EVENT_WRITE: pycurl.CSELECT_OUT,
    selectors.EVENT_READ | selectors.EVENT_WRITE: pycurl.CSELECT_IN | pycurl.CSELECT_OUT,
}

_monotonic = time.monotonic


@dataclass(frozen=True, slots=True)
class Hold:
    """A host wants to be left alone, by all who ask it.

    Attributes:
        cause: What it said.
        wait: Seconds for which it does, None where it does not say.
    """

    cause: str
    wait: float | None = None


class Exchange(Protocol):
    """One file to fetch, over as many requests as it takes."""

    @property
    def url(self) -> str:
        """Where to send the next request."""

    @property
    def host(self) -> str:
        """What connections are counted by."""

    def fields(self) -> list[str]:
        """Header lines of the next request, which is about to be sent; never changed later."""

    def begin(self, head: ResponseHead) -> bool:
        """Judge a response by its head; False when its body is not wanted."""

    def write(self, pieces: Sequence[bytes]) -> bool:
        """Take more of the body; False to break the transfer off."""

    def settle(self, fault: Fault | None) -> float | Hold | None:
        """Conclude a request; seconds until the next one, or None when there is none.

        A hold where the next one is for when the host lets us.
        """

    def give_up(self, fault: Fault) -> bool | None:
        """Fail without another request, for the host has refused too long; keep what is here.

        True where it now has another host, and goes on.
        """

    def abandon(self) -> None:
        """Let go in mid-air: the run is stopping."""


class _Socket(socket.socket):
    """A socket that pycurl makes a copy of, and then lets go of: that is no oversight."""

    def __del__(self) -> None:
        self.close()


class Handle:
    """One of libcurl's easy handles, set up once and used for one request after another.

    It holds the response as it comes, and says when that is judged and who gets its bytes.

    Attributes:
        easy: The handle.
        exchange: Whom the request is for, None between two.
        head: Of the response.
        begun: Whether the response has been judged.
        closes: Whether the connection is closed afterwards.
        moved: When something came last, by the monotonic clock.
        share: Bytes of the body that came in this turn of the loop.
        crash: What the exchange raised where nobody could be told.
        pieces: Of a body, that have come and nobody has looked at.
        barred: An address that it was led to and may not connect to.

    Args:
        settings: Time-outs and limits.
        options: Further ones of the handle.
        gate: Decides about the addresses that it connects to.
    """

    def __init__(self, settings: TransferSettings, options: Mapping[int, str], gate: Gate) -> None:
        self.easy: Any = pycurl.Curl()
        self.exchange: Exchange | None = None
        self.head: ResponseHead | None = None
        self.begun = False
        self.closes = False
        self.moved = 0.0
        self.share = 0
        self.crash: Exception | None = None
        self.pieces: list[bytes] = []
        self.barred: str | None = None
        self._gate = gate
        self._fields: list[str] = []
        self._since = 0.0
        """When the body began, or was last found fast enough, and how much of it had come."""
        self._came = self._looked_at = 0
        self._wanted = False
        self._drained = 0
        self._forbids = False
        self._paused = False
        self._secure = True
        """Whether redirects to plain HTTP are refused: what was to be private would not be."""
        self._lines: list[bytes] = []
        self._held = 0
        """Pieces that wait for the rest, or for enough to judge."""
        self._most_held = min(_HELD, settings.resume_threshold)
        self._set_up(settings, options)

    def _set_up(self, settings: TransferSettings, options: Mapping[int, str]) -> None:
        easy = self.easy
        easy.setopt(pycurl.WRITEFUNCTION, self._receiver())
        easy.setopt(pycurl.HEADERFUNCTION, self._lines.append)
        easy.setopt(pycurl.NOSIGNAL, 1)
        # HTTP/2 would put a hundred transfers on one connection, and limits would mean nothing.
        easy.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        easy.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        easy.setopt(pycurl.REDIR_PROTOCOLS, pycurl.PROTO_HTTPS)
        easy.setopt(pycurl.FOLLOWLOCATION, 1)
        easy.setopt(pycurl.MAXREDIRS, settings.max_redirects)
        easy.setopt(pycurl.CONNECTTIMEOUT_MS, max(1, int(settings.connect_timeout * 1000)))
        easy.setopt(pycurl.USERAGENT, USER_AGENT)
        easy.setopt(pycurl.BUFFERSIZE, _BUFFER)
        if self._gate.zones is not None:
            easy.setopt(pycurl.OPENSOCKETFUNCTION, self._open_socket)
        for option, value in options.items():
            easy.setopt(option, value)

    def _open_socket(self, _purpose: int, address: Any) -> socket.socket | int:
        """A socket for an address, if that may be connected to: no name is looked up after this."""
        host, port = address.addr[:2]
        if not self._gate.admits(host, port):
            self.barred = host
            return int(pycurl.SOCKET_BAD)
        return _Socket(address.family, address.socktype, address.protocol)

    def prepare(self, exchange: Exchange, fields: list[str], *, closes: bool) -> None:
        """Get ready for a request and its response.

        Args:
            exchange: Whom it is for.
            fields: Its header lines.
            closes: Whether the connection is closed afterwards.
        """
        self.exchange = exchange
        self.moved = self._since = _monotonic()
        self._came = self._looked_at = 0
        self.pieces.clear()
        self.head = self.crash = self.barred = None
        self.begun = self._wanted = self._paused = False
        self.share = self._drained = self._held = 0
        self._lines.clear()
        easy = self.easy
        easy.setopt(pycurl.URL, exchange.url)
        secure = exchange.url[:6].lower() == "https:"
        if secure is not self._secure:
            self._secure = secure
            plain = 0 if secure else pycurl.PROTO_HTTP
            easy.setopt(pycurl.REDIR_PROTOCOLS, pycurl.PROTO_HTTPS | plain)
        if fields is not self._fields:
            easy.setopt(pycurl.HTTPHEADER, fields)
            self._fields = fields
        self.closes = closes
        if closes is not self._forbids:
            easy.setopt(pycurl.FORBID_REUSE, closes)
            self._forbids = closes

    def conclude(self, fault: Fault | None) -> None:
        """Judge a response that is over, or broken off, and has not been; hand over the last of it.

        Unless what is here is a redirect, and what broke is the way to its target.
        """
        if not self.begun:
            self.head = parse_head(self._lines)
            if fault is not None and (self.head is None or 300 <= self.head.status < 400):
                return
            self._begin(self.head)
        self._hand_over()

    def _receiver(self) -> Callable[[bytes], int | None]:
        """What libcurl calls with a piece of a body."""
        pieces, progress = self.pieces, self.progress

        def receive(data: bytes) -> int | None:
            if self.share >= _SHARE:
                self._paused = True
                return int(pycurl.WRITEFUNC_PAUSE)  # this piece comes again
            pieces.append(data)
            if len(pieces) < _AT_A_TIME:
                return None
            try:
                return None if progress() else -1
            except Exception as error:  # noqa: BLE001 - pycurl would print and drop it
                self.crash = error  # raised again by the loop, where it can be handled
                return -1

        return receive

    def resume(self) -> bool:
        """Begin another turn for a body that has had its share of one; False to break it off."""
        self.share = 0
        if self._paused:
            self._paused = False
            try:
                self.easy.pause(pycurl.PAUSE_CONT)  # brings what had been read already
            except pycurl.error:
                return False
        return True

    def status(self) -> int:
        """Of the response, 0 where none came."""
        return int(self.easy.getinfo(pycurl.RESPONSE_CODE))

    def is_connected(self) -> bool:
        """Whether the connection stands and the request is sent."""
        return bool(self.easy.getinfo(pycurl.PRETRANSFER_TIME) > 0)

    def is_slow(self, now: float, held_up: float, settings: TransferSettings) -> bool:
        """Whether less of the body came than may, since it began or was last found fast enough.

        Args:
            now: By the monotonic clock.
            held_up: Seconds since the last look in which nobody could take anything.
            settings: The least speed, and over how long it is measured.
        """
        came = self._looked_at + sum(map(len, self.pieces))
        if not came:
            self._since = now
            return False
        self._since += held_up
        seconds = now - self._since
        if seconds < settings.stall_timeout:
            return False
        slow = came - self._came < settings.min_speed * seconds
        self._since, self._came = now, came
        return slow

    def progress(self) -> bool:
        """Look at what has come of the body; False to break the transfer off."""
        if not self.begun:
            count = len(self.pieces)
            if count == self._held:
                return True
            self._held = count
            self.moved = _monotonic()
            # Most files are smaller than this: nothing is decided before they are there.
            if count < _MOST_HELD and sum(map(len, self.pieces)) < self._most_held:
                return True
            self._begin(parse_head(self._lines))
        self.moved = _monotonic()
        return self._hand_over()

    def _begin(self, head: ResponseHead | None) -> None:
        """Have the response judged."""
        self.begun = True
        if head is not None and head.status == 403 and says_limited(403, {}, b"".join(self.pieces)):
            # What the body says counts as much as the field that says the same.
            head = ResponseHead(403, {**head.fields, "x-ratelimit-remaining": "0"})
        self.head = head
        if head is not None and self.exchange is not None:
            self._wanted = self.exchange.begin(head)

    def _hand_over(self) -> bool:
        """Hand over what has come of a judged body; False to break the transfer off."""
        pieces = self.pieces
        if not pieces:
            return True
        size = sum(map(len, pieces))
        self.share += size
        self._looked_at += size
        if self._wanted:
            assert self.exchange is not None
            further = self.exchange.write(pieces)
        else:
            further = self._may_drain(size)
        pieces.clear()
        return further

    def _may_drain(self, size: int) -> bool:
        self._drained += size
        length = parse_length(self.head.get("content-length")) if self.head else None
        return max(self._drained, length or 0) <= _DRAIN


class Transfers:
    """The transfers under way, by libcurl's multi interface.

    Its sockets are waited for with :mod:`selectors`: ``CurlMulti.select()`` spins once a descriptor
    is above 1,024.

    Args:
        settings: Time-outs and limits.
        gate: Decides about the addresses that are connected to; one by the settings when None.

    Attributes:
        handles: Those under way, by easy handle.
        deadline: When libcurl wants to be told the time, by the monotonic clock.

    Raises:
        InvalidArgument: if what the environment says of certificates or proxies cannot be.
    """

    def __init__(self, settings: TransferSettings, gate: Gate | None = None) -> None:
        self._settings = settings
        self._gate = gate or Gate(settings.zones)
        self._options = _options()
        self._selector = selectors.DefaultSelector()
        self._multi: Any = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._on_timer)
        self._multi.setopt(pycurl.M_MAXCONNECTS, max(8, 2 * settings.concurrency))
        self._spare: list[Handle] = []
        self.handles: dict[Any, Handle] = {}
        self.deadline: float | None = None

    def start(self, exchange: Exchange, fields: list[str], *, closes: bool) -> None:
        """Begin a transfer; the next :meth:`expire` sends its request.

        Args:
            exchange: Whom it is for.
            fields: Header lines of the request.
            closes: Whether the connection is closed afterwards.
        """
        handle = (
            self._spare.pop() if self._spare else Handle(self._settings, self._options, self._gate)
        )
        handle.prepare(exchange, fields, closes=closes)
        self.handles[handle.easy] = handle
        self._multi.add_handle(handle.easy)

    def _watch(self, event: int, fd: int, _multi: object, _data: object) -> None:
        """Take up a socket, or let go of it."""
        if event not in _EVENTS:
            with suppress(KeyError):
                self._selector.unregister(fd)
            return
        try:
            self._selector.register(fd, _EVENTS[event])
        except KeyError:  # for something else, or its number stood for another one before
            self._selector.unregister(fd)
            self._selector.register(fd, _EVENTS[event])

    def _on_timer(self, milliseconds: int) -> None:
        self.deadline = None if milliseconds < 0 else _monotonic() + milliseconds / 1000

    def expire(self) -> bool:
        """Let libcurl do what is due; whether that ended a transfer, of which no socket will tell.

        It reads on here where the last read did not empty a socket.
        """
        if self.deadline is None or self.deadline > _monotonic():
            return False
        self.deadline = None
        running: int = self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)[1]
        return running < len(self.handles)

    def wait(self, timeout: float) -> None:
        """Wait for sockets, and let libcurl do what can be done with them.

        Args:
            timeout: Seconds at most.
        """
        for key, events in self._selector.select(max(0.0, timeout)):
            self._multi.socket_action(key.fd, _BITS[events])
        self.expire()

    def broken_by_us(self) -> list[tuple[Handle, Fault | None]]:
        """Hand over what has come of bodies, and let those go on that had their share of a turn.

        Returns:
            Those whose rest is of no use.
        """
        return [
            (handle, UNWANTED)
            for handle in self.handles.values()
            if (handle.pieces and not handle.progress()) or (handle.share and not handle.resume())
        ]

    def ended(self) -> Iterator[tuple[Handle, Fault | None]]:
        """Those that are over, or broken off; each is to be released before the next.

        Raises:
            StorageError: when the process may open no more files.
        """
        while self.handles:
            remaining, done, broken = self._multi.info_read()
            for easy in done:
                yield self.handles[easy], None
            for easy, code, message in broken:
                if out_of_descriptors(int(easy.getinfo(pycurl.OS_ERRNO))):
                    raise StorageError(
                        "Too many open files. Raise the limit (ulimit -n) or lower the number of "
                        "connections (--concurrency); the same command goes on from there."
                    )
                handle = self.handles[easy]
                fault = fault_of(code, message)
                # Of several addresses of one host another one may have answered.
                yield handle, barred(handle.barred) if handle.barred and code == 7 else fault
            if not remaining:
                return

    def release(self, handle: Handle) -> None:
        """Take out a transfer that is over, or that nobody wants to go on."""
        del self.handles[handle.easy]
        self._multi.remove_handle(handle.easy)

    def spare(self, handle: Handle) -> None:
        """Keep a handle for another transfer."""
        handle.exchange = None
        self._spare.append(handle)

    def close(self) -> None:
        """Close all connections and let go of everything."""
        for easy in self.handles:
            self._multi.remove_handle(easy)
        for handle in (*self.handles.values(), *self._spare):
            handle.easy.close()
        self.handles.clear()
        self._spare.clear()
        self._multi.close()
        self._selector.close()


def _options() -> dict[int, str]:
    """What each of libcurl's handles is told of certificates and proxies.

    Proxies are its own business otherwise: it reads ``http_proxy``, ``https_proxy``, ``all_proxy``
    and ``no_proxy`` by itself.
    """
    check_proxies()
    trusted = certificates()
    options = (pycurl.CAPATH, pycurl.PROXY_CAPATH)
    if not trusted.is_directory:
        options = (pycurl.CAINFO, pycurl.PROXY_CAINFO)
    return {pycurl.NOPROXY: no_proxy()} | dict.fromkeys(options, trusted.path)
