"""The governor: how many connections there may be per host, over all partitions of a process.

What it hands out are leases on connections. A partition keeps a lease, and the connection that
goes with it, from one transfer to the next, and gives it back only after a transfer that closed
its connection: so idle connections count too, and the limit holds for what the host sees. Whoever
holds more than a fair share while another waits has to give back; nobody overtakes in the queue.

How many there are is up to :mod:`~mlhub_core.transfer.growth`: few at first, more while that helps,
half as many when a host says 429 or 503 or breaks connections off.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

from mlhub_core.settings import TransferSettings
from mlhub_core.transfer.growth import Growth
from mlhub_core.transfer.waiting import Holds

_MEASURE_SECONDS = 0.01
"""Between two looks of one member at how far things are."""


@dataclass(slots=True)
class _Host:
    growth: Growth
    leased: int = 0
    answered: int = 0
    """By members that have left."""
    deaf_until: int = 0
    """Answers up to which overload says nothing new: their requests were sent at the old rate."""
    held: dict[Member, int] = field(default_factory=dict)
    queue: OrderedDict[Member, None] = field(default_factory=OrderedDict)


class Governor:
    """Hands out leases on connections, never more than ``limit`` per host at a time.

    Args:
        limit: Connections per host for the whole process.

    Attributes:
        holds: The hosts that want to be left alone.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.holds = Holds()
        self._lock = threading.Lock()
        self._hosts: dict[str, _Host] = {}
        self._members: set[Member] = set()
        self._moved = 0
        """By members that have left."""

    def join(self, wake: Callable[[], None]) -> Member:
        """Become one of those who share the connections.

        Args:
            wake: Called from any thread when a lease that was refused may be had.
        """
        member = Member(self, wake)
        with self._lock:
            self._members.add(member)
        return member

    def allowed(self, host: str) -> int:
        """Connections that a host may have at present."""
        with self._lock:
            state = self._hosts.get(host)
            return Growth(self.limit).allowed if state is None else state.growth.allowed

    def _acquire(self, member: Member, host: str) -> bool:
        with self._lock:
            state = self._hosts.get(host)
            if state is None:
                state = self._hosts[host] = _Host(Growth(self.limit))
            ahead = len(state.queue)
            if member in state.queue:
                ahead = list(state.queue).index(member)
            if state.leased + ahead >= state.growth.allowed:
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
        if not waiting_too and state.leased <= state.growth.allowed:
            return False
        with self._lock:
            allowed = state.growth.allowed
            if state.leased > allowed:
                return True
            waiting = next((other for other in state.queue if other is not member), None)
            if waiting is None:
                return False
            sharers = len(state.held.keys() | state.queue.keys())
            share = allowed // sharers
            if waiting in state.held and allowed % sharers:
                share += 1  # or the odd lease would go to and fro for ever
            return state.held.get(member, 0) > share

    def _wanted(self, member: Member, host: str) -> bool:
        with self._lock:
            return any(other is not member for other in self._hosts[host].queue)

    def _overloaded(self, host: str) -> None:
        with self._lock:
            state = self._hosts[host]
            answered = self._answered(host, state)
            if answered >= state.deaf_until:
                state.growth.overload()
                # What is under way was sent at the old rate: its answers must not halve it again.
                state.deaf_until = answered + state.leased

    def _answered(self, host: str, state: _Host) -> int:
        return state.answered + sum(one.answered.get(host, 0) for one in self._members)

    def _measure(self, now: float, measuring: Member) -> None:
        waiting: set[Member] = set()
        with self._lock:
            moved = self._moved + sum(member.moved for member in self._members)
            for host, state in self._hosts.items():
                before = state.growth.allowed
                busy = state.leased >= before
                answered = self._answered(host, state)
                if state.growth.feed(now, answered, moved, busy=busy) > before:
                    waiting.update(state.queue)
        for member in waiting - {measuring}:
            member.wake()

    def _leave(self, member: Member) -> None:
        with self._lock:
            self._members.discard(member)
            self._moved += member.moved
            waiting: set[Member] = set()
            for host, state in self._hosts.items():
                state.answered += member.answered.get(host, 0)
                state.queue.pop(member, None)
                state.leased -= state.held.pop(member, 0)
                waiting.update(state.queue)
        for other in waiting:
            other.wake()


class Member:
    """One partition's share in a governor.

    Attributes:
        wake: Called from any thread when a lease that was refused may be had.
        answered: Requests answered so far, by host. Only the member's own thread counts, without a
            lock; the governor adds up now and then.
        moved: Bytes of bodies that came so far.
    """

    def __init__(self, governor: Governor, wake: Callable[[], None]) -> None:
        self._governor = governor
        self._due = 0.0
        self.wake = wake
        self.answered: dict[str, int] = {}
        self.moved = 0

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
        self.answered[host] = self.answered.get(host, 0) + 1
        if overloaded:
            self._governor._overloaded(host)

    def measure(self, now: float, moved: int) -> None:
        """Let the numbers of connections be adapted to the throughput; as often as one likes.

        Args:
            now: Seconds by a clock that only goes on, and is the same for all members.
            moved: Bytes of bodies that have come to this member so far.
        """
        if now >= self._due:
            self._due = now + _MEASURE_SECONDS
            self.moved = moved
            self._governor._measure(now, self)

    def surplus(self, host: str) -> bool:
        """Whether one of the leases held is to be given back as soon as may be."""
        return self._governor._surplus(self, host)

    def wanted(self, host: str) -> bool:
        """Whether anybody else waits for a lease."""
        return self._governor._wanted(self, host)

    def alone(self) -> bool:
        """Whether there is no other member at present."""
        return len(self._governor._members) == 1

    def leave(self) -> None:
        """Give everything back, at the end."""
        self._governor._leave(self)


@cache
def _shared(limit: int) -> Governor:
    return Governor(limit)


def governor_for(settings: TransferSettings) -> Governor:
    """The governor that all partitions of this process share."""
    return _shared(settings.concurrency)
