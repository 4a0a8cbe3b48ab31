"""The response to one request, as it comes: when it is judged, and who gets its bytes."""

from __future__ import annotations

import time

from mlhub_core.http_rules import parse_length
from mlhub_core.transfer.exchange import Exchange
from mlhub_core.transfer.faults import Fault
from mlhub_core.transfer.head import ResponseHead

HELD = 128 * 1024
"""Bytes of a body that come before it is judged, unless it ends sooner."""
_DRAIN = 64 * 1024
"""An unwanted body up to this size is read and dropped, which keeps the connection."""

_monotonic = time.monotonic


class Reception:
    """What there is of a response, whatever brings it.

    Attributes:
        exchange: Whom the request is for, None between two.
        head: Of the response.
        begun: Whether the response has been judged.
        closes: Whether the connection is closed afterwards.
        moved: When something came last, by the monotonic clock.
        share: Bytes of the body that came in this turn of the loop.
        crash: What the exchange raised where nobody could be told.
        pieces: Of a body, that have come and nobody has looked at.
    """

    # fmt: off
    __slots__ = (
        "_drained", "_wanted", "begun", "closes", "crash", "exchange", "head", "moved", "pieces",
        "share",
    )
    # fmt: on

    def __init__(self) -> None:
        self.exchange: Exchange | None = None
        self.head: ResponseHead | None = None
        self.begun = False
        self.closes = False
        self.moved = 0.0
        self.share = 0
        self.crash: Exception | None = None
        self.pieces: list[bytes] = []
        self._wanted = False
        self._drained = 0

    def expect(self, exchange: Exchange) -> None:
        """Get ready for the response to a request."""
        self.exchange = exchange
        self.moved = _monotonic()
        self.pieces.clear()
        self.head = self.crash = None
        self.begun = self._wanted = False
        self.share = self._drained = 0

    def take(self) -> bool:
        """Have a small response that came whole taken at once; False where it has to be judged."""
        if self.begun or not self.pieces or self.head is None:
            return False
        assert self.exchange is not None
        return self.exchange.take(self.head, self.pieces)

    def begin(self, head: ResponseHead | None) -> None:
        """Have the response judged."""
        self.begun = True
        self.head = head
        if head is not None and self.exchange is not None:
            self._wanted = self.exchange.begin(head)

    def hand_over(self) -> bool:
        """Hand over what has come of a judged body; False to break the transfer off."""
        pieces = self.pieces
        if not pieces:
            return True
        size = sum(map(len, pieces))
        self.share += size
        if self._wanted:
            assert self.exchange is not None
            further = self.exchange.write(pieces)
        else:
            further = self._may_drain(size)
        pieces.clear()
        return further

    def _may_drain(self, size: int) -> bool:
        self._drained += size
        length = parse_length(self.head.get("content-length")) if self.head else None
        return max(self._drained, length or 0) <= _DRAIN

    def conclude(self, fault: Fault | None) -> None:
        """Judge a response that is over, or broken off, and has not been; hand over the last of it.

        Unless what is here is a redirect, and what broke is the way to its target.
        """
        if not self.begun:
            if fault is not None and (self.head is None or 300 <= self.head.status < 400):
                return
            self.begin(self.head)
        self.hand_over()
