"""A slot: one of libcurl's easy handles, set up once and used for one request after another.

Or for a connection only, on which a :class:`~mlhub_core.transfer.line.Line` then asks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pycurl

from mlhub_core.settings import USER_AGENT, TransferSettings
from mlhub_core.transfer.exchange import Exchange
from mlhub_core.transfer.faults import Fault
from mlhub_core.transfer.head import parse_head
from mlhub_core.transfer.reception import HELD, Reception

_BUFFER = 1024 * 1024
"""Bytes that libcurl reads at once, if there are as many; one such buffer for all handles. Reading
less wakes the sender more often, which costs both sides more than the copying does."""
_MOST_HELD = 64
"""Pieces of one, the same: of a byte each they would cost more memory than they bring."""
_AT_A_TIME = 8
"""Pieces, of up to 16 KiB, that are looked at together."""
_SHARE = 2 * 1024 * 1024
"""Bytes of one body in one turn of the loop. Left alone, libcurl goes on until the socket is empty,
which it never is while the server is faster than we are; nobody else would get a word in, the stop
flag included."""

_monotonic = time.monotonic


class Slot(Reception):
    """An easy handle and the request that it is used for.

    Attributes:
        easy: The handle.
        fields: Header lines of the request.
        connects: Whether it is for a connection only.
        most_held: Bytes of a body that come before it is judged, unless it ends sooner.

    Args:
        settings: Time-outs and limits.
        ca_bundle: The file with the certificates that are trusted.
    """

    # fmt: off
    __slots__ = (
        "_forbids", "_held", "_lines", "_paused", "connects", "easy", "fields", "most_held",
    )
    # fmt: on

    def __init__(self, settings: TransferSettings, ca_bundle: str) -> None:
        super().__init__()
        self.easy: Any = pycurl.Curl()
        self.fields: list[str] = []
        self.connects = False
        self._forbids = False
        self._paused = False
        self._lines: list[bytes] = []
        self._held = 0
        """Pieces that wait for the rest, or for enough to judge."""
        self.most_held = min(HELD, settings.resume_threshold)
        self._set_up(settings, ca_bundle)

    def _set_up(self, settings: TransferSettings, ca_bundle: str) -> None:
        easy = self.easy
        easy.setopt(pycurl.WRITEFUNCTION, self._receiver())
        easy.setopt(pycurl.HEADERFUNCTION, self._lines.append)
        easy.setopt(pycurl.NOSIGNAL, 1)
        # HTTP/2 would put a hundred transfers on one connection, and limits would mean nothing.
        easy.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        easy.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        easy.setopt(pycurl.REDIR_PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        easy.setopt(pycurl.FOLLOWLOCATION, 1)
        easy.setopt(pycurl.MAXREDIRS, settings.max_redirects)
        easy.setopt(pycurl.CONNECTTIMEOUT_MS, max(1, int(settings.connect_timeout * 1000)))
        easy.setopt(pycurl.USERAGENT, USER_AGENT)
        easy.setopt(pycurl.CAINFO, ca_bundle)
        easy.setopt(pycurl.BUFFERSIZE, _BUFFER)

    def prepare(
        self, exchange: Exchange, fields: list[str], *, closes: bool, connects: bool
    ) -> None:
        """Get ready for a request.

        Args:
            exchange: Whom it is for.
            fields: Its header lines.
            closes: Whether the connection is closed afterwards.
            connects: Whether only to make a connection, a new one.
        """
        self.expect(exchange)
        self._lines.clear()
        self._held = 0
        self._paused = False
        easy = self.easy
        easy.setopt(pycurl.URL, exchange.url)
        if fields is not self.fields:
            easy.setopt(pycurl.HTTPHEADER, fields)
            self.fields = fields
        self.closes = closes
        forbids = closes and not connects  # or it would be closed before it is used
        if forbids is not self._forbids:
            easy.setopt(pycurl.FORBID_REUSE, forbids)
            self._forbids = forbids
        if connects is not self.connects:
            easy.setopt(pycurl.CONNECT_ONLY, connects)
            easy.setopt(pycurl.FRESH_CONNECT, connects)
            self.connects = connects

    def take(self) -> bool:
        """Have a small response that came whole taken at once; False where it has to be judged."""
        if not self.begun and self.pieces:
            self.head = parse_head(self._lines)
        return super().take()

    def conclude(self, fault: Fault | None) -> None:
        """Judge a response that is over, or broken off; hand over the last of it."""
        if not self.begun:
            self.head = parse_head(self._lines)
        super().conclude(fault)

    def _receiver(self) -> Callable[[bytes], int | None]:
        """What libcurl calls with a piece of a body."""
        pieces, progress = self.pieces, self.progress

        def receive(data: bytes) -> int | None:
            if self.share >= _SHARE:
                self._paused = True
                return int(pycurl.WRITEFUNC_PAUSE)  # this piece comes again
            pieces.append(data)
            if len(pieces) < _AT_A_TIME:
                return None
            try:
                return None if progress() else -1
            except Exception as error:  # noqa: BLE001 - pycurl would print and drop it
                self.crash = error  # raised again by the loop, where it can be handled
                return -1

        return receive

    def resume(self) -> bool:
        """Begin another turn for a body that has had its share of one; False to break it off."""
        self.share = 0
        if self._paused:
            self._paused = False
            try:
                self.easy.pause(pycurl.PAUSE_CONT)  # brings what had been read already
            except pycurl.error:
                return False
        return True

    def progress(self) -> bool:
        """Look at what has come of the body; False to break the transfer off."""
        if not self.begun:
            count = len(self.pieces)
            if count == self._held:
                return True
            self._held = count
            self.moved = _monotonic()
            # Most files are smaller than this: nothing is decided before they are there.
            if count < _MOST_HELD and sum(map(len, self.pieces)) < self.most_held:
                return True
            self.begin(parse_head(self._lines))
        self.moved = _monotonic()
        return self.hand_over()
