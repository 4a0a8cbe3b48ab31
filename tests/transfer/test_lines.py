"""Plain connections of our own: what comes is read right wherever it is cut, and what is not plain
is left to libcurl.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlhub_core.settings import TransferSettings
from mlhub_core.stop import StopFlag
from mlhub_core.transfer.engine import Engine
from mlhub_core.transfer.environment import ca_bundle
from mlhub_core.transfer.faults import Fault
from mlhub_core.transfer.governor import Governor
from mlhub_core.transfer.head import ResponseHead, parse_block, parse_head
from mlhub_core.transfer.line import Buffer, Line, Read
from mlhub_core.transfer.slot import Slot
from tests.faultserver import FaultServer, chunked, redirect, status
from tests.transfer.kit import Kit, content, get_acquainted, quick

HOST = "files.example"


@dataclass
class Taker:
    """An exchange that keeps what it gets."""

    url: str = f"http://{HOST}/a.tif"
    host: str = HOST
    takes: bool = False
    wants: bool = True
    most: int = 1 << 30
    head: ResponseHead | None = None
    body: bytes = b""
    settled: list[Fault | None] = field(default_factory=list)

    def fields(self) -> list[str]:
        return ["X-Of-Ours: 1"]

    def take(self, head: ResponseHead, pieces: Sequence[bytes | memoryview]) -> bool:
        if self.takes:
            self.head, self.body = head, b"".join(pieces)
        return self.takes

    def begin(self, head: ResponseHead) -> bool:
        self.head = head
        return self.wants

    def write(self, pieces: Sequence[bytes]) -> bool:
        self.body += b"".join(pieces)
        return len(self.body) <= self.most

    def settle(self, fault: Fault | None) -> None:
        self.settled.append(fault)

    def abandon(self) -> None:
        pass


@dataclass
class Wire:
    """A line, and the other end of its connection."""

    line: Line
    host: socket.socket

    def ask(self, taker: Taker) -> bytes:
        """Send a request, which comes back as it was sent."""
        assert self.line.send(taker, taker.fields(), False) is Read.MORE
        return self.host.recv(65536)

    def bring(self, pieces: Sequence[bytes]) -> list[Read]:
        """Let pieces of a response arrive one by one; what each look brought."""
        looks = []
        for piece in pieces:
            self.host.sendall(piece)
            looks.append(self.line.read())
        return looks

    def end(self, taker: Taker) -> None:
        """Conclude a response as the engine does."""
        if self.line.fault is not None or not self.line.take():
            self.line.conclude(self.line.fault)


def wire(most_held: int = 128 * 1024, host: str = HOST) -> Wire:
    here, there = socket.socketpair()
    slot = Slot(TransferSettings(), ca_bundle())
    slot.most_held = most_held
    return Wire(Line(here.detach(), host, slot, Buffer()), there)


@pytest.fixture
def connection() -> Iterator[Wire]:
    made = wire()
    yield made
    hang_up(made)


def hang_up(one: Wire) -> None:
    one.host.close()
    one.line.let_go().easy.close()
    socket.socket(fileno=one.line.fd).close()


def response(body: bytes, *lines: str, status: str = "200 OK") -> bytes:
    head = [f"HTTP/1.1 {status}", *lines, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(head).encode("latin-1") + body


# One connection


@settings(deadline=None)
@given(
    body=st.binary(max_size=3000),
    cuts=st.sets(st.integers(1, 3200), max_size=8),
    most_held=st.sampled_from([1, 100, 1000, 10_000]),
    takes=st.booleans(),
)
def test_wherever_it_is_cut(body: bytes, cuts: set[int], most_held: int, takes: bool) -> None:
    whole = response(body, "ETag: x", "Server: of some kind")
    marks = [0, *sorted(cut for cut in cuts if cut < len(whole)), len(whole)]
    one, taker = wire(most_held), Taker(takes=takes)
    one.ask(taker)
    looks = one.bring([whole[begin:end] for begin, end in pairwise(marks)])
    assert looks == [Read.MORE] * (len(marks) - 2) + [Read.OVER]
    assert one.line.fault is None
    assert not one.line.closes
    one.end(taker)
    assert taker.body == body
    assert taker.head == ResponseHead(200, {"etag": "x", "content-length": str(len(body))})
    hang_up(one)


@settings(deadline=None)
@given(body=st.binary(min_size=1, max_size=500), cut=st.integers(0, 600), reset=st.booleans())
def test_broken_off_anywhere(body: bytes, cut: int, reset: bool) -> None:
    whole = response(body)
    sent = whole[: min(cut, len(whole) - 1)]
    one, taker = wire(), Taker()
    one.ask(taker)
    assert set(one.bring([sent] if sent else [])) <= {Read.MORE}
    if reset:
        one.host.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    one.host.close()
    assert one.line.read() is Read.OVER
    assert one.line.fault is not None
    assert one.line.closes
    one.end(taker)
    got = len(sent) - (len(whole) - len(body))
    assert taker.body == body[: max(0, got)]
    within = one.line.fault.cause.endswith("within the file")
    assert within == (got >= 0)
    hang_up(one)


def test_the_request(connection: Wire) -> None:
    taker = Taker(url=f"http://{HOST}/a%20b.tif?c=d")
    lines = connection.ask(taker).decode().split("\r\n")
    assert lines[0] == "GET /a%20b.tif?c=d HTTP/1.1"
    assert lines[1] == f"Host: {HOST}"
    assert "X-Of-Ours: 1" in lines
    assert lines[-2:] == ["", ""]


def test_one_response_after_the_other(connection: Wire) -> None:
    for number in range(3):
        taker = Taker(takes=number % 2 == 0)
        connection.ask(taker)
        body = b"%d" % number * 1000
        assert connection.bring([response(body)]) == [Read.OVER]
        connection.end(taker)
        assert taker.body == body


def test_a_connection_that_was_closed_before_it_was_asked_again(connection: Wire) -> None:
    connection.ask(Taker())
    connection.bring([response(b"x")])
    connection.host.close()
    assert connection.line.send(Taker(), [], False) is Read.STALE


def test_what_is_to_be_closed_when_it_is_over(connection: Wire) -> None:
    connection.ask(Taker())
    connection.bring([response(b"x")])
    for closes in (True, False):
        connection.line.send(Taker(), [], closes)
        assert connection.bring([response(b"x")]) == [Read.OVER]
        assert connection.line.closes is closes


def test_a_connection_that_is_closed_while_it_is_asked_again(connection: Wire) -> None:
    connection.ask(Taker())
    connection.bring([response(b"x")])
    connection.ask(Taker())
    connection.host.close()
    assert connection.line.read() is Read.STALE
    assert not connection.line.closes  # the next one need not be


def test_a_body_that_nobody_wants_is_dropped_while_it_is_short(connection: Wire) -> None:
    taker = Taker(wants=False)
    connection.ask(taker)
    assert connection.bring([response(b"not found", status="404 Not Found")]) == [Read.OVER]
    connection.end(taker)
    assert (taker.body, connection.line.closes) == (b"", False)


def test_a_long_body_that_nobody_wants_is_broken_off(connection: Wire) -> None:
    taker = Taker(wants=False)
    connection.ask(taker)
    whole = response(bytes(1_000_000), status="404 Not Found")
    assert connection.bring([whole[:500]]) == [Read.OVER]
    assert connection.line.closes


def test_what_an_exchange_breaks_off(connection: Wire) -> None:
    taker = Taker(most=200_000)
    connection.ask(taker)
    whole = response(bytes(1_000_000))
    assert connection.bring([whole[:150_000], whole[150_000:250_000]]) == [Read.MORE, Read.OVER]
    assert connection.line.closes
    assert connection.line.fault is not None


@pytest.mark.parametrize("extra", [b"x", response(b"another one")])
@pytest.mark.parametrize("apart", [True, False])
def test_more_than_was_asked_for_is_nobodys(connection: Wire, extra: bytes, apart: bool) -> None:
    taker = Taker()
    connection.ask(taker)
    whole = response(b"abc")
    pieces = [whole[:-1], whole[-1:] + extra] if apart else [whole + extra]
    assert connection.bring(pieces)[-1] is Read.OVER
    connection.end(taker)
    assert taker.body == b"abc"
    assert connection.line.closes


@pytest.mark.parametrize("said", ["close", "Close", "keep-alive, upgrade"])
def test_a_host_that_closes(connection: Wire, said: str) -> None:
    taker = Taker()
    connection.ask(taker)
    assert connection.bring([response(b"abc", f"Connection: {said}")]) == [Read.OVER]
    assert connection.line.closes


@pytest.mark.parametrize(
    "odd",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\ncontent-length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999999999\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: \xb2\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n 0\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\n\r\nabc",
        b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/2 200\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 \r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 OK\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\nContent-Length: 3\n\nabc",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n",
        b"ICY 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        b"x" * 70_000,
    ],
)
def test_what_is_left_to_libcurl(connection: Wire, odd: bytes) -> None:
    taker = Taker()
    connection.ask(taker)
    looks = connection.bring([odd])
    while looks[-1] is Read.MORE:
        looks.append(connection.line.read())
    assert looks[-1] is Read.ODD
    assert (taker.head, taker.body, taker.settled) == (None, b"", [])


LINES = st.lists(
    st.sampled_from(
        [
            "Server: x",
            "Content-Length: 5",
            "content-length: 6",
            "ETag: a",
            "eTag:b ",
            "Date: today",
            " folded: yes",
            "\tETag: folded",
            "X-Y",
            ":",
            "HTTP/1.1 404 Not Found",
        ]
    ),
    max_size=5,
)


@given(LINES, st.sampled_from(["200 OK", "200", "404 Not Found", "x", ""]))
def test_a_block_says_what_its_lines_say_or_nothing(lines: list[str], status: str) -> None:
    listed = [f"HTTP/1.1 {status}", *lines]
    found = parse_block("\r\n".join(listed).encode())
    if found is not None:
        one_by_one = [f"{line}\r\n".encode() for line in (*listed, "")]
        assert found == parse_head(one_by_one)
    names = [line.partition(":")[0].lower() for line in lines]
    plain = {"server", "content-length", "etag", "date", "x-y"}
    if status[:3].isdigit() and set(names) <= plain and len(set(names)) == len(names):
        assert found is not None


# Several


class Raw:
    """A server that answers every request the same way, and may close the connection then."""

    def __init__(self, answer: bytes, *, closes: bool) -> None:
        self.asked = 0
        self.connections = 0
        self._answer = answer
        self._closes = closes
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self.connections += 1
                with connection:
                    while connection.recv(65536):
                        self.asked += 1
                        connection.sendall(self._answer)
                        if self._closes:
                            break

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def test_a_host_that_closes_without_a_word() -> None:
    """What an idle connection comes to now and then, with every file: nobody fails by it."""
    with closing(Raw(response(b"abc"), closes=True)) as server:
        takers = [Taker(f"http://{server.host}/{n}", server.host, takes=True) for n in range(20)]
        with closing(Engine(quick(concurrency=1), Governor(1))) as engine:
            engine.run(iter(takers), lambda: 0, StopFlag())
            assert (engine.requests, engine.retries) == (20, 0)
    assert [(taker.body, taker.settled) for taker in takers] == [(b"abc", [])] * 20
    assert server.asked == 20


@pytest.mark.parametrize("lines", [True, False])
def test_a_host_that_is_plain_keeps_its_connections(server: FaultServer, lines: bool) -> None:
    takers = []
    for number in range(100):
        url = server.put(f"/{number}", content(number, 500))
        takers.append(Taker(url, server.host, takes=True))
    with closing(Engine(quick(concurrency=4), Governor(4), lines=lines)) as engine:
        get_acquainted(engine, server)
        engine.run(iter(takers), lambda: 0, StopFlag())
    assert [taker.body for taker in takers] == [content(number, 500) for number in range(100)]
    assert server.connections <= 4
    assert len(server.requests) == 100
    (asked,) = {frozenset(request.headers.items()) for request in server.requests}
    assert dict(asked)["x-of-ours"] == "1"


@pytest.mark.parametrize(
    "odd", [chunked(), redirect("/plain.tif")], ids=["without a length", "elsewhere"]
)
def test_after_an_odd_answer_libcurl_does_the_rest(
    kit: Kit, server: FaultServer, odd: object
) -> None:
    kit.settings, kit.over_lines = quick(concurrency=3), True
    server.put("/plain.tif", content("plain", 3000))
    for number in range(60):
        server.put(f"/{number}.tif", content(number, 3000))
        kit.want(f"/{number}.tif")
        if number % 2:
            server.always(f"/{number}.tif", odd)  # type: ignore[arg-type]
    result = kit.run()
    assert (result.fetched, result.failed) == (60, 0)
    again = [number for number in range(60) if server.count(f"/{number}.tif") > 1]
    # Those under way when it showed, and none later.
    assert 1 <= len(again) <= 3
    assert result.requests == 60 + len(again)
    assert result.retries == 0
    assert server.most_open <= 3


def test_what_lies_idle_is_closed_when_others_want_it(server: FaultServer) -> None:
    """One waits for a slow host, with idle connections to the one that the other asks."""
    urls = [server.put(f"/{number}", content(number, 500)) for number in range(8)]
    governor = Governor(2)
    others = [Taker(url, server.host, takes=True) for url in urls]

    def other() -> None:
        with closing(Engine(quick(concurrency=2), governor)) as engine:
            engine.run(iter(others), lambda: 0, StopFlag())
        done.set()

    idle, done = threading.Event(), threading.Event()
    beside = threading.Thread(target=other)
    with FaultServer() as slow, closing(Engine(quick(stall_timeout=60.0), governor)) as engine:
        get_acquainted(engine, server)
        slow.put("/", b"at last")

        def hold() -> None:
            idle.wait(30)
            beside.start()
            done.wait(30)

        def tick() -> int:
            if all(one.body for one in mine):
                idle.set()
            return 0

        slow.when_asked("/", hold)
        mine = [Taker(url, server.host, takes=True) for url in urls]
        engine.run(iter([*mine, Taker(slow.url("/"), slow.host)]), tick, StopFlag())
        assert done.is_set()
    beside.join()
    assert [one.body for one in others] == [content(number, 500) for number in range(8)]
    assert server.most_open <= 2


@pytest.mark.parametrize("name", ["LOCALHOST", "me:secret@localhost"])
def test_hosts_that_are_not_as_urls_have_them_keep_connections_too(
    kit: Kit, server: FaultServer, name: str
) -> None:
    kit.settings = quick(concurrency=2)
    for number in range(30):
        server.put(f"/{number}.tif", content(number, 500))
        kit.want(f"/{number}.tif", href=f"http://{name}:{server.port}/{number}.tif")
    assert kit.run().fetched == 30
    assert server.connections <= 2


def test_odd_urls_among_others(kit: Kit, server: FaultServer) -> None:
    kit.settings, kit.over_lines = quick(concurrency=2), True
    for number in range(40):
        path = f"/{number}.tif"
        server.put(path, content(number, 2000))
        kit.want(path, href=server.url(path) + ("#part" if number % 3 == 0 else ""))
    result = kit.run()
    assert (result.fetched, result.failed, result.retries) == (40, 0, 0)
    assert sorted(server.paths()) == sorted(f"/{number}.tif" for number in range(40))
    assert server.most_open <= 2


def test_a_host_that_is_overloaded_is_asked_by_fewer(kit: Kit, server: FaultServer) -> None:
    kit.settings, kit.over_lines = quick(concurrency=8), True
    kit.governor = Governor(8)
    for number in range(30):
        server.put(f"/{number}.tif", content(number, 2000))
        server.script(f"/{number}.tif", status(503, "0"))
        kit.want(f"/{number}.tif")
    assert kit.run().fetched == 30
    assert kit.governor.allowed(server.host) < 8
