"""The connections of a hub: how many there may be, and how long each may keep us waiting.

A hub on a network meets clients that connect and say nothing, send half a request, or do not read
what they asked for. Without limits a few hundred of them take every descriptor that there is.
"""

from __future__ import annotations

import asyncio
import resource
from collections import Counter
from contextlib import suppress
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_MOST_HEAD_BYTES = 64 * 1024
_RESERVE = 32
"""Descriptors for all else that the process does."""


def most_connections() -> int:
    """How many connections there may be: half of the descriptors, as each may read a file."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(4, (min(soft, 65_536) - _RESERVE) // 2)


def raise_limit() -> None:
    """Let this process have as many descriptors as the system gives it without being asked."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    if soft < wanted:
        with suppress(OSError, ValueError):  # it works with fewer as well
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class Connections:
    """Connections by client, those that wait for a request in the order in which they began to.

    Where there are too many, one that waits makes room for a new one, first of all one of whoever
    holds the most.

    Attributes:
        head_seconds: For a request's head to come, from the connection or the last response on.
        stall_seconds: For a client to read a piece of a response, of 256 KiB at most.

    Args:
        most: How many there may be in all, by default as the descriptors allow. One client may
            have half of them.
        head_seconds: See above.
        stall_seconds: See above.
    """

    def __init__(
        self, most: int | None = None, *, head_seconds: float = 20.0, stall_seconds: float = 60.0
    ) -> None:
        self.head_seconds = head_seconds
        self.stall_seconds = stall_seconds
        self._most = most or most_connections()
        self._most_of_one = max(1, self._most // 2)
        self._open: set[HubProtocol] = set()
        self._waiting: dict[HubProtocol, None] = {}

    def admit(self, new: HubProtocol) -> bool:
        """Take a connection up; False where there is no room, and none to be made."""
        room = True
        if len(self._open) >= self._most_of_one:
            clients = Counter(one.client_name for one in self._open)
            if clients[new.client_name] >= self._most_of_one:
                room = self._make_room(new.client_name)
            elif len(self._open) >= self._most:
                [(busiest, _)] = clients.most_common(1)
                room = self._make_room(busiest) or self._make_room()
        if room:
            self._open.add(new)
        return room

    def _make_room(self, client_name: str | None = None) -> bool:
        """Break off the connection, of one client or of all, that has waited longest."""
        among = (one for one in self._waiting if client_name in (one.client_name, None))
        oldest = next(among, None)
        if oldest is None:
            return False
        self.forget(oldest)
        oldest.abort()
        return True

    def waits(self, one: HubProtocol) -> None:
        """A connection waits for a request from now on."""
        if one in self._open:
            self._waiting.pop(one, None)
            self._waiting[one] = None

    def works(self, one: HubProtocol) -> None:
        """A connection has a request, which is being answered."""
        self._waiting.pop(one, None)

    def forget(self, one: HubProtocol) -> None:
        """A connection is gone. Doing so twice does no harm."""
        self._waiting.pop(one, None)
        self._open.discard(one)


class HubProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with an end to waiting.

    Attributes:
        client_name: The client's address, without its port.

    Args:
        connections: Those of the hub.
        **options: As uvicorn gives them.
    """

    def __init__(self, connections: Connections, **options: Any) -> None:
        super().__init__(**options)
        self.client_name = ""
        self._connections = connections
        self._deadline: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._waits = False
        self._head_bytes = 0

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for a request, if there is room for one more."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)  # so that we hear of all that is not read
        self.client_name = self.client[0] if self.client else ""
        if self._connections.admit(self):
            self._wait()
        else:
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of everything."""
        self._stop(self._deadline)
        self._stop(self._stalled)
        self._connections.forget(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take in a part of a request; a head that has no end is broken off."""
        if self._waits:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._waits and self._head_bytes > _MOST_HEAD_BYTES:
            self.abort()

    def on_headers_complete(self) -> None:
        """A request is there: from now on it is ours to answer."""
        self._waits = False
        self._stop(self._deadline)
        self._connections.works(self)
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request, unless it is there already."""
        super().on_response_complete()
        if self.cycle is None or self.cycle.response_complete:
            self._wait()

    def pause_writing(self) -> None:
        """The client does not read as fast as we send."""
        super().pause_writing()
        self._stalled = self.loop.call_later(self._connections.stall_seconds, self.abort)

    def resume_writing(self) -> None:
        """The client has read what was waiting."""
        super().resume_writing()
        self._stop(self._stalled)

    def abort(self) -> None:
        """Break the connection off, whatever is still to be sent."""
        if self.transport is not None:
            self.transport.abort()

    def _wait(self) -> None:
        self._waits = True
        self._head_bytes = 0
        self._stop(self._deadline)
        self._connections.waits(self)
        if self.parser is not None:  # as it is once the connection is lost
            self._deadline = self.loop.call_later(self._connections.head_seconds, self._on_deadline)

    def _on_deadline(self) -> None:
        if self.transport.get_write_buffer_size():  # the end of the last response is on its way
            self._wait()
        else:
            self.abort()

    @staticmethod
    def _stop(timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()
