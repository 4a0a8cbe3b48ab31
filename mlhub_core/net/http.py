"""The loop: any number of exchanges in one thread, so many at a time as hosts are to have.

It moves bytes and knows neither assets nor files nor keys: what is fetched, what an answer is
worth and what comes next is up to each :class:`~mlhub_core.net.curl.Exchange`.
"""

from __future__ import annotations

import heapq
import logging
import resource
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from mlhub_core.net.addresses import Gate
from mlhub_core.net.curl import Exchange, Handle, Hold, Transfers
from mlhub_core.net.limits import ConnectionLimits, Connections
from mlhub_core.net.retry import OVERLOADED, STALLED, TOO_SLOW, Fault
from mlhub_core.redact import redact
from mlhub_core.settings import TransferSettings
from mlhub_core.threads import StopFlag

logger = logging.getLogger(__name__)

_TICK = 0.25
"""Longest time without a look at the stop flag and the stalled, in seconds."""
_BLOCKED_TICK = 0.02
"""The same while exchanges wait for a connection that another loop may give back."""
_LOOK_AHEAD = 256
"""Exchanges waiting for a connection, so that one busy host does not keep others idle."""
_MOST_WAITING = 4096
"""Exchanges that wait, before no new ones are begun."""
_MOST_TRANSFERS = 4096
_RESERVED_DESCRIPTORS = 64
"""For the interpreter, logs, the ledger, and whatever else the process has open."""


def most_transfers() -> int:
    """How many transfers one loop may have under way, by the limit on open files.

    Each needs a socket and at times a file, and another loop as many.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return _MOST_TRANSFERS
    return max(1, min(_MOST_TRANSFERS, (soft - _RESERVED_DESCRIPTORS) // 4))


class Loop:
    """Runs exchanges until there are no more.

    Args:
        settings: Time-outs and limits.
        limits: Of connections, shared by all loops of the process.
        gate: Decides about the addresses that are connected to; one by the settings when None.

    Raises:
        InvalidArgument: if what the environment says of certificates or proxies cannot be.
    """

    def __init__(
        self, settings: TransferSettings, limits: ConnectionLimits, gate: Gate | None = None
    ) -> None:
        self._settings = settings
        self._most = most_transfers()
        self._transfers = Transfers(settings, gate)
        self._connections = Connections(limits)
        self._holds = limits.holds
        self._queues: dict[str, deque[Exchange]] = {}
        """Exchanges that wait for a connection, by host; none is empty."""
        self._later: list[tuple[float, int, Exchange]] = []
        """A heap of those that wait for another try, by when that is due."""
        self._tries = 0
        """How many there were, which keeps those of one moment in order."""
        self._answered: list[Handle] = []
        """Of requests that were answered well, and whose exchanges have yet to conclude."""
        self._exhausted = False
        self._looked = 0.0

    def run(
        self, source: Iterator[Exchange | None], tick: Callable[[], None], stop: StopFlag
    ) -> None:
        """Run all exchanges of a source, which is pulled from as connections get free.

        Args:
            source: What to do; None where there is nothing until something else has been answered.
            tick: Called at least four times a second.
            stop: Looked at several times a second.

        Raises:
            Interrupted: if the stop flag was set.
            StorageError: from an exchange, or when the process may open no more files.
        """
        self._looked = time.monotonic()
        self._exhausted = False  # run before, it had come to the end of another source
        try:
            while True:
                self._fill(source)
                ended = self._transfers.expire()  # sends what was begun, and reads on
                # Files are checked and put into place while the next answers are on their way.
                self._conclude_answered()
                if not (self._transfers.handles or self._queues or self._later):
                    tick()
                    return
                stop.check()
                # Those that paused meanwhile go on at once: no socket tells of them.
                self._end_all(self._transfers.broken_by_us())
                self._wait(at_once=ended)
                self._end_all(self._transfers.broken_by_us())
                self._end_all(self._transfers.ended())
                self._look_round()
                tick()
        except BaseException:
            self._abandon_all()
            raise

    # Starting

    def _fill(self, source: Iterator[Exchange | None]) -> None:
        """Start what may be started, and pull more from the source for what is left free."""
        self._queue_due()
        waiting = sum(self._start_queued(host) for host in list(self._queues))
        room = _MOST_WAITING - len(self._later) - sum(map(len, self._queues.values()))
        while not self._exhausted and waiting < _LOOK_AHEAD and room > 0 and self._free() > 0:
            room -= 1
            try:
                following = next(source)
            except StopIteration:
                self._exhausted = True
                return
            if following is None:
                return
            host = following.host
            if host in self._queues:
                self._queues[host].append(following)
                waiting += not self._holds.is_held(host)
            else:
                self._queues[host] = deque((following,))
                waiting += self._start_queued(host)

    def _queue_due(self) -> None:
        """Let those whose time has come wait for a connection, before all others."""
        now = time.monotonic()
        while self._later and self._later[0][0] <= now:
            self._put_first(heapq.heappop(self._later)[2])

    def _put_first(self, exchange: Exchange) -> None:
        self._queues.setdefault(exchange.host, deque()).appendleft(exchange)

    def _free(self) -> int:
        return self._most - len(self._transfers.handles)

    def _start_queued(self, host: str) -> int:
        """Start what may be started for a host; how many still wait for a connection."""
        if self._holds.is_held(host):
            return 0
        queue = self._queues[host]
        nearly_done = self._exhausted and not self._later
        while queue and self._free() > 0 and self._connections.take(host):
            exchange = queue.popleft()
            try:
                queued = len(queue) if nearly_done else None
                self._start(exchange, closes=self._connections.is_last_use(host, queued))
            except BaseException:
                queue.appendleft(exchange)
                raise
        if not queue:
            del self._queues[host]
        return len(queue)

    def _start(self, exchange: Exchange, *, closes: bool) -> None:
        fields = exchange.fields()
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("GET %s", redact(exchange.url))
        self._transfers.start(exchange, fields, closes=closes)

    # Waiting

    def _wait(self, *, at_once: bool) -> None:
        """Wait until something comes or is due; not at all where a transfer has ended."""
        timeout = 0.0 if at_once else _BLOCKED_TICK if self._queues else _TICK
        now = time.monotonic()
        due = self._later[0][0] if self._later else None
        for moment in (self._transfers.deadline, due):
            if moment is not None:
                timeout = min(timeout, moment - now)
        self._transfers.wait(timeout)

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
        for handle in list(self._transfers.handles.values()):
            handle.moved += held_up
            if handle.is_connected() and now - handle.moved > limit:
                self._end(handle, STALLED)
            elif handle.is_slow(now, held_up, self._settings):
                self._end(handle, TOO_SLOW)

    # Finishing

    def _end_all(self, ended: Iterable[tuple[Handle, Fault | None]]) -> None:
        for handle, fault in ended:
            self._end(handle, fault)

    def _end(self, handle: Handle, fault: Fault | None) -> None:
        """Take out a transfer that is over; its connection serves the next from here on."""
        exchange = handle.exchange
        assert exchange is not None
        status = handle.status()
        overloaded = status in OVERLOADED or (fault is not None and fault.crowded)
        self._transfers.release(handle)
        self._connections.used(exchange.host, overloaded=overloaded, closed=handle.closes)
        if fault is None and status < 400:
            self._answered.append(handle)
        else:  # it may be to be left alone, which the next request has to know
            self._conclude(handle, fault)

    def _conclude_answered(self) -> None:
        for handle in self._answered:
            self._conclude(handle, None)
        self._answered.clear()

    def _conclude(self, handle: Handle, fault: Fault | None) -> None:
        """Have an exchange conclude a request, and do as it wants about the next."""
        exchange = handle.exchange
        assert exchange is not None
        try:
            if handle.crash is not None:
                raise handle.crash
            handle.conclude(fault)
            again = exchange.settle(fault)
        except BaseException:
            exchange.abandon()
            raise
        finally:
            self._transfers.spare(handle)
        if isinstance(again, Hold):
            self._hold(exchange, again)
            return
        if fault is None:
            self._holds.granted(exchange.host)
        if again is not None:
            self._tries += 1
            heapq.heappush(self._later, (time.monotonic() + again, self._tries, exchange))

    def _hold(self, exchange: Exchange, hold: Hold) -> None:
        """Leave a host alone for as long as it wants, or for good if that has been too often."""
        self._put_first(exchange)
        if not self._holds.refused(exchange.host, hold.wait, self._settings):
            fault = Fault(hold.cause, "again and again, so it is asked no more in this run")
            for refused in self._queues.pop(exchange.host):
                if refused.give_up(fault):
                    self._put_first(refused)

    def _abandon_all(self) -> None:
        """Let go of everything; what each has of its file is up to it."""
        handles = (*self._transfers.handles.values(), *self._answered)
        under_way = [handle.exchange for handle in handles]
        queued = [exchange for queue in self._queues.values() for exchange in queue]
        for exchange in (*under_way, *queued, *(entry[2] for entry in self._later)):
            if exchange is not None:
                exchange.abandon()

    def close(self) -> None:
        """Close all connections and let go of everything."""
        self._transfers.close()
        self._connections.close()
