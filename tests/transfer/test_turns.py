"""Large bodies from a server that is faster than we are: nobody has to wait, nothing is lost."""

from __future__ import annotations

import hashlib
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from mlhub_core.exceptions import Interrupted, StorageError
from mlhub_core.net.http import Loop
from mlhub_core.net.limits import ConnectionLimits
from mlhub_core.net.response import ResponseHead
from mlhub_core.net.retry import Fault
from mlhub_core.settings import TransferSettings
from mlhub_core.threads import StopFlag
from tests.faultserver import Fault as Trouble
from tests.faultserver import FaultServer, chunked, gzipped, reset_within, stall, status, truncate
from tests.transfer.kit import Kit, content, quick

MIB = 1024 * 1024
SIZE = 64 * MIB


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server that hands everything to the kernel at once, and so is always ahead of us."""
    with socket.create_server(("127.0.0.1", 0)) as listening, tempfile.TemporaryFile() as file:
        file.truncate(SIZE)
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE

        def serve(connection: socket.socket) -> None:
            with connection:
                try:
                    while asked := connection.recv(65536):
                        endless = b"GET /endless" in asked
                        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" if endless else head)
                        connection.sendfile(file, 0)
                        if endless:
                            return
                except OSError:
                    pass  # the client has broken it off

        def accept() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        listening.shutdown(socket.SHUT_RDWR)


@dataclass
class Taker:
    """An exchange that counts what comes, up to a limit."""

    url: str
    most: int = SIZE
    error: Exception | None = None
    host: str = "host"
    size: int = 0
    settled: list[Fault | None] = field(default_factory=list)
    abandoned: int = 0

    def fields(self) -> list[str]:
        return []

    def begin(self, head: ResponseHead) -> bool:
        return True

    def write(self, pieces: Sequence[bytes]) -> bool:
        self.size += sum(map(len, pieces))
        if self.size >= self.most and self.error is not None:
            raise self.error
        return self.size < self.most or self.most == SIZE

    def settle(self, fault: Fault | None) -> float | None:
        self.settled.append(fault)
        return None

    def abandon(self) -> None:
        self.abandoned += 1


def run(takers: Sequence[Taker], stop: StopFlag, tick: Callable[[], None] = lambda: None) -> None:
    settings = TransferSettings(concurrency=2)
    with closing(Loop(settings, ConnectionLimits(2))) as loop:
        loop.run(iter(takers), tick, stop)


def test_others_get_a_word_in(url: str) -> None:
    takers = [Taker(url), Taker(url)]
    seen = [0]

    def tick() -> None:
        seen.append(sum(one.size for one in takers))

    run(takers, StopFlag(), tick)
    assert [one.size for one in takers] == [SIZE, SIZE]
    assert [one.settled for one in takers] == [[None], [None]]
    # A turn deals with a connection three times at most.
    assert max(after - before for before, after in pairwise(seen)) < 14 * MIB


def test_a_stop_is_heard_while_bytes_pour_in(url: str) -> None:
    one, stop = Taker(url), StopFlag()

    def tick() -> None:
        if one.size:
            stop.set()

    with pytest.raises(Interrupted):
        run([one], stop, tick)
    assert 0 < one.size < SIZE
    assert (one.settled, one.abandoned) == ([], 1)


@pytest.mark.parametrize("most", [1, 100_000, 200_000, 2 * MIB, 2 * MIB + 1, 5 * MIB])
def test_broken_off_wherever_it_is(url: str, most: int) -> None:
    broken, whole = Taker(url, most), Taker(url)
    run([broken, whole], StopFlag())
    assert most <= broken.size < most + 2 * MIB
    assert len(broken.settled) == 1
    assert broken.settled[0] is not None
    assert (whole.size, whole.settled) == (SIZE, [None])


@pytest.mark.parametrize("most", [1, 300_000, 3 * MIB])
def test_an_error_comes_out_wherever_it_is(url: str, most: int) -> None:
    failing, other = Taker(url, most, StorageError("full")), Taker(url)
    with pytest.raises(StorageError, match="full"):
        run([failing, other], StopFlag())
    assert (failing.settled, failing.abandoned) == ([], 1)


def test_the_end_of_the_connection_ends_a_body_too(url: str) -> None:
    takers = [Taker(f"{url}endless"), Taker(f"{url}endless")]
    run(takers, StopFlag())
    assert [(taker.size, taker.settled) for taker in takers] == [(SIZE, [None])] * 2


@pytest.mark.parametrize(("answer", "next_is_asked_for"), [(200, True), (503, False)])
def test_the_next_is_asked_for_before_a_good_answer_is_concluded(
    server: FaultServer, answer: int, next_is_asked_for: bool
) -> None:
    for path in ("/one", "/two"):
        server.put(path, b"it")
    server.script("/one", status(answer))
    two_is_asked_for = threading.Event()
    server.when_asked("/two", two_is_asked_for.set)

    class One(Taker):
        def settle(self, fault: Fault | None) -> float | None:
            # What overloads a host is concluded first: it may want to be left alone.
            assert two_is_asked_for.wait(60 if next_is_asked_for else 0) is next_is_asked_for
            return super().settle(fault)

    takers = [One(server.url("/one")), Taker(server.url("/two"))]
    with closing(Loop(TransferSettings(), ConnectionLimits(1))) as loop:
        loop.run(iter(takers), lambda: None, StopFlag())
    assert [taker.settled for taker in takers] == [[None], [None]]


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_what_was_held_back_comes_in_order(kit: Kit, server: FaultServer, framing: str) -> None:
    truths = {f"/{number}.tif": content(number, 99_991) * 60 for number in range(3)}
    for path, truth in truths.items():
        server.put(path, truth)
        kit.want(path)
        if framing == "chunks":
            server.always(path, chunked())
    assert kit.run().fetched == 3
    for path, truth in truths.items():
        # Digests, for a difference of megabytes would take pytest minutes to show.
        found = hashlib.sha256(kit.final(path).read_bytes()).hexdigest()
        assert found == hashlib.sha256(truth).hexdigest()


@pytest.mark.parametrize(
    "trouble", [truncate(5_000_000), reset_within(5_000_000), stall(5_000_000), gzipped()]
)
def test_what_breaks_off_behind_a_pause_is_continued(
    kit: Kit, server: FaultServer, trouble: Trouble
) -> None:
    # On a busy machine the server packs this for longer than the usual patience of tests.
    kit.settings = quick(stall_timeout=2.0 if trouble.stall else 30.0)
    truth = content("long", 99_991) * 60
    server.put("/long.tif", truth)
    server.script("/long.tif", trouble)
    kit.want("/long.tif")
    result = kit.run()
    assert result.fetched == 1
    if trouble.cut is not None:
        assert result.resumed == 1
        assert server.count("/long.tif") == 2 or trouble.stall  # late answers come again
    found = hashlib.sha256(kit.final("/long.tif").read_bytes()).hexdigest()
    assert found == hashlib.sha256(truth).hexdigest()
    assert kit.partials() == []
