"""The engine: one loop of libcurl's multi interface, in one thread, for any number of transfers.

It moves bytes and knows neither assets nor files nor keys: what is fetched, what an answer is
worth and what comes next is up to each :class:`~mlhub_core.transfer.exchange.Exchange`.
"""

from __future__ import annotations

import heapq
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pycurl

from mlhub_core.exceptions import StorageError
from mlhub_core.redact import redact
from mlhub_core.settings import TransferSettings
from mlhub_core.stop import StopFlag
from mlhub_core.transfer.connections import Connections
from mlhub_core.transfer.environment import ca_bundle, most_transfers
from mlhub_core.transfer.exchange import Exchange
from mlhub_core.transfer.faults import STALLED, UNWANTED, Fault, fault_of, out_of_descriptors
from mlhub_core.transfer.governor import Governor
from mlhub_core.transfer.slot import Slot
from mlhub_core.transfer.sockets import Sockets

logger = logging.getLogger(__name__)

_TICK = 0.25
"""Longest time without a look at the stop flag and the stalled, in seconds."""
_BLOCKED_TICK = 0.05
"""The same while a host has no free place: should a wake-up be lost, this is the delay."""
_LOOK_AHEAD = 256
"""Exchanges waiting for a place, so that one busy host does not keep others idle."""
_MOST_RETRIES = 4096
"""Exchanges waiting for another try, before no new ones are begun."""

_OVERLOADED = (429, 503)


class Engine:
    """Runs exchanges until there are no more, as often as there are some.

    Connections stay open from one run to the next, until :meth:`close`.

    Args:
        settings: Time-outs and limits.
        governor: Shared by all engines of the process.

    Attributes:
        requests: Sent in the last run.
        retries: Of these, those that were not the first of their exchange.
        closed: Whether it can be used no more, as after a run that did not come to its end.
    """

    def __init__(self, settings: TransferSettings, governor: Governor) -> None:
        self._settings = settings
        self._ca_bundle = ca_bundle()
        self._most = most_transfers()
        self._sockets = Sockets()
        self._multi: Any = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._sockets.watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._on_timer)
        self._multi.setopt(pycurl.M_MAXCONNECTS, max(8, 2 * settings.concurrency))
        self._connections = Connections(governor, self._sockets.ring)
        self._deadline: float | None = None
        self._slots: dict[Any, Slot] = {}
        self._spare: list[Slot] = []
        self._queues: dict[str, deque[Exchange]] = {}
        self._retries: list[tuple[float, int, Exchange]] = []
        self._exhausted = False
        self._looked = 0.0
        self._moved = 0
        """Bytes of bodies, in runs before this one."""
        self.requests = 0
        self.retries = 0
        self.closed = False

    def run(self, source: Iterator[Exchange], tick: Callable[[], int], stop: StopFlag) -> None:
        """Run all exchanges of a source, which is pulled from as places get free.

        Args:
            source: What to do.
            tick: Called at least four times a second; says how many bytes of bodies have come.
            stop: Looked at several times a second.

        Raises:
            Interrupted: if the stop flag was set.
            StorageError: from an exchange, or when the process may open no more files.
        """
        self._exhausted = False
        self._looked = time.monotonic()
        self.requests = self.retries = 0
        try:
            while True:
                stop.check()
                self._fill(source)
                if not (self._slots or self._retries or self._queues):
                    self._moved += tick()
                    return
                ended = self._expire()  # sends what was just begun
                self._look_at_bodies()
                self._poll(at_once=ended)
                self._look_at_bodies()
                self._collect()
                self._look_round()
                self._connections.measure(self._moved + tick())
        except BaseException:
            self._abandon_all()
            self.close()
            raise

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
        while queue and len(self._slots) < self._most and self._connections.lease(host):
            exchange = queue.popleft()
            try:
                self._start(exchange, len(queue))
            except BaseException:
                queue.appendleft(exchange)
                raise
        if not queue:
            del self._queues[host]
        return len(queue)

    def _start(self, exchange: Exchange, waiting: int) -> None:
        fields = exchange.fields()
        slot = self._spare.pop() if self._spare else Slot(self._settings, self._ca_bundle)
        nearly_done = self._exhausted and not self._retries
        closes = self._connections.last_use(exchange.host, waiting if nearly_done else None)
        slot.prepare(exchange, fields, closes=closes)
        self._slots[slot.easy] = slot
        self._multi.add_handle(slot.easy)
        self.requests += 1
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("GET %s", redact(exchange.url))

    # Waiting

    def _on_timer(self, milliseconds: int) -> None:
        self._deadline = None if milliseconds < 0 else time.monotonic() + milliseconds / 1000

    def _expire(self) -> bool:
        """Let libcurl do what is due; whether that ended a transfer, of which no socket will tell.

        It reads on here where the last read did not empty a socket.
        """
        if self._deadline is None or self._deadline > time.monotonic():
            return False
        self._deadline = None
        running: int = self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)[1]
        return running < len(self._slots)

    def _poll(self, *, at_once: bool) -> None:
        now = time.monotonic()
        timeout = _BLOCKED_TICK if self._queues else _TICK
        if self._deadline is not None:
            timeout = min(timeout, self._deadline - now)
        if self._retries:
            timeout = min(timeout, self._retries[0][0] - now)
        act = self._multi.socket_action
        for fd, bits in self._sockets.wait(0.0 if at_once else timeout):
            act(fd, bits)
        self._expire()

    def _look_at_bodies(self) -> None:
        """Hand over what has come, and let those go on that had their share of this turn."""
        unwanted = [
            slot
            for slot in self._slots.values()
            if (slot.pieces and not slot.progress()) or (slot.share and not slot.resume())
        ]
        for slot in unwanted:
            self._finish(slot, UNWANTED)

    def _look_round(self) -> None:
        """Break off what has stalled.

        A loop that was itself held up (a large file's digest) must not blame its transfers.
        """
        now = time.monotonic()
        if now - self._looked < _TICK:
            return
        held_up = max(0.0, now - self._looked - 2 * _TICK)
        self._looked = now
        self._connections.give_back_idle(self._queues)
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

    def _finish(self, slot: Slot, fault: Fault | None) -> None:
        exchange = slot.exchange
        assert exchange is not None
        del self._slots[slot.easy]
        self._multi.remove_handle(slot.easy)
        overloaded = False
        try:
            if slot.crash is not None:
                raise slot.crash
            if fault is None and slot.take():
                delay = None
            else:
                slot.conclude(fault)
                overloaded = slot.head is not None and slot.head.status in _OVERLOADED
                overloaded = overloaded or (fault is not None and fault.crowded)
                delay = exchange.settle(fault)
        except BaseException:
            exchange.abandon()
            raise
        finally:
            slot.exchange = None
            self._spare.append(slot)
            self._connections.used(exchange.host, overloaded=overloaded, closed=slot.closes)
        if delay is not None:
            self.retries += 1
            entry = (time.monotonic() + delay, self.retries, exchange)
            heapq.heappush(self._retries, entry)

    def _abandon_all(self) -> None:
        """Let go of everything; what each has of its file is up to it."""
        under_way = [slot.exchange for slot in self._slots.values()]
        waiting = [exchange for _, _, exchange in self._retries]
        queued = [exchange for queue in self._queues.values() for exchange in queue]
        for exchange in (*under_way, *waiting, *queued):
            if exchange is not None:
                exchange.abandon()

    def close(self) -> None:
        """Close all connections and let go of everything; a second time does nothing."""
        if self.closed:
            return
        self.closed = True
        for easy in list(self._slots):
            self._multi.remove_handle(easy)
        for slot in (*self._slots.values(), *self._spare):
            slot.easy.close()
        self._slots.clear()
        self._spare.clear()
        self._multi.close()
        self._connections.close()
        self._sockets.close()
