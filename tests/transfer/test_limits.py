"""Connections per host: never more than the limit, fewer where that is too many, fairly shared."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlhub_core.net.limits import ConnectionLimits, Connections, limits_for
from tests.faultserver import FaultServer
from tests.transfer.kit import Kit, content, quick


def take(loop: Connections, count: int) -> int:
    return sum(loop.take("h") for _ in range(count))


def answer(loop: Connections, count: int, *, overloaded: bool, closed: bool = False) -> None:
    for _ in range(count):
        loop.used("h", overloaded=overloaded, closed=closed)


def test_never_more_than_the_limit() -> None:
    limits = ConnectionLimits(3)
    one, two = Connections(limits), Connections(limits)
    assert take(one, 2) + take(two, 5) == 3
    assert two.take("other")


def test_whoever_waits_is_not_overtaken() -> None:
    limits = ConnectionLimits(1)
    one, two = Connections(limits), Connections(limits)
    assert one.take("h")
    assert not one.is_last_use("h", None)
    assert not two.take("h")
    assert one.is_last_use("h", None)
    answer(one, 1, overloaded=False, closed=True)
    assert not one.take("h")
    assert two.take("h")


def test_whoever_leaves_the_queue_blocks_nobody() -> None:
    limits = ConnectionLimits(1)
    one, two, three = Connections(limits), Connections(limits), Connections(limits)
    assert one.take("h")
    assert not two.take("h")
    assert not three.take("h")
    two.close()
    answer(one, 1, overloaded=False, closed=True)
    assert three.take("h")


@pytest.mark.parametrize(("limit", "shares"), [(8, (4, 4)), (5, (3, 2)), (2, (1, 1))])
def test_a_late_comer_gets_a_fair_share(limit: int, shares: tuple[int, int]) -> None:
    limits = ConnectionLimits(limit)
    loops = Connections(limits), Connections(limits)
    held = [take(loops[0], 99), take(loops[1], 99)]
    assert held == [limit, 0]
    for _ in range(50):
        for who, loop in enumerate(loops):
            if held[who] and loop.is_last_use("h", None):
                answer(loop, 1, overloaded=False, closed=True)
                held[who] -= 1
            held[who] += loop.take("h")
    assert tuple(held) == shares


def test_idle_connections_count_until_another_loop_waits() -> None:
    limits = ConnectionLimits(2)
    one, two = Connections(limits), Connections(limits)
    assert take(one, 2) == 2
    answer(one, 2, overloaded=False)
    one.give_back_idle(())
    assert not two.take("h")  # nobody waited before
    one.give_back_idle(())
    assert take(two, 2) == 2
    assert not one.take("h")


def test_the_last_transfers_close_their_connections_where_others_may_want_them() -> None:
    limits = ConnectionLimits(4)
    one = Connections(limits)
    assert take(one, 2) == 2
    assert not one.is_last_use("h", 0)
    two = Connections(limits)
    assert one.is_last_use("h", 1)
    assert not one.is_last_use("h", 2)
    two.close()
    assert not one.is_last_use("h", 0)


def test_overload_halves_and_good_answers_bring_one_back_at_a_time() -> None:
    limits = ConnectionLimits(8)
    loop = Connections(limits)
    assert take(loop, 1) == 1
    answer(loop, 1, overloaded=True)
    assert limits.allowed("h") == 4
    seen = []
    for _ in range(4 + 5 + 6 + 7):
        assert loop.take("h")
        answer(loop, 1, overloaded=False)
        seen.append(limits.allowed("h"))
    assert seen == [4] * 3 + [5] * 5 + [6] * 6 + [7] * 7 + [8]
    assert limits.allowed("other") == 8


def test_one_burst_of_refusals_halves_once() -> None:
    limits = ConnectionLimits(8)
    loop = Connections(limits)
    assert take(loop, 8) == 8
    answer(loop, 8, overloaded=True)
    assert limits.allowed("h") == 4
    assert loop.is_last_use("h", None)
    answer(loop, 1, overloaded=True)
    assert limits.allowed("h") == 2


def test_never_below_one() -> None:
    limits = ConnectionLimits(4)
    loop = Connections(limits)
    assert take(loop, 1) == 1
    answer(loop, 10, overloaded=True)
    assert limits.allowed("h") == 1


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from("tuoc")), max_size=200))
def test_any_play_keeps_the_limit(moves: list[tuple[int, str]]) -> None:
    limits = ConnectionLimits(3)
    loops = [Connections(limits) for _ in range(3)]
    busy, idle = [0, 0, 0], [0, 0, 0]
    for who, move in moves:
        if move == "t":
            if loops[who].take("h"):
                busy[who] += 1
                idle[who] -= idle[who] > 0
        elif busy[who]:
            busy[who] -= 1
            idle[who] += move != "c"
            loops[who].used("h", overloaded=move == "o", closed=move == "c")
        assert sum(busy) + sum(idle) <= 3
    for loop in loops[1:]:
        loop.close()
    answer(loops[0], busy[0], overloaded=False, closed=True)
    assert loops[0].take("h")


def test_the_limits_of_a_process_are_shared() -> None:
    assert limits_for(32) is limits_for(32)


def test_a_run_begins_with_all_connections(kit: Kit, server: FaultServer) -> None:
    kit.settings = quick(concurrency=24, stall_timeout=30.0)
    seen: list[int] = []
    # Nobody is answered before all have asked, and there are no more than those.
    first = threading.Barrier(24, action=lambda: seen.append(server.connections))
    for number in range(40):
        server.put(f"/{number}.tif", content(number, 100))
        if number < 24:
            server.when_asked(f"/{number}.tif", lambda: first.wait(timeout=300) and None)
        kit.want(f"/{number}.tif")
    assert kit.run().fetched == 40
    assert seen == [24]
