"""What the engine asks of those whose bytes it moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mlhub_core.net.response import ResponseHead
from mlhub_core.net.retry import Fault


@dataclass(frozen=True, slots=True)
class Hold:
    """A host wants to be left alone, by all who ask it.

    Attributes:
        cause: What it said.
        wait: Seconds for which it does, None where it does not say.
    """

    cause: str
    wait: float | None = None


class Exchange(Protocol):
    """One file to fetch, over as many requests as it takes."""

    @property
    def url(self) -> str:
        """Where to send the next request."""

    @property
    def host(self) -> str:
        """What the governor counts by."""

    def fields(self) -> list[str]:
        """Header lines of the next request, which is about to be sent; never changed later."""

    def take(self, head: ResponseHead, pieces: Sequence[bytes]) -> bool:
        """Take a small response that came whole, and be done.

        False, and nothing has happened, where it is for ``begin``, ``write`` and ``settle``.
        """

    def begin(self, head: ResponseHead) -> bool:
        """Judge a response by its head; False when its body is not wanted."""

    def write(self, pieces: Sequence[bytes]) -> bool:
        """Take more of the body; False to break the transfer off."""

    def settle(self, fault: Fault | None) -> float | Hold | None:
        """Conclude a request; seconds until the next one, or None when there is none.

        A hold where the next one is for when the host lets us.
        """

    def give_up(self, fault: Fault) -> None:
        """Fail without another request, for the host has refused too long; keep what is here."""

    def abandon(self) -> None:
        """Let go in mid-air: the run is stopping."""
