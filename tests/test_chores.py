"""Work beside work: done by the end, its errors told, stopped with the rest."""

from __future__ import annotations

import threading

import pytest

from mlhub_core.chores import Chores
from mlhub_core.exceptions import Interrupted, StorageError
from mlhub_core.stop import StopFlag


def test_all_is_done_when_the_block_is_over_and_in_order() -> None:
    done: list[int] = []
    begun, go_on = threading.Event(), threading.Event()

    def first(_: StopFlag) -> None:
        begun.set()
        assert go_on.wait(30)
        done.append(1)

    with Chores() as chores:
        chores.add(first)
        chores.add(lambda _: done.append(2))
        assert begun.wait(30)
        assert done == []  # nobody waits
        go_on.set()
    assert done == [1, 2]


def test_an_error_comes_out_at_the_end() -> None:
    def fail(_: StopFlag) -> None:
        raise StorageError("no room")

    reached: list[bool] = []

    def use() -> None:
        with Chores() as chores:
            chores.add(fail)
            reached.append(True)

    with pytest.raises(StorageError, match="no room"):
        use()
    assert reached


@pytest.mark.parametrize("by_whom", ["the block", "somebody else"])
def test_what_runs_is_stopped(by_whom: str) -> None:
    stop = StopFlag()
    begun = threading.Event()
    ended: list[BaseException] = []

    def run(flag: StopFlag) -> None:
        begun.set()
        try:
            while True:
                flag.check()
        except Interrupted as error:
            ended.append(error)
            raise

    def use() -> None:
        with Chores(stop) as chores:
            chores.add(run)
            assert begun.wait(30)
            if by_whom == "the block":
                raise KeyboardInterrupt
            stop.set()

    expected = KeyboardInterrupt if by_whom == "the block" else Interrupted
    with pytest.raises(expected):
        use()
    assert len(ended) == 1
    assert stop.is_set() == (by_whom == "somebody else")
