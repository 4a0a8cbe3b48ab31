"""How many connections a host gets, and when it is left alone; shared by all loops of a process.

A host begins with as many connections as may be. When it says 429 or 503, or breaks connections
off, it gets half as many; then one more each time that all of those have brought an answer, up to
the limit again.

A loop keeps a connection from one transfer to the next, so idle ones count too and the limit holds
for what the host sees. Whoever has more than a fair share while another loop waits gives one back.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Container
from dataclasses import dataclass, field
from functools import cache

from mlhub_core.net.retry import delay_before
from mlhub_core.settings import TransferSettings


@dataclass(slots=True)
class _Host:
    """One host's connections, of all loops.

    Attributes:
        limit: Connections that it never has more of.
        allowed: Connections that it may have now.
        open: How many each loop has.
        waiting: The loops that wait for one, in order.
        answers: Good ones since ``allowed`` changed.
        old: Requests under way that were sent at the old rate: their refusals say nothing new.
    """

    limit: int
    allowed: int
    open: Counter[Connections] = field(default_factory=Counter)
    waiting: dict[Connections, None] = field(default_factory=dict)
    answers: int = 0
    old: int = 0

    def grant(self, loop: Connections) -> bool:
        """Let a loop open a connection; it waits where there are enough or others wait longer."""
        self.waiting.setdefault(loop)
        if self.open.total() + list(self.waiting).index(loop) >= self.allowed:
            return False
        del self.waiting[loop]
        self.open[loop] += 1
        return True

    def has_surplus(self, loop: Connections) -> bool:
        """Whether a loop is to give back one of its connections."""
        if self.open.total() > self.allowed:
            return True
        first = next((other for other in self.waiting if other is not loop), None)
        if first is None:
            return False
        share, rest = divmod(self.allowed, len((+self.open).keys() | self.waiting.keys()))
        # The rest is for who has some already, or it would go to and fro for ever.
        return self.open[loop] > share + (rest > 0 and self.open[first] > 0)

    def answer(self, *, overloaded: bool) -> None:
        """Take in that a request was answered."""
        if self.old:
            self.old -= 1
        elif overloaded:
            self.old = max(0, self.open.total() - 1)
            self.allowed = max(1, self.allowed // 2)
            self.answers = 0
        elif self.allowed < self.limit:
            self.answers += 1
            if self.answers >= self.allowed:
                self.allowed += 1
                self.answers = 0


class ConnectionLimits:
    """The connections of a process, never more than ``limit`` per host at a time.

    Args:
        limit: Connections per host.

    Attributes:
        holds: The hosts that want to be left alone.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.holds = Holds()
        self.lock = threading.Lock()
        self.hosts: dict[str, _Host] = {}
        self.loops: set[Connections] = set()

    def allowed(self, host: str) -> int:
        """Connections that a host may have at present."""
        return self.host(host).allowed

    def host(self, name: str) -> _Host:
        """The state of a host; to be changed under the lock."""
        if name not in self.hosts:
            self.hosts[name] = _Host(self.limit, self.limit)
        return self.hosts[name]


class Connections:
    """The connections of one loop.

    Args:
        limits: Shared by all loops of the process.
    """

    def __init__(self, limits: ConnectionLimits) -> None:
        self._limits = limits
        self._idle: Counter[str] = Counter()
        limits.loops.add(self)

    def take(self, host: str) -> bool:
        """Have a connection to use: one that lies idle, else a new one. Never waits."""
        if self._idle[host]:
            self._idle[host] -= 1
            return True
        with self._limits.lock:
            return self._limits.host(host).grant(self)

    def is_last_use(self, host: str, queued: int | None) -> bool:
        """Whether a connection is to be closed after its next use, for the sake of other loops.

        An idle connection of ours and a new one of theirs would be more than the limit.

        Args:
            host: The host.
            queued: How many more transfers to it there will be, None while nobody knows.
        """
        with self._limits.lock:
            state = self._limits.host(host)
            nearly_done = queued is not None and queued < state.open[self]
            return state.has_surplus(self) or (nearly_done and not self.are_all())

    def used(self, host: str, *, overloaded: bool, closed: bool) -> None:
        """A transfer is over.

        Args:
            host: Its host.
            overloaded: Whether it said 429 or 503, or broke the connection off.
            closed: Whether the connection went with it.
        """
        with self._limits.lock:
            state = self._limits.host(host)
            state.answer(overloaded=overloaded)
            if closed:
                state.open[self] -= 1
            else:
                self._idle[host] += 1

    def give_back_idle(self, queued: Container[str]) -> None:
        """Let other loops have what lies idle because nothing is queued for a host just now.

        Should its connection stay open, it is one too many until the host closes it.

        Args:
            queued: Hosts for which something is queued.
        """
        with self._limits.lock:
            for host in self._idle:
                state = self._limits.host(host)
                if host not in queued:
                    state.waiting.pop(self, None)
                    if state.waiting:
                        state.open[self] -= self._idle[host]
                        self._idle[host] = 0

    def are_all(self) -> bool:
        """Whether there is no other loop at present."""
        return len(self._limits.loops) == 1

    def close(self) -> None:
        """Give everything back, at the end."""
        with self._limits.lock:
            self._limits.loops.discard(self)
            for state in self._limits.hosts.values():
                state.waiting.pop(self, None)
                state.open.pop(self, None)


@dataclass(slots=True)
class _Refusals:
    """Refusals in a row, and until when a host is left alone for them."""

    count: int = 0
    until: float = 0.0


class Holds:
    """Hosts that want to be left alone: none of us asks them meanwhile. Safe in all threads.

    A host is given up that has refused again and again, with nothing granted in between.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._refusals: dict[str, _Refusals] = {}

    def is_held(self, host: str) -> bool:
        """Whether a host is to be left alone now."""
        row = self._refusals.get(host)
        return row is not None and time.monotonic() < row.until

    def granted(self, host: str) -> None:
        """A host has answered in some other way."""
        if host in self._refusals:
            self._refusals.pop(host, None)

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
            row = self._refusals.setdefault(host, _Refusals())
            if now > row.until + settings.retry_after_cap:
                row.count = 0  # long ago, by another run
            if now >= row.until:  # else what refuses was under way when the wait began
                row.count += 1
            row.until = max(row.until, now + delay_before(row.count, wait, settings))
            return row.count <= max(1, 2 * (settings.max_attempts - 1))


@cache
def limits_for(concurrency: int) -> ConnectionLimits:
    """The limits that all loops of this process share which may have so many connections."""
    return ConnectionLimits(concurrency)
