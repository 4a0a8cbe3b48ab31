"""The governor: how many connections there may be per host, over all partitions of a process.

What it hands out are leases on connections. A partition keeps a lease, and the connection that
goes with it, from one transfer to the next, and gives it back only after a transfer that closed
its connection: so idle connections count too, and the limit holds for what the host sees. Whoever
holds more than a fair share while another waits has to give back; nobody overtakes in the queue.

The number falls by half when a host says 429 or 503 or breaks connections off, and rises again one
by one.
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
    leased: int = 0
    good: int = 0
    """Successes since the last change of ``allowed``."""
    grace: int = 0
    """Answers still to come to requests that were sent before ``allowed`` fell."""
    held: dict[Member, int] = field(default_factory=dict)
    queue: OrderedDict[Member, None] = field(default_factory=OrderedDict)


class Governor:
    """Hands out leases on connections, never more than ``limit`` per host at a time.

    Args:
        limit: Connections per host for the whole process.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._hosts: dict[str, _Host] = {}
        self._members = 0

    def join(self, wake: Callable[[], None]) -> Member:
        """Become one of those who share the connections.

        Args:
            wake: Called from any thread when a lease that was refused may be had.
        """
        with self._lock:
            self._members += 1
        return Member(self, wake)

    def allowed(self, host: str) -> int:
        """Connections that a host may have at present."""
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
            if state.leased + ahead >= state.allowed:
                state.queue[member] = None
                return False
            state.queue.pop(member, None)
            state.leased += 1
            state.held[member] = state.held.get(member, 0) + 1
            return True

    def _release(self, member: Member, host: str) -> None:
        with self._lock:
            state = self._hosts[host]
            state.leased -= 1
            state.held[member] -= 1
            if not state.held[member]:
                del state.held[member]
            waiting = next(iter(state.queue), None)
        if waiting is not None and waiting is not member:
            waiting.wake()

    def _surplus(self, member: Member, host: str) -> bool:
        state = self._hosts[host]
        # Without the lock, for it is asked about every request: a late answer does no harm.
        waiting_too = len(state.queue) - (member in state.queue)
        if not waiting_too and state.leased <= state.allowed:
            return False
        with self._lock:
            if state.leased > state.allowed:
                return True
            waiting = next((other for other in state.queue if other is not member), None)
            if waiting is None:
                return False
            sharers = len(state.held.keys() | state.queue.keys())
            share = state.allowed // sharers
            if waiting in state.held and state.allowed % sharers:
                share += 1  # or the odd lease would go to and fro for ever
            return state.held.get(member, 0) > share

    def _wanted(self, member: Member, host: str) -> bool:
        with self._lock:
            return any(other is not member for other in self._hosts[host].queue)

    def _report(self, host: str, *, overloaded: bool) -> None:
        state = self._hosts[host]
        if not overloaded and not state.grace and state.allowed >= self.limit:
            return  # nothing to adapt, which is how nearly every answer finds it
        with self._lock:
            _adapt(state, self.limit, overloaded=overloaded)

    def _leave(self, member: Member) -> None:
        with self._lock:
            self._members -= 1
            waiting: set[Member] = set()
            for state in self._hosts.values():
                state.queue.pop(member, None)
                state.leased -= state.held.pop(member, 0)
                waiting.update(state.queue)
        for other in waiting:
            other.wake()


class Member:
    """One partition's share in a governor."""

    def __init__(self, governor: Governor, wake: Callable[[], None]) -> None:
        self._governor = governor
        self.wake = wake

    def try_acquire(self, host: str) -> bool:
        """Take a lease on a connection, or queue for one and be woken later. Never waits."""
        return self._governor._acquire(self, host)

    def release(self, host: str) -> None:
        """Give a lease back, its connection being closed."""
        self._governor._release(self, host)

    def report(self, host: str, *, overloaded: bool) -> None:
        """Tell how a host answered.

        Args:
            host: The host.
            overloaded: Whether it said 429 or 503, or broke the connection off.
        """
        self._governor._report(host, overloaded=overloaded)

    def surplus(self, host: str) -> bool:
        """Whether one of the leases held is to be given back as soon as may be."""
        return self._governor._surplus(self, host)

    def wanted(self, host: str) -> bool:
        """Whether anybody else waits for a lease."""
        return self._governor._wanted(self, host)

    def alone(self) -> bool:
        """Whether there is no other member at present."""
        return self._governor._members == 1

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
            state.grace = state.leased
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
