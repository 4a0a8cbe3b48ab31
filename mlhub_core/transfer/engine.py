"""The engine: one loop, in one thread, for any number of transfers, which libcurl does.

It moves bytes and knows neither assets nor files nor keys: what is fetched, what an answer is
worth and what comes next is up to each :class:`~mlhub_core.transfer.exchange.Exchange`.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator

import pycurl

from mlhub_core.net.retry import STALLED, TOO_SLOW, Fault
from mlhub_core.redact import redact
from mlhub_core.settings import TransferSettings
from mlhub_core.stop import StopFlag
from mlhub_core.transfer.connections import Connections
from mlhub_core.transfer.environment import most_transfers
from mlhub_core.transfer.exchange import Exchange, Hold
from mlhub_core.transfer.governor import Governor
from mlhub_core.transfer.multi import Multi
from mlhub_core.transfer.slot import Slot
from mlhub_core.transfer.sockets import Sockets
from mlhub_core.transfer.waiting import Waiting

logger = logging.getLogger(__name__)

_TICK = 0.25
"""Longest time without a look at the stop flag and the stalled, in seconds."""
_BLOCKED_TICK = 0.05
"""The same while a host has no free place: should a wake-up be lost, this is the delay."""
_LOOK_AHEAD = 256
"""Exchanges waiting for a place, so that one busy host does not keep others idle."""

_OVERLOADED = (429, 503)


class Engine:
    """Runs exchanges until there are no more, as often as there are some.

    Connections stay open from one run to the next, until :meth:`close`.

    Args:
        settings: Time-outs and limits.
        governor: Shared by all engines of the process.

    Attributes:
        closed: Whether it can be used no more, as after a run that did not come to its end.
    """

    def __init__(self, settings: TransferSettings, governor: Governor) -> None:
        self._settings = settings
        self._most = most_transfers()
        self._sockets = Sockets()
        self._multi = Multi(settings, self._sockets)
        self._connections = Connections(governor, self._sockets.ring)
        self._waiting = Waiting()
        self._holds = governor.holds
        self._exhausted = False
        self._debugging = False
        self._looked = 0.0
        self._moved = 0
        """Bytes of bodies, in runs before this one."""
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
        self._debugging = logger.isEnabledFor(logging.DEBUG)
        self._looked = time.monotonic()
        try:
            while True:
                stop.check()
                self._fill(source)
                if not (self._under_way() or self._waiting):
                    self._moved += tick()
                    return
                ended = self._multi.expire()  # sends what was just begun
                self._look_at_bodies()
                self._poll(at_once=ended)
                self._look_at_bodies()
                for slot, fault in self._multi.ended():
                    self._end_slot(slot, fault)
                self._look_round()
                self._connections.measure(self._moved + tick())
        except BaseException:
            self._abandon_all()
            self.close()
            raise

    def _under_way(self) -> int:
        return len(self._multi.slots)

    # Starting

    def _fill(self, source: Iterator[Exchange]) -> None:
        self._waiting.queue_due()
        queues = self._waiting.queues
        waiting = 0
        for host in list(queues):
            waiting += self._start_queued(host)
        if self._exhausted:
            return
        room = self._waiting.room()
        while waiting < _LOOK_AHEAD and room > 0 and self._under_way() < self._most:
            room -= 1
            following = next(source, None)
            if following is None:
                self._exhausted = True
                return
            host = following.host
            queue = queues.get(host)
            if queue is None:
                queues[host] = deque((following,))
                waiting += self._start_queued(host)
            else:
                queue.append(following)
                waiting += not self._holds.is_held(host)

    def _start_queued(self, host: str) -> int:
        """Start what may be started for a host; how many still wait for a place."""
        if self._holds.is_held(host):
            return 0
        queue = self._waiting.queues[host]
        connections = self._connections
        free = self._most - self._under_way()
        nearly_done = self._exhausted and self._waiting.next_due() is None
        while queue and free > 0 and connections.lease(host):
            exchange = queue.popleft()
            free -= 1
            closes = connections.last_use(host, len(queue) if nearly_done else None)
            try:
                self._start(exchange, closes)
            except BaseException:
                queue.appendleft(exchange)
                raise
        if not queue:
            del self._waiting.queues[host]
        return len(queue)

    def _start(self, exchange: Exchange, closes: bool) -> None:
        fields = exchange.fields()
        if self._debugging:
            logger.debug("GET %s", redact(exchange.url))
        self._multi.start(exchange, fields, closes=closes)

    # Waiting

    def _poll(self, *, at_once: bool) -> None:
        timeout = 0.0 if at_once else _BLOCKED_TICK if self._waiting.queues else _TICK
        now = time.monotonic()
        for due in (self._multi.deadline, self._waiting.next_due()):
            if due is not None:
                timeout = min(timeout, due - now)
        for fd, bits in self._sockets.wait(timeout):
            self._multi.act(fd, bits)
        self._multi.expire()

    def _look_at_bodies(self) -> None:
        for slot, fault in self._multi.broken_by_us():
            self._end_slot(slot, fault)

    def _look_round(self) -> None:
        """Break off what has stalled.

        A loop that was itself held up (a large file's digest) must not blame its transfers.
        """
        now = time.monotonic()
        if now - self._looked < _TICK:
            return
        held_up = max(0.0, now - self._looked - 2 * _TICK)
        self._looked = now
        self._connections.give_back_idle(self._waiting.queues)
        limit = self._settings.stall_timeout
        for slot in list(self._multi.slots.values()):
            slot.moved += held_up
            connected = slot.easy.getinfo(pycurl.PRETRANSFER_TIME) > 0
            if connected and now - slot.moved > limit:
                self._end_slot(slot, STALLED)
            elif slot.is_slow(now, held_up, self._settings):
                self._end_slot(slot, TOO_SLOW)

    # Finishing

    def _end_slot(self, slot: Slot, fault: Fault | None) -> None:
        self._multi.release(slot)
        try:
            self._finish(slot, fault)
        finally:
            self._multi.spare(slot)

    def _finish(self, slot: Slot, fault: Fault | None) -> None:
        exchange = slot.exchange
        assert exchange is not None
        overloaded = False
        try:
            if slot.crash is not None:
                raise slot.crash
            if fault is None and slot.take():
                self._holds.granted(exchange.host)
                return
            slot.conclude(fault)
            overloaded = slot.head is not None and slot.head.status in _OVERLOADED
            overloaded = overloaded or (fault is not None and fault.crowded)
            again = exchange.settle(fault)
        except BaseException:
            exchange.abandon()
            raise
        finally:
            self._connections.used(exchange.host, overloaded=overloaded, closed=slot.closes)
        if isinstance(again, Hold):
            self._hold(exchange, again)
            return
        if fault is None:
            self._holds.granted(exchange.host)
        if again is not None:
            self._waiting.put_off(exchange, again)

    def _hold(self, exchange: Exchange, hold: Hold) -> None:
        """Leave a host alone for as long as it wants, or for good if that has been too often."""
        host = exchange.host
        self._waiting.put_first(exchange)
        if not self._holds.refused(host, hold.wait, self._settings):
            fault = Fault(hold.cause, "again and again, so it is asked no more in this run")
            for refused in self._waiting.queues.pop(host):
                refused.give_up(fault)

    def _abandon_all(self) -> None:
        """Let go of everything; what each has of its file is up to it."""
        under_way = (slot.exchange for slot in self._multi.slots.values())
        for exchange in (*under_way, *self._waiting):
            if exchange is not None:
                exchange.abandon()

    def close(self) -> None:
        """Close all connections and let go of everything; a second time does nothing."""
        if self.closed:
            return
        self.closed = True
        self._multi.close()
        self._connections.close()
        self._sockets.close()
