"""The governor: how many transfers may run per host, over all partitions of a process.

The number falls by half when a host says 429 or 503 and rises again one by one. Several partitions
share it: whoever is refused queues up, and is woken when a place gets free; nobody overtakes.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

from mlhub_core.settings import TransferSettings


@dataclass(slots=True)
class _Host:
    allowed: int
    busy: int = 0
    good: int = 0
    """Successes since the last change of ``allowed``."""
    grace: int = 0
    """Answers still to come to requests that were sent before ``allowed`` fell."""
    held: dict[Member, int] = field(default_factory=dict)
    queue: OrderedDict[Member, None] = field(default_factory=OrderedDict)


class Governor:
    """Hands out places, never more than ``limit`` per host at a time.

    Args:
        limit: Connections per host for the whole process.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._hosts: dict[str, _Host] = {}
        self._members = 0

    def join(self, wake: Callable[[], None]) -> Member:
        """Become one of those who share the places.

        Args:
            wake: Called from any thread when a place that was refused may be free.
        """
        with self._lock:
            self._members += 1
        return Member(self, wake)

    def allowed(self, host: str) -> int:
        """Places that a host has at present."""
        with self._lock:
            state = self._hosts.get(host)
            return self.limit if state is None else state.allowed

    def _acquire(self, member: Member, host: str) -> bool:
        with self._lock:
            state = self._hosts.get(host)
            if state is None:
                state = self._hosts[host] = _Host(self.limit)
            ahead = len(state.queue)
            if member in state.queue:
                ahead = list(state.queue).index(member)
            if state.busy + ahead >= state.allowed:
                state.queue[member] = None
                return False
            state.queue.pop(member, None)
            state.busy += 1
            state.held[member] = state.held.get(member, 0) + 1
            return True

    def _release(self, member: Member, host: str, *, overloaded: bool) -> None:
        with self._lock:
            state = self._hosts[host]
            state.busy -= 1
            state.held[member] -= 1
            if not state.held[member]:
                del state.held[member]
            _adapt(state, self.limit, overloaded=overloaded)
            waiting = next(iter(state.queue), None)
        if waiting is not None and waiting is not member:
            waiting.wake()

    def _crowded(self, member: Member, host: str) -> bool:
        with self._lock:
            state = self._hosts.get(host)
            return state is not None and any(other is not member for other in state.queue)

    def _withdraw(self, member: Member, host: str | None) -> None:
        with self._lock:
            states = self._hosts.values() if host is None else [self._hosts.get(host)]
            next_ones = []
            for state in states:
                if state is None or member not in state.queue:
                    continue
                del state.queue[member]
                next_ones.extend(list(state.queue)[:1])
        for other in next_ones:
            other.wake()

    def _leave(self, member: Member) -> None:
        self._withdraw(member, None)
        with self._lock:
            self._members -= 1
            waiting: set[Member] = set()
            for state in self._hosts.values():
                state.busy -= state.held.pop(member, 0)
                waiting.update(state.queue)
        for other in waiting:
            other.wake()


class Member:
    """One partition's share in a governor."""

    def __init__(self, governor: Governor, wake: Callable[[], None]) -> None:
        self._governor = governor
        self.wake = wake

    def try_acquire(self, host: str) -> bool:
        """Take a place, or queue for one and be woken later. Never waits."""
        return self._governor._acquire(self, host)

    def release(self, host: str, *, overloaded: bool = False) -> None:
        """Give a place back.

        Args:
            host: As it was acquired.
            overloaded: Whether the host answered 429 or 503.
        """
        self._governor._release(self, host, overloaded=overloaded)

    def crowded(self, host: str) -> bool:
        """Whether somebody else waits for this host: then no connection is kept idle."""
        return self._governor._crowded(self, host)

    def alone(self) -> bool:
        """Whether there is no other member at present."""
        return self._governor._members == 1

    def withdraw(self, host: str) -> None:
        """Stop queueing for a host: there is nothing to fetch from it just now."""
        self._governor._withdraw(self, host)

    def leave(self) -> None:
        """Give everything back, at the end."""
        self._governor._leave(self)


def _adapt(state: _Host, limit: int, *, overloaded: bool) -> None:
    if state.grace:
        state.grace -= 1
    if overloaded:
        state.good = 0
        if not state.grace:
            # What is under way was sent at the old rate: its answers must not halve it again.
            state.allowed = max(1, state.allowed // 2)
            state.grace = state.busy
    elif state.allowed < limit:
        state.good += 1
        if state.good >= state.allowed:
            state.allowed += 1
            state.good = 0


@cache
def _shared(limit: int) -> Governor:
    return Governor(limit)


def governor_for(settings: TransferSettings) -> Governor:
    """The governor that all partitions of this process share."""
    return _shared(settings.concurrency)
