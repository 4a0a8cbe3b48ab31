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
from tests.faultserver import Fault, status
from tests.transfer.kit import Kit, content, quick

PARTITIONS = 4
FILES = 6
CONNECTIONS = 2


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
    assert dataset.server.connections <= CONNECTIONS


def test_a_process_of_the_transfer_keeps_its_connections(dataset: Kit) -> None:
    with crew_of(1, dataset.paths, dataset.settings) as crew:
        results = [partition(dataset, number, crew) for number in range(PARTITIONS)]
    assert [result.fetched for result in results] == [FILES] * PARTITIONS
    assert dataset.server.connections <= CONNECTIONS


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


@pytest.mark.parametrize("name", ["LOCALHOST", "me:secret@localhost"])
def test_hosts_that_are_not_as_urls_have_them_keep_connections_too(dataset: Kit, name: str) -> None:
    dataset.assets.clear()
    for number in range(10):
        dataset.want(f"/{number}", href=f"http://{name}:{dataset.server.port}/{number}")
    assert dataset.run().fetched == 10
    assert dataset.server.connections <= CONNECTIONS


def test_a_host_that_is_overloaded_is_asked_by_fewer(kit: Kit) -> None:
    kit.settings, kit.governor = quick(concurrency=8), Governor(8)
    for number in range(30):
        kit.server.put(f"/{number}.tif", content(number, 2000))
        kit.server.script(f"/{number}.tif", status(503, "0"))
        kit.want(f"/{number}.tif")
    assert kit.run().fetched == 30
    assert kit.governor.allowed(kit.server.host) < 8


def test_connections_closed_without_a_word_are_nobodys_fault(kit: Kit) -> None:
    """What an idle connection comes to now and then: the request goes out again by itself."""
    kit.settings = quick(concurrency=1, max_attempts=1)
    for number in range(20):
        kit.server.put(f"/{number}.tif", content(number, 2000))
        kit.server.script(f"/{number}.tif", Fault(closes=True))
        kit.want(f"/{number}.tif")
    result = kit.run()
    assert (result.fetched, result.requests, result.retries) == (20, 20, 0)
