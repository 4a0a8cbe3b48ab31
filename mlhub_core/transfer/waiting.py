"""Exchanges that wait: for a place at their host, or for another try."""

from __future__ import annotations

import heapq
import time
from collections import deque
from collections.abc import Iterator

from mlhub_core.transfer.exchange import Exchange

_MOST_RETRIES = 4096
"""Exchanges waiting for another try, before no new ones are begun."""


class Waiting:
    """Exchanges that wait.

    Attributes:
        queues: Those for a place, by host; none is empty.
        retries: How many have been put off so far.
    """

    def __init__(self) -> None:
        self.queues: dict[str, deque[Exchange]] = {}
        self.retries = 0
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
        self.retries += 1
        heapq.heappush(self._later, (time.monotonic() + delay, self.retries, exchange))

    def queue_due(self) -> None:
        """Let those whose time has come wait for a place, before all others."""
        now = time.monotonic()
        while self._later and self._later[0][0] <= now:
            exchange = heapq.heappop(self._later)[2]
            self.queues.setdefault(exchange.host, deque()).appendleft(exchange)

    def next_due(self) -> float | None:
        """When the next other try is due, by the monotonic clock; None where none is."""
        return self._later[0][0] if self._later else None

    def too_many(self) -> bool:
        """Whether so many wait for another try that no new ones are to be begun."""
        return len(self._later) >= _MOST_RETRIES

    def __iter__(self) -> Iterator[Exchange]:
        """All of them."""
        yield from (exchange for _, _, exchange in self._later)
        for queue in self.queues.values():
            yield from queue
