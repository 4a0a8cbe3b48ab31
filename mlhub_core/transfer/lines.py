"""The plain connections of an engine: for whom they are, and which are in use."""

from __future__ import annotations

from typing import Any

import pycurl

from mlhub_core.transfer.environment import proxied
from mlhub_core.transfer.exchange import Exchange
from mlhub_core.transfer.head import ResponseHead
from mlhub_core.transfer.line import Buffer, Line, plain_length, stays_open
from mlhub_core.transfer.multi import Multi
from mlhub_core.transfer.slot import Slot
from mlhub_core.transfer.sockets import Sockets

_MOST_HOSTS = 1_000
"""Hosts of which it is remembered how they answer; all others are libcurl's."""


class Lines:
    """Plain connections, by host.

    A host gets some once libcurl has had a plain answer from it, and none any more after one that
    is not. Until it is known how a host answers, and beside its lines, libcurl keeps no connection
    to it open: the two would have more than were leased.

    Args:
        multi: Which makes them, and closes them.
        sockets: Where they are waited for.
        wanted: False for none at all.

    Attributes:
        open: All of them, by descriptor; those on which nothing is asked have no exchange.
        busy: On how many something is asked.
    """

    def __init__(self, multi: Multi, sockets: Sockets, *, wanted: bool = True) -> None:
        self._multi = multi
        self._sockets = sockets
        self._off = not wanted or proxied()
        self._plain: dict[str, str] = {}
        """What URLs begin with that a host has lines for, or nothing."""
        self._idle: dict[str, list[Line]] = {}
        self._buffer = Buffer()
        self.open: dict[int, Line] = {}
        self.busy = 0

    def idle(self, exchange: Exchange) -> Line | None:
        """One for a request, on which nothing is asked at present; it is busy from now on."""
        idle = self._idle.get(exchange.host)
        if not idle or not self.suit(exchange):
            return None
        self.busy += 1
        return idle.pop()

    def suit(self, exchange: Exchange) -> bool:
        """Whether a request is to go over one."""
        begins = self._plain.get(exchange.host)
        if not begins:
            return False
        url = exchange.url
        # libcurl leaves fragments out, and resolves dots.
        odd = " " in url or "#" in url or "/." in url
        return url.startswith(begins) and url.isascii() and url.isprintable() and not odd

    def make_way(self, exchange: Exchange) -> bool:
        """Make room for a connection of libcurl's to a host that has some, or may have some later.

        Returns:
            Whether so; then it is to be closed after its first use.
        """
        plain = self._may_come(exchange)
        if plain:
            self.close_one(exchange.host)
        return plain

    def close_one(self, host: str) -> None:
        """Close one on which nothing is asked, if there is one."""
        idle = self._idle.get(host)
        if idle:
            self._shut(idle.pop())

    def _may_come(self, exchange: Exchange) -> bool:
        begins = self._plain.get(exchange.host)
        if begins is None:
            room = not self._off and len(self._plain) < _MOST_HOSTS
            return room and exchange.url.startswith(f"http://{exchange.host}/")
        return bool(begins)

    def learn(self, exchange: Exchange, easy: Any, head: ResponseHead | None) -> None:
        """See how a host answers, if that is not known.

        Args:
            exchange: Whom the answer was for.
            easy: libcurl's handle.
            head: Of the answer.
        """
        host = exchange.host
        if head is None or host in self._plain or not self._may_come(exchange):
            return
        plain = (
            easy.getinfo(pycurl.REDIRECT_COUNT) == 0
            and easy.getinfo(pycurl.INFO_HTTP_VERSION) == pycurl.CURL_HTTP_VERSION_1_1
            and plain_length(head) is not None
            and stays_open(head)
        )
        self._plain[host] = f"http://{host}/" if plain else ""
        self._idle[host] = []

    def take_over(self, slot: Slot, host: str) -> Line | None:
        """Go on with a connection that libcurl has made; it is busy from now on.

        Args:
            slot: libcurl's, which gets it back when the connection is closed.
            host: Host and port, as in URLs.

        Returns:
            None where the host has closed it already.
        """
        fd: int = slot.easy.getinfo(pycurl.ACTIVESOCKET)
        if fd == pycurl.SOCKET_BAD:
            return None
        self._multi.lend(slot)
        line = Line(fd, host, slot, self._buffer)
        self.open[fd] = line
        self.busy += 1
        self._sockets.keep(fd)
        return line

    def rest(self, line: Line) -> None:
        """Keep one for the next request."""
        line.exchange = None
        self.busy -= 1
        self._idle[line.host].append(line)

    def close(self, line: Line) -> None:
        """Close one that is busy."""
        line.exchange = None
        self.busy -= 1
        self._shut(line)

    def woke(self, line: Line) -> None:
        """Close one on which nothing is asked: its host has, or says what nobody wants to hear."""
        self._idle[line.host].remove(line)
        self._shut(line)

    def refuse(self, host: str) -> None:
        """Use none for a host any more."""
        self._plain[host] = ""
        for line in list(self.open.values()):
            if line.host == host and line.exchange is None:
                self._shut(line)
            elif line.host == host:
                line.closes = True
        self._idle[host].clear()

    def _shut(self, line: Line) -> None:
        del self.open[line.fd]
        self._sockets.forget(line.fd)
        self._multi.take_back(line.let_go())

    def close_all(self) -> None:
        """Close every one."""
        for line in list(self.open.values()):
            self._shut(line)
        self._idle.clear()
        self.busy = 0
