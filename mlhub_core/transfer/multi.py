"""libcurl's multi interface: any number of transfers in one thread, driven by our own loop."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pycurl

from mlhub_core.exceptions import StorageError
from mlhub_core.net.retry import UNWANTED, Fault, fault_of, out_of_descriptors
from mlhub_core.settings import TransferSettings
from mlhub_core.transfer.environment import handle_options
from mlhub_core.transfer.exchange import Exchange
from mlhub_core.transfer.slot import Slot
from mlhub_core.transfer.sockets import Sockets

_Ended = tuple[Slot, Fault | None]


class Multi:
    """The transfers that libcurl does.

    Args:
        settings: Time-outs and limits.
        sockets: Where its sockets are waited for.

    Attributes:
        slots: Those under way, by handle.
        deadline: When libcurl wants to be told the time, by the monotonic clock.
    """

    def __init__(self, settings: TransferSettings, sockets: Sockets) -> None:
        self._settings = settings
        self._around = handle_options()
        self._multi: Any = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, sockets.watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._on_timer)
        self._multi.setopt(pycurl.M_MAXCONNECTS, max(8, 2 * settings.concurrency))
        self._spare: list[Slot] = []
        self.slots: dict[Any, Slot] = {}
        self.deadline: float | None = None

    def start(self, exchange: Exchange, fields: list[str], *, closes: bool) -> None:
        """Begin a transfer; the next :meth:`expire` sends its request.

        Args:
            exchange: Whom it is for.
            fields: Header lines of the request.
            closes: Whether the connection is closed afterwards.
        """
        slot = self._spare.pop() if self._spare else Slot(self._settings, self._around)
        slot.prepare(exchange, fields, closes=closes)
        self.slots[slot.easy] = slot
        self._multi.add_handle(slot.easy)

    def _on_timer(self, milliseconds: int) -> None:
        self.deadline = None if milliseconds < 0 else time.monotonic() + milliseconds / 1000

    def expire(self) -> bool:
        """Let libcurl do what is due; whether that ended a transfer, of which no socket will tell.

        It reads on here where the last read did not empty a socket.
        """
        if self.deadline is None or self.deadline > time.monotonic():
            return False
        self.deadline = None
        running: int = self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)[1]
        return running < len(self.slots)

    def act(self, fd: int, bits: int) -> None:
        """Tell libcurl what can be done with a socket."""
        self._multi.socket_action(fd, bits)

    def broken_by_us(self) -> list[_Ended]:
        """Hand over what has come of bodies, and let those go on that had their share of a turn.

        Returns:
            Those whose rest is of no use.
        """
        return [
            (slot, UNWANTED)
            for slot in self.slots.values()
            if (slot.pieces and not slot.progress()) or (slot.share and not slot.resume())
        ]

    def ended(self) -> Iterator[_Ended]:
        """Those that are over, or broken off; each is to be released before the next.

        Raises:
            StorageError: when the process may open no more files.
        """
        while self.slots:
            remaining, done, broken = self._multi.info_read()
            for easy in done:
                yield self.slots[easy], None
            for easy, code, message in broken:
                if out_of_descriptors(int(easy.getinfo(pycurl.OS_ERRNO))):
                    raise StorageError(
                        "Too many open files. Raise the limit (ulimit -n) or lower the number of "
                        "connections (--concurrency); the same command goes on from there."
                    )
                yield self.slots[easy], fault_of(code, message)
            if not remaining:
                return

    def release(self, slot: Slot) -> None:
        """Take out a transfer that is over, or that nobody wants to go on."""
        del self.slots[slot.easy]
        self._multi.remove_handle(slot.easy)

    def spare(self, slot: Slot) -> None:
        """Keep a slot for another transfer."""
        slot.exchange = None
        self._spare.append(slot)

    def close(self) -> None:
        """Close all connections and let go of everything."""
        for easy in self.slots:
            self._multi.remove_handle(easy)
        for slot in (*self.slots.values(), *self._spare):
            slot.easy.close()
        self.slots.clear()
        self._spare.clear()
        self._multi.close()
