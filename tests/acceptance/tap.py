"""A tap on the wire: a proxy before a hub that passes everything on and writes down what passed.

It counts bodies as they go by, so it knows what a client really moved, whatever was announced.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO
from urllib.parse import urlsplit

_PIECE = 65536
_WITHOUT_BODY = (204, 304)


@dataclass(frozen=True)
class Exchange:
    method: str
    target: str  # path and query
    headers: dict[str, str]  # of the request, names in lower case
    status: int
    body: int  # bytes of the answer's body

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


class Tap:
    """Use it as a context manager; ``address`` stands for that of the hub behind it."""

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname or "", parts.port or 80)
        self._exchanges: list[Exchange] = []
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def exchanges(self) -> list[Exchange]:
        with self._lock:
            return list(self._exchanges)

    def forget(self) -> None:
        with self._lock:
            self._exchanges.clear()

    def __enter__(self) -> Tap:
        accepting = threading.Thread(target=self._accept, daemon=True)
        self._threads.append(accepting)
        accepting.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            threads = list(self._threads)
        for thread in threads:
            thread.join(10)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
            with self._lock:
                self._open.add(client)
                self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(self._upstream) as hub:
            for side in (client, hub):
                side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with client.makefile("rb") as asked, hub.makefile("rb") as answered:
                while self._pass_on(client, hub, asked, answered):
                    pass
        with self._lock:
            self._open.discard(client)

    def _pass_on(
        self, client: socket.socket, hub: socket.socket, asked: BinaryIO, answered: BinaryIO
    ) -> bool:
        request = _head(asked)
        if not request:
            return False
        hub.sendall(request)
        head = _head(answered)
        if not head:
            return False  # an idle connection that the hub has closed: the client asks again
        method, target, _ = request.decode("latin-1").split(" ", 2)
        status = int(head.split(b" ", 2)[1])
        fields = _fields(head)
        assert "transfer-encoding" not in fields, "the tap follows Content-Length only"
        bodyless = method == "HEAD" or status in _WITHOUT_BODY
        rest = 0 if bodyless else int(fields["content-length"])
        moved = 0
        client.sendall(head)
        try:
            while moved < rest:
                piece = answered.read(min(_PIECE, rest - moved))
                if not piece:
                    return False
                moved += len(piece)
                client.sendall(piece)
        finally:
            with self._lock:
                self._exchanges.append(Exchange(method, target, _fields(request), status, moved))
        return True


def _head(stream: BinaryIO) -> bytes:
    lines = []
    for line in stream:
        lines.append(line)
        if line == b"\r\n":
            return b"".join(lines)
    return b""


def _fields(head: bytes) -> dict[str, str]:
    lines = head.decode("latin-1").split("\r\n")[1:]
    pairs = (line.partition(":") for line in lines if line)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}
