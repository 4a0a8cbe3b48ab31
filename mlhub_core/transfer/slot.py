"""A slot: one of libcurl's easy handles, set up once and used for one request after another.

It holds the response as it comes, and says when that is judged and who gets its bytes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import pycurl

from mlhub_core.net.response import ResponseHead, parse_head, parse_length
from mlhub_core.net.retry import Fault, says_limited
from mlhub_core.settings import USER_AGENT, TransferSettings
from mlhub_core.transfer.exchange import Exchange

_BUFFER = 1024 * 1024
"""Bytes that libcurl reads at once, if there are as many; one such buffer for all handles. Reading
less wakes the sender more often, which costs both sides more than the copying does."""
_HELD = 128 * 1024
"""Bytes of a body that come before it is judged, unless it ends sooner."""
_MOST_HELD = 64
"""Pieces of one, the same: of a byte each they would cost more memory than they bring."""
_DRAIN = 64 * 1024
"""An unwanted body up to this size is read and dropped, which keeps the connection."""
_AT_A_TIME = 8
"""Pieces, of up to 16 KiB, that are looked at together."""
_SHARE = 2 * 1024 * 1024
"""Bytes of one body in one turn of the loop. Left alone, libcurl goes on until the socket is empty,
which it never is while the server is faster than we are; nobody else would get a word in, the stop
flag included."""

_monotonic = time.monotonic


class Slot:
    """An easy handle and the request that it is used for.

    Attributes:
        easy: The handle.
        fields: Header lines of the request.
        exchange: Whom the request is for, None between two.
        head: Of the response.
        begun: Whether the response has been judged.
        closes: Whether the connection is closed afterwards.
        moved: When something came last, by the monotonic clock.
        share: Bytes of the body that came in this turn of the loop.
        crash: What the exchange raised where nobody could be told.
        pieces: Of a body, that have come and nobody has looked at.
        most_held: Bytes of a body that come before it is judged, unless it ends sooner.

    Args:
        settings: Time-outs and limits.
        options: Further ones of the handle.
    """

    # fmt: off
    __slots__ = (
        "_came", "_drained", "_forbids", "_held", "_lines", "_looked_at", "_paused", "_secure",
        "_since", "_wanted", "begun", "closes", "crash", "easy", "exchange", "fields", "head",
        "most_held", "moved", "pieces", "share",
    )
    # fmt: on

    def __init__(self, settings: TransferSettings, options: Mapping[int, str]) -> None:
        self.easy: Any = pycurl.Curl()
        self.fields: list[str] = []
        self.exchange: Exchange | None = None
        self.head: ResponseHead | None = None
        self.begun = False
        self.closes = False
        self.moved = 0.0
        self._since = 0.0
        """When the body began, or was last found fast enough, and how much of it had come."""
        self._came = self._looked_at = 0
        self.share = 0
        self.crash: Exception | None = None
        self.pieces: list[bytes] = []
        self._wanted = False
        self._drained = 0
        self._forbids = False
        self._paused = False
        self._secure = True
        """Whether redirects to plain HTTP are refused: what was to be private would not be."""
        self._lines: list[bytes] = []
        self._held = 0
        """Pieces that wait for the rest, or for enough to judge."""
        self.most_held = min(_HELD, settings.resume_threshold)
        self._set_up(settings, options)
        for option, value in options.items():
            self.easy.setopt(option, value)

    def _set_up(self, settings: TransferSettings, options: Mapping[int, str]) -> None:
        easy = self.easy
        easy.setopt(pycurl.WRITEFUNCTION, self._receiver())
        easy.setopt(pycurl.HEADERFUNCTION, self._lines.append)
        easy.setopt(pycurl.NOSIGNAL, 1)
        # HTTP/2 would put a hundred transfers on one connection, and limits would mean nothing.
        easy.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        easy.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        easy.setopt(pycurl.REDIR_PROTOCOLS, pycurl.PROTO_HTTPS)
        easy.setopt(pycurl.FOLLOWLOCATION, 1)
        easy.setopt(pycurl.MAXREDIRS, settings.max_redirects)
        easy.setopt(pycurl.CONNECTTIMEOUT_MS, max(1, int(settings.connect_timeout * 1000)))
        easy.setopt(pycurl.USERAGENT, USER_AGENT)
        easy.setopt(pycurl.BUFFERSIZE, _BUFFER)

    def prepare(self, exchange: Exchange, fields: list[str], *, closes: bool) -> None:
        """Get ready for a request and its response.

        Args:
            exchange: Whom it is for.
            fields: Its header lines.
            closes: Whether the connection is closed afterwards.
        """
        self.exchange = exchange
        self.moved = self._since = _monotonic()
        self._came = self._looked_at = 0
        self.pieces.clear()
        self.head = self.crash = None
        self.begun = self._wanted = self._paused = False
        self.share = self._drained = self._held = 0
        self._lines.clear()
        easy = self.easy
        easy.setopt(pycurl.URL, exchange.url)
        secure = exchange.url[:6].lower() == "https:"
        if secure is not self._secure:
            self._secure = secure
            plain = 0 if secure else pycurl.PROTO_HTTP
            easy.setopt(pycurl.REDIR_PROTOCOLS, pycurl.PROTO_HTTPS | plain)
        if fields is not self.fields:
            easy.setopt(pycurl.HTTPHEADER, fields)
            self.fields = fields
        self.closes = closes
        if closes is not self._forbids:
            easy.setopt(pycurl.FORBID_REUSE, closes)
            self._forbids = closes

    def take(self) -> bool:
        """Have a small response that came whole taken at once; False where it has to be judged."""
        if self.begun or not self.pieces:
            return False
        self.head = parse_head(self._lines)
        if self.head is None:
            return False
        assert self.exchange is not None
        return self.exchange.take(self.head, self.pieces)

    def conclude(self, fault: Fault | None) -> None:
        """Judge a response that is over, or broken off, and has not been; hand over the last of it.

        Unless what is here is a redirect, and what broke is the way to its target.
        """
        if not self.begun:
            self.head = parse_head(self._lines)
            if fault is not None and (self.head is None or 300 <= self.head.status < 400):
                return
            self._begin(self.head)
        self._hand_over()

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

    def is_slow(self, now: float, held_up: float, settings: TransferSettings) -> bool:
        """Whether less of the body came than may, since it began or was last found fast enough.

        Args:
            now: By the monotonic clock.
            held_up: Seconds since the last look in which nobody could take anything.
            settings: The least speed, and over how long it is measured.
        """
        came = self._looked_at + sum(map(len, self.pieces))
        if not came:
            self._since = now
            return False
        self._since += held_up
        seconds = now - self._since
        if seconds < settings.stall_timeout:
            return False
        slow = came - self._came < settings.min_speed * seconds
        self._since, self._came = now, came
        return slow

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
            self._begin(parse_head(self._lines))
        self.moved = _monotonic()
        return self._hand_over()

    def _begin(self, head: ResponseHead | None) -> None:
        """Have the response judged."""
        self.begun = True
        if head is not None and head.status == 403 and says_limited(403, {}, b"".join(self.pieces)):
            # What the body says counts as much as the field that says the same.
            head = ResponseHead(403, {**head.fields, "x-ratelimit-remaining": "0"})
        self.head = head
        if head is not None and self.exchange is not None:
            self._wanted = self.exchange.begin(head)

    def _hand_over(self) -> bool:
        """Hand over what has come of a judged body; False to break the transfer off."""
        pieces = self.pieces
        if not pieces:
            return True
        size = sum(map(len, pieces))
        self.share += size
        self._looked_at += size
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
