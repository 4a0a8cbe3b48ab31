"""How many connections a host gets, played against hosts that are a formula."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlhub_core.transfer.growth import Growth, Phase

Speed = Callable[[int], float]


def late(seconds: float) -> Speed:
    """A host that answers so late: each connection brings the same."""
    return lambda connections: connections / seconds


def narrow(most: float, seconds: float = 0.05) -> Speed:
    """The same, over a line that is full at some number of answers a second."""
    return lambda connections: min(most, connections / seconds)


def large(speed: Speed, size: int) -> Speed:
    return lambda connections: speed(connections) / size


class Play:
    """A host of some speed and a growth that is told of it every ten milliseconds."""

    def __init__(self, growth: Growth, speed: Speed, size: int = 30_000) -> None:
        self.growth = growth
        self.speed = speed
        self.size = size
        self.now = self.done = 0.0
        self.seen: list[int] = []

    def run(self, seconds: float, step: float = 0.01) -> Play:
        for _ in range(round(seconds / step)):
            self.seen.append(
                self.growth.feed(self.now, int(self.done), int(self.done * self.size), busy=True)
            )
            self.now += step
            self.done += step * self.speed(self.growth.allowed)
        return self


@pytest.mark.parametrize("limit", [1, 3, 8, 32, 128])
def test_a_late_host_gets_all_within_the_third_of_a_second(limit: int) -> None:
    play = Play(Growth(limit), late(0.05)).run(0.33)
    assert play.seen[0] == min(8, limit)
    assert play.seen[-1] == limit
    assert play.seen == sorted(play.seen)


@pytest.mark.parametrize("limit", [32, 128])
def test_nearly_nothing_is_lost_to_a_modest_start(limit: int) -> None:
    play = Play(Growth(limit), late(0.05)).run(8.0)
    assert play.done > 0.95 * 8.0 * limit / 0.05


def test_a_host_that_handshakes_slowly_gets_all_too() -> None:
    """New connections bring nothing for three answers' time."""
    growth = Growth(64)
    history: list[int] = []

    def speed(connections: int) -> float:
        history.append(connections)
        return history[max(0, len(history) - 15)] / 0.05

    assert Play(growth, speed).run(3.0).seen[-1] == 64


def test_what_brings_nothing_is_not_asked_for() -> None:
    play = Play(Growth(1000), narrow(200)).run(1.5)
    assert play.growth.phase is Phase.STEADY
    assert play.seen[-1] <= 32


def test_probes_in_vain_go_back_and_get_rare() -> None:
    play = Play(Growth(1000), narrow(200)).run(1.5)
    settled = play.seen[-1]
    play.seen.clear()
    play.run(300.0)
    assert set(play.seen) == {settled, settled + settled // 2}
    begun = sum(a < b for a, b in zip(play.seen, play.seen[1:], strict=False))
    assert 3 <= begun <= 12


def test_a_line_that_gets_wider_is_found_out() -> None:
    play = Play(Growth(256), narrow(200)).run(3.0)
    play.speed = late(0.05)
    assert play.run(200.0).seen[-1] > 128


def test_large_files_grow_by_their_bytes() -> None:
    """Answers come every eight seconds from a connection; two million bytes a second do."""
    play = Play(Growth(32), large(late(1 / 2_000_000), 16_000_000), size=16_000_000)
    assert play.run(3.0).seen[-1] == 32


def test_nothing_that_comes_is_no_rise() -> None:
    assert Play(Growth(32), lambda connections: 0.0).run(60.0).seen[-1] <= 12


def test_idle_connections_say_nothing() -> None:
    growth = Growth(32)
    for step in range(1000):
        assert growth.feed(step * 0.01, step * 100, step * 10**7, busy=False) == 8


def test_an_hour_between_two_runs_says_nothing() -> None:
    growth = Growth(1000)
    play = Play(growth, narrow(200)).run(1.5)
    settled = play.seen[-1]
    play.now += 3600.0
    play.seen.clear()
    play.run(1.9)
    assert set(play.seen) <= {settled, settled + settled // 2}
    assert play.seen[-1] == settled


def test_overload_halves_and_is_recovered_from_one_by_one() -> None:
    play = Play(Growth(32), late(0.05)).run(1.0)
    assert play.growth.overload() == 16
    play.seen.clear()
    play.run(1.5)
    assert play.seen == sorted(play.seen)
    assert {16, 17, 18, 31, 32} <= set(play.seen)


def test_an_overload_in_a_probe_goes_below_what_was_fine() -> None:
    growth = Growth(1000)
    play = Play(growth, narrow(200)).run(1.5)
    settled = play.seen[-1]
    while growth.phase is not Phase.PROBE:
        play.run(0.01)
    assert growth.overload() < settled
    play.seen.clear()
    assert play.run(1.9).seen[-1] == settled


@settings(deadline=None, max_examples=50)
@given(
    st.integers(1, 1024),
    st.lists(
        st.tuples(
            st.floats(0, 3), st.integers(0, 5000), st.integers(0, 10**9), st.sampled_from("bio")
        ),
        max_size=200,
    ),
)
def test_whatever_comes_the_number_is_sane(
    limit: int, events: list[tuple[float, int, int, str]]
) -> None:
    growth = Growth(limit)
    now, answers, moved = 0.0, 0, 0
    for seconds, more, size, event in events:
        now, answers, moved = now + seconds, answers + more, moved + size
        before = growth.allowed
        if event == "o":
            assert growth.overload() == max(1, before // 2)
        else:
            growth.feed(now, answers, moved, busy=event == "b")
            assert growth.allowed <= max(8, 2 * before)
            assert event == "b" or growth.allowed == before
        assert 1 <= growth.allowed <= limit
