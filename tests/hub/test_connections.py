"""Clients that keep a hub waiting: none of them for ever, and none at the expense of others."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from mlhub_core.hub.connections import Connections, HubProtocol
from mlhub_core.hub.server import HubServer
from tests.hub.conftest import small_directory

REQUEST = b"GET /files/assets/%s HTTP/1.1\r\nHost: h\r\n\r\n"
SILENT = (b"", b"GET /mlhub/v1/data", b"GET / HTTP/1.1\r\nHost: h\r\nX: y")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def hub(stack: ExitStack, tmp_path: Path, connections: Connections) -> HubServer:
    return stack.enter_context(HubServer(small_directory(tmp_path), connections=connections))


def connect(
    stack: ExitStack, server: HubServer, said: bytes, source: str = "127.0.0.1"
) -> socket.socket:
    parts = urlsplit(server.url)
    assert parts.hostname
    made = socket.create_connection((parts.hostname, parts.port), 60, (source, 0))
    stack.enter_context(made)
    made.sendall(said)
    return made


def is_closed(connection: socket.socket) -> bool:
    """Wait for the end of a connection, whatever comes before it."""
    with suppress(ConnectionError):
        while connection.recv(65536):
            pass
    return True


@pytest.mark.parametrize("first", [b"", REQUEST % b"a.tif"])
@pytest.mark.parametrize("said", SILENT)
def test_a_request_that_does_not_come(
    stack: ExitStack, tmp_path: Path, first: bytes, said: bytes
) -> None:
    server = hub(stack, tmp_path, Connections(head_seconds=0.1))
    assert is_closed(connect(stack, server, first + said))


def test_a_head_without_end(stack: ExitStack, tmp_path: Path) -> None:
    server = hub(stack, tmp_path, Connections())
    connection = connect(stack, server, b"GET / HTTP/1.1\r\n")
    line = b"X-Header: " + b"y" * 10_000 + b"\r\n"
    with pytest.raises(ConnectionError):
        connection.sendall(line * 10_000)


class Watched(Connections):
    """Says when a connection is gone."""

    def __init__(self, **options: float) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.gone = threading.Event()

    def forget(self, one: HubProtocol) -> None:
        super().forget(one)
        self.gone.set()


def test_a_response_that_is_not_read(stack: ExitStack, tmp_path: Path) -> None:
    connections = Watched(stall_seconds=0.1)
    server = hub(stack, tmp_path, connections)
    (tmp_path / "assets" / "big.bin").write_bytes(bytes(64_000_000))
    connection = connect(stack, server, REQUEST % b"big.bin")
    assert connections.gone.wait(300)
    received = 0
    with suppress(ConnectionError):
        while data := connection.recv(1 << 20):
            received += len(data)
    assert received < 64_000_000


@pytest.mark.parametrize("said", SILENT)
def test_new_clients_are_served_however_many_are_silent(
    stack: ExitStack, tmp_path: Path, said: bytes
) -> None:
    server = hub(stack, tmp_path, Connections(10, head_seconds=600))
    silent = [connect(stack, server, said) for _ in range(30)]
    for source in ("127.0.0.1", "127.0.0.2"):
        assert b"200 OK" in connect(stack, server, REQUEST % b"a.tif", source).recv(65536)
    assert all(map(is_closed, silent[:20]))


def test_who_holds_the_most_makes_room(stack: ExitStack, tmp_path: Path) -> None:
    server = hub(stack, tmp_path, Connections(8, head_seconds=600))
    modest = connect(stack, server, SILENT[1], "127.0.0.2")
    many = [connect(stack, server, SILENT[1], f"127.0.0.{3 + number % 2}") for number in range(20)]
    assert all(map(is_closed, many[:12]))
    modest.sendall(b"sets HTTP/1.1\r\nHost: h\r\n\r\n")
    assert b"200 OK" in modest.recv(65536)
