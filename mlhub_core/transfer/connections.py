"""One engine's connections: which are leased from the governor, and which lie idle."""

from __future__ import annotations

import time
from collections.abc import Callable, Container

from mlhub_core.transfer.governor import Governor


class Connections:
    """The leases of one engine, by host. A lease stays with its connection while this lives.

    Args:
        governor: Who hands them out.
        wake: Called from any thread when a lease that was refused may be had.
    """

    def __init__(self, governor: Governor, wake: Callable[[], None]) -> None:
        self._member = governor.join(wake)
        self._leases: dict[str, int] = {}
        self._idle: dict[str, int] = {}

    def lease(self, host: str) -> bool:
        """Have a connection to use: one that lies idle, else a new one. Never waits."""
        if self._idle.get(host):
            self._idle[host] -= 1
            return True
        if not self._member.try_acquire(host):
            return False
        self._leases[host] = self._leases.get(host, 0) + 1
        return True

    def last_use(self, host: str, waiting: int | None) -> bool:
        """Whether the connection is to be closed afterwards, for the sake of other partitions.

        An idle connection of ours and a new one of theirs would be more than the limit. Of the
        last transfers to a host, each is the last on its connection.

        Args:
            host: The host.
            waiting: How many transfers to it are still to come, None while nobody knows.
        """
        if self._member.surplus(host):
            return True
        if waiting is None or self._member.alone():
            return False
        return waiting < self._leases[host]

    def used(self, host: str, *, overloaded: bool, closed: bool) -> None:
        """A transfer is over.

        Args:
            host: Its host.
            overloaded: Whether it said 429 or 503, or broke the connection off.
            closed: Whether the connection went with it.
        """
        self._member.report(host, overloaded=overloaded)
        if closed:
            self._give_back(host)
        else:
            self._idle[host] = self._idle.get(host, 0) + 1

    def measure(self, moved: int) -> None:
        """Let the numbers of connections follow the throughput; as often as one likes.

        Args:
            moved: Bytes of bodies that have come so far.
        """
        self._member.measure(time.monotonic(), moved)

    def give_back_idle(self, busy: Container[str]) -> None:
        """Let others have what lies idle because nothing is queued for a host just now.

        Should its connection stay open, it is one too many until the host closes it.

        Args:
            busy: Hosts for which something is queued.
        """
        for host, idle in self._idle.items():
            while idle and host not in busy and self._member.wanted(host):
                idle -= 1
                self._idle[host] = idle
                self._give_back(host)

    def _give_back(self, host: str) -> None:
        self._leases[host] -= 1
        self._member.release(host)

    def close(self) -> None:
        """Give everything back."""
        self._member.leave()
