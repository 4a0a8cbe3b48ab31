"""A slot: one of libcurl's easy handles, set up once and used for one request after another."""

from __future__ import annotations

import time
from typing import Any

import pycurl

from mlhub_core.http_rules import parse_length
from mlhub_core.settings import USER_AGENT, TransferSettings
from mlhub_core.transfer.exchange import Exchange
from mlhub_core.transfer.faults import Fault
from mlhub_core.transfer.head import ResponseHead, parse_head

_DRAIN = 64 * 1024
"""An unwanted body up to this size is read and dropped, which keeps the connection."""
_BUFFER = 128 * 1024
_HELD = 128 * 1024
"""Bytes of a body that come before it is judged, unless it ends sooner."""

_monotonic = time.monotonic


class Slot:
    """An easy handle and the request that it is used for.

    Attributes:
        easy: The handle.
        exchange: Whom the request is for, None between two.
        head: Of the response.
        begun: Whether the response has been judged.
        closes: Whether the connection is closed afterwards.
        moved: When something came last, by the monotonic clock.
        crash: What an exchange raised while libcurl was calling.

    Args:
        settings: Time-outs and limits.
        ca_bundle: The file with the certificates that are trusted.
    """

    __slots__ = (
        "_drained",
        "_fields",
        "_held",
        "_lines",
        "_most_held",
        "_pieces",
        "_wanted",
        "begun",
        "closes",
        "crash",
        "easy",
        "exchange",
        "head",
        "moved",
    )

    def __init__(self, settings: TransferSettings, ca_bundle: str) -> None:
        self.easy: Any = pycurl.Curl()
        self.exchange: Exchange | None = None
        self.head: ResponseHead | None = None
        self.begun = False
        self.closes = False
        self.moved = 0.0
        self.crash: Exception | None = None
        self._lines: list[bytes] = []
        self._fields: list[str] | None = None
        self._wanted = False
        self._drained = 0
        self._pieces: list[bytes] = []
        """The beginning of a body that nobody has looked at yet."""
        self._held = 0
        self._most_held = min(_HELD, settings.resume_threshold)
        self._set_up(settings, ca_bundle)

    def _set_up(self, settings: TransferSettings, ca_bundle: str) -> None:
        easy = self.easy
        easy.setopt(pycurl.WRITEFUNCTION, self._on_data)
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

    def prepare(self, exchange: Exchange, fields: list[str], *, closes: bool) -> None:
        """Get ready for a request.

        Args:
            exchange: Whom it is for.
            fields: Its header lines.
            closes: Whether the connection is closed afterwards.
        """
        self._lines.clear()
        self._pieces.clear()
        self._held = 0
        self.head = None
        self.begun = self._wanted = False
        self._drained = 0
        self.crash = None
        self.exchange = exchange
        self.moved = _monotonic()
        easy = self.easy
        easy.setopt(pycurl.URL, exchange.url)
        if fields is not self._fields:
            easy.setopt(pycurl.HTTPHEADER, fields)
            self._fields = fields
        if closes is not self.closes:
            easy.setopt(pycurl.FORBID_REUSE, closes)
            self.closes = closes

    def take(self) -> bool:
        """Have a small response that came whole taken at once; False where it has to be judged."""
        exchange = self.exchange
        if self.begun or not self._pieces or exchange is None:
            return False
        self.head = head = parse_head(self._lines)
        return head is not None and exchange.take(head, self._pieces)

    def begin_late(self, fault: Fault | None) -> None:
        """Judge a response without a body, or with a small one that waits for it.

        Unless what is here is a redirect, and what broke is the way to its target.
        """
        head = parse_head(self._lines)
        if fault is None or (head is not None and not 300 <= head.status < 400):
            self._begin(head)
            self._hand_over()

    def _begin(self, head: ResponseHead | None) -> None:
        self.begun = True
        self.head = head
        if head is not None and self.exchange is not None:
            self._wanted = self.exchange.begin(head)

    def _hand_over(self) -> bool:
        """Let go of the pieces that are held; False to break the transfer off."""
        pieces, self._pieces = self._pieces, []
        self._held = 0
        exchange = self.exchange
        assert exchange is not None
        return all(self._pass_on(piece) is None for piece in pieces)

    def _pass_on(self, data: bytes) -> int | None:
        if self._wanted:
            assert self.exchange is not None
            return None if self.exchange.write(data) else -1
        return self._drop(len(data))

    def _on_data(self, data: bytes) -> int | None:
        """Called by libcurl with a piece of a body; anything but None breaks the transfer off."""
        self.moved = _monotonic()
        if not self.begun:
            # Most files are smaller than this: nothing is decided before they are there.
            self._pieces.append(data)
            self._held += len(data)
            if self._held < self._most_held:
                return None
        try:
            if not self.begun:
                self._begin(parse_head(self._lines))
                return None if self._hand_over() else -1
            return self._pass_on(data)
        except Exception as error:  # noqa: BLE001 - pycurl would print and drop it
            self.crash = error  # raised again by the loop, where it can be handled
            return -1

    def _drop(self, size: int) -> int | None:
        self._drained += size
        length = parse_length(self.head.get("content-length")) if self.head else None
        return None if max(self._drained, length or 0) <= _DRAIN else -1
