from __future__ import annotations

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlhub_core.settings import TransferSettings
from mlhub_core.transfer.governor import Governor, Member, governor_for
from tests.faultserver import FaultServer
from tests.transfer.kit import Kit, content, quick


class Bell:
    def __init__(self) -> None:
        self.rung = 0

    def __call__(self) -> None:
        self.rung += 1


def take(member: Member, count: int) -> int:
    return sum(member.try_acquire("h") for _ in range(count))


def test_never_more_than_the_limit() -> None:
    governor = Governor(3)
    one, two = governor.join(Bell()), governor.join(Bell())
    assert take(one, 2) + take(two, 5) == 3
    assert two.try_acquire("other")


def test_whoever_waits_is_woken_and_not_overtaken() -> None:
    governor = Governor(1)
    bell = Bell()
    one, two = governor.join(Bell()), governor.join(bell)
    assert one.try_acquire("h")
    assert not one.surplus("h")
    assert not two.try_acquire("h")
    assert one.surplus("h")
    assert one.wanted("h")
    assert not two.wanted("h")
    one.release("h")
    assert bell.rung == 1
    assert not one.try_acquire("h")
    assert two.try_acquire("h")


def test_whoever_leaves_the_queue_blocks_nobody() -> None:
    governor = Governor(1)
    bell = Bell()
    one, two, three = governor.join(Bell()), governor.join(Bell()), governor.join(bell)
    assert one.try_acquire("h")
    assert not two.try_acquire("h")
    assert not three.try_acquire("h")
    two.leave()
    assert bell.rung == 1
    one.release("h")
    assert three.try_acquire("h")


@pytest.mark.parametrize(("limit", "shares"), [(8, (4, 4)), (5, (3, 2)), (2, (1, 1))])
def test_a_late_comer_gets_a_fair_share(limit: int, shares: tuple[int, int]) -> None:
    governor = Governor(limit)
    one, two = governor.join(Bell()), governor.join(Bell())
    held = [take(one, 99), take(two, 99)]
    assert held == [limit, 0]
    for _ in range(50):
        for who, member in enumerate((one, two)):
            if held[who] and member.surplus("h"):
                member.release("h")
                held[who] -= 1
            held[who] += member.try_acquire("h")
    assert tuple(held) == shares


def test_leaving_gives_everything_back() -> None:
    governor = Governor(2)
    one, two = governor.join(Bell()), governor.join(Bell())
    assert take(one, 2) == 2
    assert not one.alone()
    one.leave()
    assert two.alone()
    assert take(two, 2) == 2


def answer(member: Member, count: int, *, overloaded: bool) -> None:
    for _ in range(count):
        member.report("h", overloaded=overloaded)


def test_overload_halves_and_success_recovers_step_by_step() -> None:
    governor = Governor(8)
    member = governor.join(Bell())
    assert take(member, 1) == 1
    answer(member, 1, overloaded=True)
    assert governor.allowed("h") == 4
    assert take(member, 8) == 3
    now = 0.0
    seen = []
    while governor.allowed("h") < 8:
        member.measure(now, 0)
        answer(member, governor.allowed("h"), overloaded=False)
        take(member, 8)
        now += 0.05
        seen.append(governor.allowed("h"))
    assert sorted(set(seen)) == [4, 5, 6, 7, 8]
    assert governor.allowed("other") == 8


def test_one_burst_of_refusals_halves_once() -> None:
    governor = Governor(8)
    member = governor.join(Bell())
    assert take(member, 8) == 8
    answer(member, 8, overloaded=True)
    assert governor.allowed("h") == 4
    assert member.surplus("h")
    answer(member, 1, overloaded=True)
    assert governor.allowed("h") == 2


def test_never_below_one() -> None:
    governor = Governor(4)
    member = governor.join(Bell())
    assert take(member, 1) == 1
    answer(member, 10, overloaded=True)
    assert governor.allowed("h") == 1


def test_it_grows_over_all_members_and_wakes_who_waits() -> None:
    governor = Governor(32)
    bell = Bell()
    one, two = governor.join(Bell()), governor.join(bell)
    assert take(one, 8) == 8
    assert not two.try_acquire("h")
    one.measure(0.0, 0)
    answer(one, 8, overloaded=False)
    one.measure(0.05, 0)
    assert governor.allowed("h") == 16
    assert bell.rung == 1
    assert take(two, 99) == 8
    # What those bring that leave is not forgotten, or throughput would seem to fall.
    two.measure(0.06, 0)
    answer(two, 32, overloaded=False)
    two.leave()
    assert take(one, 8) == 8
    one.measure(0.1, 0)
    assert governor.allowed("h") == 32


def test_hosts_grow_apart() -> None:
    governor = Governor(32)
    member = governor.join(Bell())
    assert take(member, 8) == 8
    assert member.try_acquire("other")
    for now in (0.0, 0.05, 0.1):
        member.measure(now, 0)
        answer(member, 8, overloaded=False)
    assert (governor.allowed("h"), governor.allowed("other")) == (16, 8)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from("arog")), max_size=200))
def test_any_play_keeps_the_limit(moves: list[tuple[int, str]]) -> None:
    governor = Governor(3)
    members = [governor.join(Bell()) for _ in range(3)]
    held = [0, 0, 0]
    for who, move in moves:
        if move == "a":
            held[who] += members[who].try_acquire("h")
        elif held[who] and move == "r":
            members[who].release("h")
            held[who] -= 1
        elif held[who]:
            members[who].report("h", overloaded=move == "o")
        assert sum(held) <= 3
    for member in members[1:]:
        member.leave()
    for _ in range(held[0]):
        members[0].release("h")
    assert members[0].try_acquire("h")


def test_one_governor_per_process() -> None:
    assert governor_for(TransferSettings()) is governor_for(TransferSettings(max_attempts=2))


def test_a_run_begins_with_a_few_connections(kit: Kit, server: FaultServer) -> None:
    kit.settings = quick(concurrency=64, stall_timeout=20.0)
    seen: list[int] = []
    # Nobody is answered before eight have asked, and then there are no more than those.
    first = threading.Barrier(8, action=lambda: seen.append(server.connections))
    for number in range(40):
        server.put(f"/{number}.tif", content(number, 100))
        if number < 8:
            server.when_asked(f"/{number}.tif", lambda: first.wait(timeout=30) and None)
        kit.want(f"/{number}.tif")
    assert kit.run().fetched == 40
    assert seen == [8]
