"""How many connections a host gets: pure, told what was done with those it has.

::

    START ──throughput rises──► START, twice as many
      │ it rises no more
      ▼
    STEADY ──now and then──► PROBE, half as many again ──it rises──► STEADY with them
      ▲                        │ it does not
      │                        └──► STEADY with those of before
      │ as many as before
    CAREFUL, one more a window ◄── from everywhere: 429, 503, connection broken off: half of them

Throughput is looked at in windows: long enough for each connection to have brought an answer or a
good piece of one, since less than that says more about latency than about the number of
connections. It rises when answers or bytes do: either alone misleads, small files by their sizes
and large ones by their number. A window in which not all connections were in use says nothing, and
is passed over.
"""

from __future__ import annotations

import math
from enum import Enum

_FIRST = 8
"""Connections to begin with: what no host minds, and of which few doublings reach any limit."""
_WINDOW = 0.03
"""Seconds that a window lasts at least: less is noise on a fast link."""
_LONGEST_WINDOW = 2.0
"""Seconds that a window lasts at most, however little came."""
_PIECE = 256 * 1024
"""Bytes that count as much as an answer does when it comes to the length of a window."""
_RISE = 1.1
"""Throughput has risen if it is so many times what it was, of twice as many connections."""
_PROBE_RISE = 1.05
"""The same, of half as many again."""
_PATIENCE = 4
"""Windows without a rise after which there is none: new connections take a few round trips, TLS and
all, before they bring anything."""
_FIRST_PAUSE = 2.0
_LONGEST_PAUSE = 60.0
"""Seconds between two probes: each in vain doubles them."""


class Phase(Enum):
    """What is being found out."""

    START = "whether twice as many bring more"
    STEADY = "nothing"
    PROBE = "whether a few more bring more"
    CAREFUL = "whether as many as before are too many"


class Growth:
    """The number of connections that one host may have.

    Args:
        limit: It is never exceeded.

    Attributes:
        allowed: The number now.
        phase: What is being found out with it.
    """

    __slots__ = (
        "_answers",
        "_began",
        "_best",
        "_bytes",
        "_goal",
        "_limit",
        "_pause",
        "_probe_at",
        "_windows",
        "allowed",
        "phase",
    )

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.allowed = min(_FIRST, limit)
        self.phase = Phase.START
        self._began = -math.inf
        """When the window began; before the first, long ago."""
        self._answers = self._bytes = 0
        """When it did, in all."""
        self._best = (0.0, 0.0)
        """Answers and bytes a second that fewer connections brought."""
        self._windows = 0
        """Since ``allowed`` changed."""
        self._goal = limit
        """Where care ends, or a probe in vain goes back to."""
        self._pause = _FIRST_PAUSE
        self._probe_at = 0.0

    def feed(self, now: float, answers: int, moved: int, *, busy: bool) -> int:
        """Take in how far things are; as often as one likes, in time's order.

        Args:
            now: Seconds by a clock that only goes on.
            answers: Requests answered so far.
            moved: Bytes of bodies so far.
            busy: Whether all connections allowed are in use.

        Returns:
            Connections allowed from now on.
        """
        seconds = now - self._began
        # Where a window is far too long nobody was there to measure: it was between two runs.
        if not busy or seconds > 2 * _LONGEST_WINDOW:
            self._begin(now, answers, moved)
            return self.allowed
        answered, brought = answers - self._answers, moved - self._bytes
        enough = answered >= self.allowed or brought >= self.allowed * _PIECE
        if (enough and seconds >= _WINDOW) or seconds >= _LONGEST_WINDOW:
            self._begin(now, answers, moved)
            rates = (answered / seconds, brought / seconds)
            self._windows += 1
            self._conclude(now, rates)
        return self.allowed

    def overload(self) -> int:
        """The host says that it is too much: half as many from now on."""
        self._goal = self.allowed if self.phase is not Phase.PROBE else self._goal
        self._change(Phase.CAREFUL, max(1, self.allowed // 2))
        self._began = -math.inf
        return self.allowed

    def _begin(self, now: float, answers: int, moved: int) -> None:
        self._began, self._answers, self._bytes = now, answers, moved

    def _conclude(self, now: float, rates: tuple[float, float]) -> None:
        if self.phase is Phase.START:
            self._start(now, rates)
        elif self.phase is Phase.PROBE:
            self._probe(now, rates)
        elif self.phase is Phase.CAREFUL:
            self._recover(now, rates)
        else:
            self._stay(now, rates)

    def _start(self, now: float, rates: tuple[float, float]) -> None:
        if self.allowed >= self._limit:
            self._settle(now, rates)
        elif self._rises(rates, _RISE):
            self._best = rates
            self._change(Phase.START, min(2 * self.allowed, self._limit))
        elif self._windows >= _PATIENCE:
            self._settle(now, rates)

    def _stay(self, now: float, rates: tuple[float, float]) -> None:
        # What the probe is held against: a link's speed changes, so the latest counts most.
        self._best = ((self._best[0] + rates[0]) / 2, (self._best[1] + rates[1]) / 2)
        if self.allowed < self._limit and now >= self._probe_at:
            self._goal = self.allowed
            more = self.allowed + max(1, self.allowed // 2)
            self._change(Phase.PROBE, min(more, self._limit))

    def _probe(self, now: float, rates: tuple[float, float]) -> None:
        if self._rises(rates, _PROBE_RISE):
            self._pause = _FIRST_PAUSE / 2
            self._settle(now, rates)
        elif self._windows >= _PATIENCE:
            self.allowed = self._goal
            self._settle(now, self._best)

    def _recover(self, now: float, rates: tuple[float, float]) -> None:
        if self.allowed < self._goal:
            self._change(Phase.CAREFUL, self.allowed + 1)
        if self.allowed >= self._goal:
            self._settle(now, rates)

    def _settle(self, now: float, rates: tuple[float, float]) -> None:
        self._best = rates
        self._change(Phase.STEADY, self.allowed)
        self._probe_at = now + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def _change(self, phase: Phase, allowed: int) -> None:
        self.phase = phase
        self.allowed = allowed
        self._windows = 0

    def _rises(self, rates: tuple[float, float], factor: float) -> bool:
        return any(rate > factor * best for rate, best in zip(rates, self._best, strict=True))
