"""Connections outlive a partition where the engine does."""

from __future__ import annotations

from contextlib import closing

import pytest

from mlhub_core.exceptions import Interrupted
from mlhub_core.stop import StopFlag
from mlhub_core.transfer.crew import Crew, crew_of
from mlhub_core.transfer.engine import Engine
from mlhub_core.transfer.governor import Governor
from mlhub_core.transfer.result import PartitionResult
from mlhub_core.transfer.run import download_partition
from tests.transfer.kit import Kit, content, quick

PARTITIONS = 4
FILES = 6
CONNECTIONS = 2
OPENED = 2 * CONNECTIONS
"""Those over which a host shows how it answers are closed, and others opened."""


@pytest.fixture
def dataset(kit: Kit) -> Kit:
    kit.settings = quick(concurrency=CONNECTIONS)
    for number in range(PARTITIONS * FILES):
        kit.server.put(f"/{number}", content(number, 2_000))
        kit.want(f"/{number}")
    return kit


def partition(kit: Kit, number: int, by: Engine | Crew) -> PartitionResult:
    """Have one of the partitions."""
    listed = kit.partition(number, kit.assets[number * FILES : (number + 1) * FILES])
    if isinstance(by, Crew):
        return by.download_partition(listed)
    return download_partition(listed, kit.paths, settings=kit.settings, engine=by)


def test_an_engine_keeps_its_connections(dataset: Kit) -> None:
    with closing(Engine(dataset.settings, Governor(CONNECTIONS))) as engine:
        results = [partition(dataset, number, engine) for number in range(PARTITIONS)]
    assert [result.fetched for result in results] == [FILES] * PARTITIONS
    assert [result.requests for result in results] == [FILES] * PARTITIONS
    assert dataset.server.connections <= OPENED


def test_a_process_of_the_transfer_keeps_its_connections(dataset: Kit) -> None:
    with crew_of(1, dataset.paths, dataset.settings) as crew:
        results = [partition(dataset, number, crew) for number in range(PARTITIONS)]
    assert [result.fetched for result in results] == [FILES] * PARTITIONS
    assert dataset.server.connections <= OPENED


def test_an_engine_that_was_stopped_is_closed(dataset: Kit) -> None:
    stop = StopFlag()
    stop.set()
    engine = Engine(dataset.settings, Governor(CONNECTIONS))
    with pytest.raises(Interrupted):
        engine.run(iter(()), lambda: 0, stop)
    assert engine.closed
    engine.close()  # a second time does nothing


def test_after_a_stop_a_process_goes_on_with_another_engine(dataset: Kit) -> None:
    with crew_of(1, dataset.paths, dataset.settings) as crew:
        stop = StopFlag()
        stop.set()
        with pytest.raises(Interrupted):
            crew.download_partition(dataset.partition(0, dataset.assets[:FILES]), stop=stop)
        assert partition(dataset, 1, crew).fetched == FILES
