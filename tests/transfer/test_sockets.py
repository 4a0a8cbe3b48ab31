"""Waiting for sockets, whose numbers are used again and again."""

from __future__ import annotations

import os
import select
import socket
import threading
from collections.abc import Iterator

import pycurl
import pytest

from mlhub_core.transfer.sockets import Sockets


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    made = Sockets()
    yield made
    made.close()


def test_what_is_ready_is_told(sockets: Sockets) -> None:
    here, there = socket.socketpair()
    with here, there:
        sockets.watch(pycurl.POLL_IN, here.fileno(), None, None)
        assert sockets.wait(0) == []
        there.send(b"x")
        assert sockets.wait(5) == [(here.fileno(), pycurl.CSELECT_IN)]
        sockets.watch(pycurl.POLL_OUT, here.fileno(), None, None)
        assert sockets.wait(5) == [(here.fileno(), pycurl.CSELECT_OUT)]
        sockets.watch(pycurl.POLL_INOUT, here.fileno(), None, None)
        assert sockets.wait(5) == [(here.fileno(), pycurl.CSELECT_IN | pycurl.CSELECT_OUT)]
        sockets.watch(pycurl.POLL_REMOVE, here.fileno(), None, None)
        assert sockets.wait(0) == []


def test_taken_up_again_before_the_next_wait(sockets: Sockets) -> None:
    here, there = socket.socketpair()
    with here, there:
        for event in (pycurl.POLL_IN, pycurl.POLL_REMOVE, pycurl.POLL_IN):
            sockets.watch(event, here.fileno(), None, None)
        there.send(b"x")
        assert sockets.wait(5) == [(here.fileno(), pycurl.CSELECT_IN)]


@pytest.mark.parametrize("let_go", [True, False])
def test_a_number_that_stands_for_another_socket(sockets: Sockets, let_go: bool) -> None:
    first, other = socket.socketpair()
    number = first.fileno()
    sockets.watch(pycurl.POLL_IN, number, None, None)
    if let_go:
        sockets.watch(pycurl.POLL_REMOVE, number, None, None)
    first.close()
    other.close()
    here, there = socket.socketpair()
    with here, there:
        if here.fileno() != number:
            os.dup2(here.fileno(), number)
        try:
            sockets.watch(pycurl.POLL_IN, number, None, None)
            there.send(b"x")
            assert sockets.wait(5) == [(number, pycurl.CSELECT_IN)]
        finally:
            if here.fileno() != number:
                os.close(number)


def test_the_other_sides_end_is_told(sockets: Sockets) -> None:
    here, there = socket.socketpair()
    with here:
        sockets.watch(pycurl.POLL_IN, here.fileno(), None, None)
        there.close()
        ((fd, bits),) = sockets.wait(5)
        assert fd == here.fileno()
        assert bits & pycurl.CSELECT_IN


def test_a_bell_ends_the_wait(sockets: Sockets) -> None:
    ringer = threading.Thread(target=sockets.ring)
    ringer.start()
    assert sockets.wait(60) == []
    ringer.join()
    for _ in range(100_000):  # more than the bell's buffer holds
        sockets.ring()
    assert sockets.wait(60) == []


def test_few_at_a_time(sockets: Sockets) -> None:
    pairs = [socket.socketpair() for _ in range(20)]
    try:
        for here, there in pairs:
            sockets.watch(pycurl.POLL_IN, here.fileno(), None, None)
            there.send(b"x")
        seen: set[int] = set()
        while len(seen) < len(pairs):
            ready = sockets.wait(5)
            assert 0 < len(ready) <= 8 or not hasattr(select, "epoll")
            seen |= {fd for fd, _ in ready}
            for here, _ in pairs:
                if here.fileno() in {fd for fd, _ in ready}:
                    here.recv(1)
        assert seen == {here.fileno() for here, _ in pairs}
    finally:
        for pair in pairs:
            for one in pair:
                one.close()
