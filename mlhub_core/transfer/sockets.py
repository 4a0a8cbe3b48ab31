"""Waiting for libcurl's sockets, and being woken from other threads.

``epoll`` where there is one, else ``poll``, and neither through :mod:`selectors`: a connection is
let go and taken up again with every file, and its bookkeeping would cost more than the file. Nor
``CurlMulti.select()``, which spins once a descriptor is above 1,024.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pycurl

_AT_A_TIME = 8
"""Sockets that are dealt with before the next requests go out: were it all of them, the server
would have nothing to do while their files are written, and we nothing while it answers."""
_READ = select.POLLIN
_WRITE = select.POLLOUT
_MASKS = {
    pycurl.POLL_IN: _READ,
    pycurl.POLL_OUT: _WRITE,
    pycurl.POLL_INOUT: _READ | _WRITE,
}


class Sockets:
    """The sockets of one multi handle; :meth:`watch` is its ``M_SOCKETFUNCTION``."""

    def __init__(self) -> None:
        self._alarm, self._bell = socket.socketpair()
        self._alarm.setblocking(False)
        self._bell.setblocking(False)
        self._poller: Any
        self._poll: Callable[[float], list[tuple[int, int]]]
        if hasattr(select, "epoll"):
            self._poller = select.epoll()
            self._poll = partial(self._poller.poll, maxevents=_AT_A_TIME)
        else:
            self._poller = select.poll()
            self._poll = lambda seconds: self._poller.poll(1000 * seconds)
        self._poller.register(self._alarm.fileno(), _READ)
        self._known: set[int] = set()
        self._left: set[int] = set()
        """Let go of since the last wait: most are taken up again before the next."""

    def watch(self, event: int, fd: int, _multi: object, _data: object) -> None:
        """Take up a socket, or let go of it."""
        mask = _MASKS.get(event)
        if mask is None:
            self._left.add(fd)
            return
        self._left.discard(fd)
        if fd in self._known:
            # The number may stand for another socket by now, which nobody watches yet.
            with suppress(OSError):
                self._poller.modify(fd, mask)
                return
        self._known.add(fd)
        try:
            self._poller.register(fd, mask)
        except FileExistsError:
            self._poller.modify(fd, mask)

    def wait(self, timeout: float) -> list[tuple[int, int]]:
        """Wait until something can be read or written, or :meth:`ring` is called.

        Args:
            timeout: Seconds at most.

        Returns:
            Descriptors, and for each what can be done, as ``socket_action`` wants it.
        """
        for fd in self._left:
            self._known.discard(fd)
            with suppress(OSError, KeyError):  # closed already
                self._poller.unregister(fd)
        self._left.clear()
        ready = []
        for fd, mask in self._poll(max(0.0, timeout)):
            if fd == self._alarm.fileno():
                with suppress(BlockingIOError):
                    self._alarm.recv(4096)
                continue
            # An error or the other side's end shows as both, so that whoever waits finds out.
            bits = pycurl.CSELECT_IN if mask & ~_WRITE else 0
            bits |= pycurl.CSELECT_OUT if mask & ~_READ else 0
            ready.append((fd, bits))
        return ready

    def ring(self) -> None:
        """End the current or the next wait at once; from any thread."""
        with suppress(OSError):  # full: it rings already; closed: nobody listens any more
            self._bell.send(b"\0")

    def close(self) -> None:
        """Let go of everything."""
        if hasattr(self._poller, "close"):
            self._poller.close()
        self._alarm.close()
        self._bell.close()
