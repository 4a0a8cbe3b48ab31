"""The engine: one loop of libcurl's multi interface, in one thread, for any number of transfers.

It moves bytes and knows neither assets nor files nor keys: what is fetched, what an answer is
worth and what comes next is up to each :class:`Exchange`. ``socket_action`` with ``selectors``
instead of ``CurlMulti.select()``, which spins once a descriptor is above 1,024.
"""

from __future__ import annotations

import heapq
import logging
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Protocol

import pycurl

from mlhub_core.exceptions import StorageError
from mlhub_core.http_rules import parse_length
from mlhub_core.redact import redact
from mlhub_core.settings import USER_AGENT, TransferSettings
from mlhub_core.stop import StopFlag
from mlhub_core.transfer.environment import ca_bundle, most_transfers
from mlhub_core.transfer.faults import STALLED, Fault, fault_of, out_of_descriptors
from mlhub_core.transfer.governor import Governor
from mlhub_core.transfer.head import ResponseHead, parse_head

logger = logging.getLogger(__name__)

_TICK = 0.25
"""Longest time without a look at the stop flag and the stalled, in seconds."""
_BLOCKED_TICK = 0.05
"""The same while a host has no free place: should a wake-up be lost, this is the delay."""
_LOOK_AHEAD = 256
"""Exchanges waiting for a place, so that one busy host does not keep others idle."""
_MOST_RETRIES = 4096
"""Exchanges waiting for another try, before no new ones are begun."""
_DRAIN = 64 * 1024
"""An unwanted body up to this size is read and dropped, which keeps the connection."""
_BUFFER = 128 * 1024

_OVERLOADED = (429, 503)


class Exchange(Protocol):
    """One file to fetch, over as many requests as it takes."""

    @property
    def url(self) -> str:
        """Where to send the next request."""

    @property
    def host(self) -> str:
        """What the governor counts by."""

    def fields(self) -> list[str]:
        """Header lines of the next request, which is about to be sent."""

    def begin(self, head: ResponseHead) -> bool:
        """Judge a response by its head; False when its body is not wanted."""

    def write(self, data: bytes) -> bool:
        """Take a piece of the body; False to break the transfer off."""

    def settle(self, fault: Fault | None) -> float | None:
        """Conclude a request; seconds until the next one, or None when there is none."""

    def abandon(self) -> None:
        """Let go in mid-air: the run is stopping."""


class _Slot:
    """An easy handle, set up once and used for one request after another."""

    __slots__ = (
        "begun",
        "closes",
        "crash",
        "drained",
        "easy",
        "exchange",
        "head",
        "lines",
        "moved",
        "wanted",
    )

    def __init__(self, easy: Any) -> None:
        self.easy = easy
        self.lines: list[bytes] = []
        self.exchange: Exchange | None = None
        self.reset()

    def reset(self) -> None:
        self.lines.clear()
        self.head: ResponseHead | None = None
        self.begun = False
        self.closes = False
        self.wanted = False
        self.drained = 0
        self.moved = 0.0
        self.crash: Exception | None = None

    def begin(self) -> None:
        """Judge the response, once its head is here."""
        self.begun = True
        self.head = parse_head(self.lines)
        if self.head is not None and self.exchange is not None:
            self.wanted = self.exchange.begin(self.head)

    def on_data(self, data: bytes) -> int | None:
        """Called by libcurl with a piece of a body; anything but None breaks the transfer off."""
        self.moved = time.monotonic()
        try:
            if not self.begun:
                self.begin()
            if self.wanted:
                assert self.exchange is not None
                return None if self.exchange.write(data) else -1
            return self._drop(len(data))
        except Exception as error:  # noqa: BLE001 - pycurl would print and drop it
            self.crash = error  # raised again by the loop, where it can be handled
            return -1

    def _drop(self, size: int) -> int | None:
        self.drained += size
        length = parse_length(self.head.get("content-length")) if self.head else None
        return None if max(self.drained, length or 0) <= _DRAIN else -1


class Engine:
    """Runs exchanges until there are no more.

    Args:
        settings: Time-outs and limits.
        governor: Shared by all engines of the process.
        stop: Looked at several times a second.
    """

    def __init__(self, settings: TransferSettings, governor: Governor, stop: StopFlag) -> None:
        self._settings = settings
        self._stop = stop
        self._ca_bundle = ca_bundle()
        self._most = most_transfers()
        self._selector = selectors.DefaultSelector()
        self._alarm, self._bell = socket.socketpair()
        self._alarm.setblocking(False)
        self._bell.setblocking(False)
        self._selector.register(self._alarm, selectors.EVENT_READ)
        self._multi: Any = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._on_socket)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._on_timer)
        self._multi.setopt(pycurl.M_MAXCONNECTS, max(8, 2 * settings.concurrency))
        self._member = governor.join(self._ring)
        self._deadline: float | None = None
        self._slots: dict[Any, _Slot] = {}
        self._spare: list[_Slot] = []
        self._queues: dict[str, deque[Exchange]] = {}
        self._leases: dict[str, int] = {}
        self._idle: dict[str, int] = {}
        self._retries: list[tuple[float, int, Exchange]] = []
        self._sequence = 0
        self._exhausted = False
        self._looked = time.monotonic()
        self.requests = 0
        self.retries = 0

    def run(self, source: Iterator[Exchange], tick: Callable[[], None]) -> None:
        """Run all exchanges of a source, which is pulled from as places get free.

        Args:
            source: What to do.
            tick: Called at least four times a second.

        Raises:
            Interrupted: if the stop flag was set.
            StorageError: from an exchange, or when the process may open no more files.
        """
        try:
            while True:
                self._stop.check()
                self._fill(source)
                if not (self._slots or self._retries or self._queues):
                    return
                self._poll()
                self._collect()
                self._look_round()
                tick()
        except BaseException:
            self._abandon_all()
            raise
        finally:
            self._close()

    # Starting

    def _fill(self, source: Iterator[Exchange]) -> None:
        now = time.monotonic()
        while self._retries and self._retries[0][0] <= now:
            exchange = heapq.heappop(self._retries)[2]
            self._queues.setdefault(exchange.host, deque()).appendleft(exchange)
        waiting = 0
        for host in list(self._queues):
            waiting += self._start_queued(host)
        while (
            not self._exhausted
            and waiting < _LOOK_AHEAD
            and len(self._slots) < self._most
            and len(self._retries) < _MOST_RETRIES
        ):
            following = next(source, None)
            if following is None:
                self._exhausted = True
                break
            self._queues.setdefault(following.host, deque()).append(following)
            if len(self._queues[following.host]) == 1:
                waiting += self._start_queued(following.host)
            else:
                waiting += 1

    def _start_queued(self, host: str) -> int:
        """Start what may be started for a host; how many still wait."""
        queue = self._queues[host]
        while queue and len(self._slots) < self._most and self._lease(host):
            exchange = queue.popleft()
            try:
                self._start(exchange)
            except BaseException:
                queue.appendleft(exchange)
                raise
        if not queue:
            del self._queues[host]
        return len(queue)

    def _lease(self, host: str) -> bool:
        """Have a connection to use: one that lies idle, else a new one."""
        if self._idle.get(host):
            self._idle[host] -= 1
            return True
        if not self._member.try_acquire(host):
            return False
        self._leases[host] = self._leases.get(host, 0) + 1
        return True

    def _start(self, exchange: Exchange) -> None:
        fields = exchange.fields()
        slot = self._spare.pop() if self._spare else self._new_slot()
        slot.reset()
        slot.exchange = exchange
        slot.moved = time.monotonic()
        easy = slot.easy
        easy.setopt(pycurl.URL, exchange.url)
        easy.setopt(pycurl.HTTPHEADER, fields)
        slot.closes = self._last_use(exchange.host)
        easy.setopt(pycurl.FORBID_REUSE, slot.closes)
        self._slots[easy] = slot
        self._multi.add_handle(easy)
        self.requests += 1
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("GET %s", redact(exchange.url))

    def _last_use(self, host: str) -> bool:
        """Whether the connection is to be closed afterwards, for the sake of other partitions.

        An idle connection of ours and a new one of theirs would be more than the limit. Of the
        last transfers to a host, each is the last on its connection.
        """
        if self._member.surplus(host):
            return True
        if not self._exhausted or self._retries or self._member.alone():
            return False
        return len(self._queues.get(host, ())) < self._leases[host]

    def _give_back(self, host: str) -> None:
        self._leases[host] -= 1
        self._member.release(host)

    def _give_back_idle(self) -> None:
        """Let others have what lies idle because nothing is queued for a host just now.

        Should its connection still be open, it is one too many until the host closes it.
        """
        for host, idle in self._idle.items():
            while idle and host not in self._queues and self._member.wanted(host):
                idle -= 1
                self._idle[host] = idle
                self._give_back(host)

    def _new_slot(self) -> _Slot:
        settings = self._settings
        easy = pycurl.Curl()
        slot = _Slot(easy)
        easy.setopt(pycurl.WRITEFUNCTION, slot.on_data)
        easy.setopt(pycurl.HEADERFUNCTION, slot.lines.append)
        easy.setopt(pycurl.NOSIGNAL, 1)
        # HTTP/2 would put a hundred transfers on one connection, and limits would mean nothing.
        easy.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        easy.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        easy.setopt(pycurl.REDIR_PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        easy.setopt(pycurl.FOLLOWLOCATION, 1)
        easy.setopt(pycurl.MAXREDIRS, settings.max_redirects)
        easy.setopt(pycurl.CONNECTTIMEOUT_MS, max(1, int(settings.connect_timeout * 1000)))
        easy.setopt(pycurl.USERAGENT, USER_AGENT)
        easy.setopt(pycurl.CAINFO, self._ca_bundle)
        easy.setopt(pycurl.BUFFERSIZE, _BUFFER)
        return slot

    # Waiting

    def _on_socket(self, event: int, fd: int, _multi: object, _data: object) -> None:
        if event == pycurl.POLL_REMOVE:
            with suppress(KeyError, ValueError, OSError):  # closed already
                self._selector.unregister(fd)
            return
        mask = 0
        if event & pycurl.POLL_IN:
            mask |= selectors.EVENT_READ
        if event & pycurl.POLL_OUT:
            mask |= selectors.EVENT_WRITE
        try:
            self._selector.register(fd, mask)
        except KeyError:
            self._selector.modify(fd, mask)

    def _on_timer(self, milliseconds: int) -> None:
        self._deadline = None if milliseconds < 0 else time.monotonic() + milliseconds / 1000

    def _ring(self) -> None:
        with suppress(OSError):  # full: it rings already; closed: nobody listens any more
            self._bell.send(b"\0")

    def _poll(self) -> None:
        now = time.monotonic()
        timeout = _BLOCKED_TICK if self._queues else _TICK
        if self._deadline is not None:
            timeout = min(timeout, self._deadline - now)
        if self._retries:
            timeout = min(timeout, self._retries[0][0] - now)
        for key, mask in self._selector.select(max(0.0, timeout)):
            if key.fileobj is self._alarm:
                with suppress(BlockingIOError):
                    self._alarm.recv(4096)
                continue
            bits = pycurl.CSELECT_IN if mask & selectors.EVENT_READ else 0
            bits |= pycurl.CSELECT_OUT if mask & selectors.EVENT_WRITE else 0
            self._multi.socket_action(key.fd, bits)
        if self._deadline is not None and self._deadline <= time.monotonic():
            self._deadline = None
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)

    def _look_round(self) -> None:
        """Break off what has stalled.

        A loop that was itself held up (a large file's digest) must not blame its transfers.
        """
        now = time.monotonic()
        if now - self._looked < _TICK:
            return
        held_up = max(0.0, now - self._looked - 2 * _TICK)
        self._looked = now
        self._give_back_idle()
        limit = self._settings.stall_timeout
        for slot in list(self._slots.values()):
            slot.moved += held_up
            connected = slot.easy.getinfo(pycurl.PRETRANSFER_TIME) > 0
            if connected and now - slot.moved > limit:
                self._finish(slot, STALLED)

    # Finishing

    def _collect(self) -> None:
        while True:
            remaining, done, broken = self._multi.info_read()
            for easy in done:
                self._finish(self._slots[easy], None)
            for easy, code, message in broken:
                slot = self._slots[easy]
                if out_of_descriptors(int(easy.getinfo(pycurl.OS_ERRNO))):
                    raise StorageError(
                        "Too many open files. Raise the limit (ulimit -n) or lower the number of "
                        "connections (--concurrency); the same command goes on from there."
                    )
                self._finish(slot, fault_of(code, message))
            if not remaining:
                return

    def _finish(self, slot: _Slot, fault: Fault | None) -> None:
        exchange = slot.exchange
        assert exchange is not None
        del self._slots[slot.easy]
        self._multi.remove_handle(slot.easy)
        overloaded = False
        try:
            if slot.crash is not None:
                raise slot.crash
            if not slot.begun:
                self._begin_late(slot, fault)
            overloaded = slot.head is not None and slot.head.status in _OVERLOADED
            delay = exchange.settle(fault)
        except BaseException:
            exchange.abandon()
            raise
        finally:
            slot.exchange = None
            self._spare.append(slot)
            self._member.report(exchange.host, overloaded=overloaded)
            if slot.closes:
                self._give_back(exchange.host)
            else:
                self._idle[exchange.host] = self._idle.get(exchange.host, 0) + 1
        if delay is not None:
            self.retries += 1
            self._sequence += 1
            entry = (time.monotonic() + delay, self._sequence, exchange)
            heapq.heappush(self._retries, entry)

    @staticmethod
    def _begin_late(slot: _Slot, fault: Fault | None) -> None:
        """Judge a response without a body.

        Unless what is here is a redirect, and what broke is the way to its target.
        """
        head = parse_head(slot.lines)
        if fault is None or (head is not None and not 300 <= head.status < 400):
            slot.begin()

    def _abandon_all(self) -> None:
        """Let go of everything; what each has of its file is up to it."""
        under_way = [slot.exchange for slot in self._slots.values()]
        waiting = [exchange for _, _, exchange in self._retries]
        queued = [exchange for queue in self._queues.values() for exchange in queue]
        for exchange in (*under_way, *waiting, *queued):
            if exchange is not None:
                exchange.abandon()

    def _close(self) -> None:
        for easy in list(self._slots):
            self._multi.remove_handle(easy)
        for slot in (*self._slots.values(), *self._spare):
            slot.easy.close()
        self._slots.clear()
        self._spare.clear()
        self._multi.close()
        self._member.leave()
        self._selector.close()
        self._alarm.close()
        self._bell.close()
