"""Exchanges that wait: for a place at their host, for another try, or until a host lets us."""

from __future__ import annotations

import heapq
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from mlhub_core.net.retry import delay_before
from mlhub_core.settings import TransferSettings
from mlhub_core.transfer.exchange import Exchange

_MOST_WAITING = 4096
"""Exchanges that wait, before no new ones are begun."""


class Waiting:
    """Exchanges that wait.

    Attributes:
        queues: Those for a place, by host; none is empty.
    """

    def __init__(self) -> None:
        self.queues: dict[str, deque[Exchange]] = {}
        self._put_off = 0
        """How many have been, which keeps those of one moment in order."""
        self._later: list[tuple[float, int, Exchange]] = []

    def __bool__(self) -> bool:
        """Whether any does."""
        return bool(self.queues or self._later)

    def put_off(self, exchange: Exchange, delay: float) -> None:
        """Let one wait for another try.

        Args:
            exchange: The exchange.
            delay: Seconds until then.
        """
        self._put_off += 1
        heapq.heappush(self._later, (time.monotonic() + delay, self._put_off, exchange))

    def queue_due(self) -> None:
        """Let those whose time has come wait for a place, before all others."""
        now = time.monotonic()
        while self._later and self._later[0][0] <= now:
            exchange = heapq.heappop(self._later)[2]
            self.queues.setdefault(exchange.host, deque()).appendleft(exchange)

    def next_due(self) -> float | None:
        """When the next other try is due, by the monotonic clock; None where none is."""
        return self._later[0][0] if self._later else None

    def put_first(self, exchange: Exchange) -> None:
        """Let one be the next that its host is asked for."""
        self.queues.setdefault(exchange.host, deque()).appendleft(exchange)

    def room(self) -> int:
        """How many more may wait, before no new ones are to be begun."""
        return _MOST_WAITING - len(self._later) - sum(map(len, self.queues.values()))

    def __iter__(self) -> Iterator[Exchange]:
        """All of them."""
        yield from (exchange for _, _, exchange in self._later)
        for queue in self.queues.values():
            yield from queue


@dataclass(slots=True)
class _Row:
    """Refusals in a row."""

    count: int = 0
    until: float = 0.0


class Holds:
    """Hosts that want to be left alone: none of us asks them meanwhile. Safe in all threads.

    A host is given up that has refused again and again, with nothing granted in between.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: dict[str, _Row] = {}

    def is_held(self, host: str) -> bool:
        """Whether a host is to be left alone now."""
        row = self._rows.get(host)
        return row is not None and time.monotonic() < row.until

    def granted(self, host: str) -> None:
        """A host has answered in some other way."""
        if host in self._rows:
            self._rows.pop(host, None)

    def refused(self, host: str, wait: float | None, settings: TransferSettings) -> bool:
        """A host has refused.

        Args:
            host: The host.
            wait: Seconds for which it wants to be left alone, None where it does not say.
            settings: Caps.

        Returns:
            Whether to ask again; False where it has been asked often enough.
        """
        now = time.monotonic()
        with self._lock:
            row = self._rows.setdefault(host, _Row())
            if now > row.until + settings.retry_after_cap:
                row.count = 0  # long ago, by another run
            if now >= row.until:  # else what refuses was under way when the wait began
                row.count += 1
            row.until = max(row.until, now + delay_before(row.count, wait, settings))
            return row.count <= max(1, 2 * (settings.max_attempts - 1))
