"""How far a run is."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from mlhub_core.display import Overview
from mlhub_core.progress import Progress, Stage

messages = st.builds(
    Progress,
    st.sampled_from(Stage),
    done=st.integers(0, 1000),
    total=st.none() | st.integers(0, 1000),
    bytes_done=st.integers(0, 10**9),
    bytes_total=st.none() | st.integers(0, 10**9),
    part=st.integers(0, 3),
    finished=st.booleans(),
)


@settings(max_examples=40)
@given(st.lists(messages, max_size=15))
def test_it_never_goes_back_and_never_says_that_all_is_done(listed: list[Progress]) -> None:
    overview = Overview()
    before = overview.percent()
    assert before == 0
    for message in listed:
        overview(message)
        assert before <= overview.percent() <= 99
        before = overview.percent()
    assert len(overview.lines()) == len({message.stage for message in listed})


def test_the_files_are_most_of_it() -> None:
    overview = Overview()
    overview(Progress(Stage.CATALOG, finished=True))
    overview(Progress(Stage.INDEX, finished=True))
    overview(Progress(Stage.FILTER, finished=True))
    assert overview.percent() == 12
    for part in (1, 2):
        overview(Progress(Stage.DOWNLOAD, total=100, part=part))
    overview(Progress(Stage.DOWNLOAD, 100, total=100, part=1, finished=True))
    assert 54 < overview.percent() < 57
    overview(Progress(Stage.DOWNLOAD, 100, total=100, part=2, finished=True))
    assert overview.percent() == 99


def test_a_stage_that_is_over_keeps_its_line() -> None:
    overview = Overview()
    overview(Progress(Stage.INDEX, 500, 500, finished=True))
    (said,) = overview.lines()
    assert said.startswith("index: 500 of 500 assets")
    assert all(overview.lines() == [said] for _ in range(1000))
