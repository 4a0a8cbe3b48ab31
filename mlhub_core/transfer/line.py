"""A line: one plain HTTP/1.1 connection, used for one request after another.

libcurl makes the connection; what goes over it is read here, because for a small file libcurl's
calls into Python cost more than the file does. Only what every server does most of the time is
understood: a final response whose length the head gives. Of anything else it is said that it is
odd, and libcurl asks again.
"""

from __future__ import annotations

import socket
import time
from enum import Enum

from mlhub_core.http_rules import parse_length
from mlhub_core.settings import USER_AGENT
from mlhub_core.transfer.exchange import Exchange
from mlhub_core.transfer.faults import NO_ANSWER, UNWANTED, Fault, broken_off, cut_short
from mlhub_core.transfer.head import ResponseHead, parse_block
from mlhub_core.transfer.reception import Reception
from mlhub_core.transfer.slot import Slot

_AT_ONCE = 1024 * 1024
"""Bytes read at once, if there are as many."""
_LONGEST_HEAD = 64 * 1024
_END = b"\r\n\r\n"

_monotonic = time.monotonic


class Read(Enum):
    """What a look at a connection brought."""

    MORE = "there is more to come"
    OVER = "the response is whole, or broken off"
    STALE = "the host had closed the connection before it was asked"
    ODD = "a response that is for libcurl to read"


_MORE, _OVER, _STALE, _ODD = Read  # an enumeration's member takes its time to look up


class Buffer:
    """Where all lines of an engine read to: what is in it counts until the next read."""

    __slots__ = ("data", "view")

    def __init__(self) -> None:
        self.data = bytearray(_AT_ONCE)
        self.view = memoryview(self.data)


class Line(Reception):
    """A connection and the request that it is used for.

    Attributes:
        host: Host and port, as in URLs.
        fd: The descriptor.
        fault: What broke the response off, when it is over.
        fields: Header lines of the request.

    Args:
        fd: The descriptor of the connection.
        host: Host and port, as in URLs.
        slot: libcurl's, whose connection it is.
        buffer: Shared with the other lines.
    """

    # fmt: off
    __slots__ = (
        "_answered", "_begins", "_buffer", "_early", "_left", "_slot", "_socket", "_tail",
        "_whole", "fault", "fd", "fields", "host",
    )
    # fmt: on

    def __init__(self, fd: int, host: str, slot: Slot, buffer: Buffer) -> None:
        super().__init__()
        self.host = host
        self.fd = fd
        self.fault: Fault | None = None
        self.fields: list[str] = []
        self._slot = slot
        self._socket = socket.socket(fileno=fd)
        self._socket.setblocking(False)
        self._buffer = buffer
        self._begins = len(f"http://{host}")
        self._tail = b""
        """Of a request, behind its target."""
        self._early = b""
        """Of a head that is not whole."""
        self._left = 0
        """Bytes of the body that are still to come."""
        self._whole: memoryview | None = None
        """Of a body that came with its head, all, and still in the buffer."""
        self._answered = False
        """Whether a response has come over it."""

    def send(self, exchange: Exchange, fields: list[str], closes: bool) -> Read:
        """Ask for something.

        Args:
            exchange: Whom it is for.
            fields: Header lines of the request.
            closes: Whether the connection is closed afterwards.

        Returns:
            MORE where the request went out.
        """
        self.expect(exchange)
        self.closes = closes
        self.fault = None
        self._early = b""
        self._whole = None
        if fields is not self.fields:
            self.fields = fields
            self._tail = _tail(self.host, fields)
        request = b"GET " + exchange.url[self._begins :].encode() + self._tail
        try:
            sent = self._socket.send(request)
        except OSError as error:
            return self._ended(broken_off(error))
        return _MORE if sent == len(request) else _ODD

    def read(self) -> Read:
        """Read what there is."""
        try:
            count = self._socket.recv_into(self._buffer.view)
        except BlockingIOError:
            return _MORE
        except OSError as error:
            return self._ended(broken_off(error))
        if not count:
            return self._ended(NO_ANSWER)
        if self.head is None:
            return self._read_head(count)
        self.pieces.append(bytes(self._buffer.view[: min(count, self._left)]))
        return self._read_on(count)

    def _ended(self, fault: Fault) -> Read:
        """The host closed the connection, in one way or another."""
        if self.head is None and self._answered and not self._early:
            return _STALE
        if self.head is not None and fault is NO_ANSWER:
            fault = cut_short(self._left)
        self.give_up(fault)
        return _OVER

    def _read_head(self, count: int) -> Read:
        data, view = self._buffer.data, self._buffer.view
        if self._early:
            whole = self._early + data[:count]
            end = whole.find(_END)
            block = whole[:end]
            begin = end + len(_END) - len(self._early)
        else:
            end = data.find(_END, 0, count)
            block = bytes(view[:end])
            begin = end + len(_END)
        if end < 0:
            self.moved = _monotonic()
            self._early += data[:count]
            # Some end their lines otherwise, and would be waited for in vain.
            odd = len(self._early) > _LONGEST_HEAD or b"\n\n" in self._early
            return _ODD if odd else _MORE
        self._early = b""
        head = parse_block(block)
        length = None if head is None else plain_length(head)
        if head is None or length is None:
            return _ODD
        self.head = head
        self._answered = True
        # One response too much is nobody's.
        if count - begin > length or not stays_open(head):
            self.closes = True
        if count - begin >= length:  # as small files do
            self._whole = view[begin : begin + length]
            return _OVER
        self.pieces.append(bytes(view[begin:count]))
        self._left = length
        if length > self._slot.most_held:
            self.begin(head)
        return self._read_on(count - begin)

    def _read_on(self, count: int) -> Read:
        self.moved = _monotonic()
        self.closes = self.closes or count > self._left
        self._left = max(0, self._left - count)
        if self.begun and not self.hand_over():
            self.give_up(UNWANTED)
            return _OVER
        return _MORE if self._left else _OVER

    def give_up(self, fault: Fault) -> None:
        """Break the response off; the connection goes with it."""
        self.fault = fault
        self.closes = True

    def take(self) -> bool:
        """Have a small response that came whole taken at once; False where it has to be judged."""
        if self._whole is None:
            return super().take()
        assert self.exchange is not None
        assert self.head is not None
        return self.exchange.take(self.head, (self._whole,))

    def conclude(self, fault: Fault | None) -> None:
        """Judge a response that is over, or broken off; hand over the last of it."""
        if self._whole is not None:
            self.pieces.append(bytes(self._whole))  # which may be kept
        super().conclude(fault)

    def let_go(self) -> Slot:
        """Let go of the connection; whose it is."""
        self._socket.detach()
        return self._slot


def _tail(host: str, fields: list[str]) -> bytes:
    lines = [" HTTP/1.1", f"Host: {host}", f"User-Agent: {USER_AGENT}", "Accept: */*", *fields]
    return "\r\n".join((*lines, "", "")).encode()


def plain_length(head: ResponseHead) -> int | None:
    """Bytes of a body, None unless the head gives them in the plainest of ways."""
    status, fields = head
    if status != 200 and (status < 200 or status == 204 or 300 <= status < 400):
        return None
    if "transfer-encoding" in fields:
        return None
    return parse_length(fields.get("content-length"))


def stays_open(head: ResponseHead) -> bool:
    """Whether the host lets the connection be used again."""
    said = head.fields.get("connection")
    return said is None or said.lower() == "keep-alive"
