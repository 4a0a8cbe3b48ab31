"""Connections outlive a partition, and hosts that have too many get fewer."""

from __future__ import annotations

import pytest

from mlhub_core.net.limits import ConnectionLimits
from mlhub_core.transfer.run import download_partitions
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


def test_partitions_that_run_together_share_connections(dataset: Kit) -> None:
    listed = [dataset.assets[at : at + FILES] for at in range(0, PARTITIONS * FILES, FILES)]
    partitions = [dataset.partition(number, assets) for number, assets in enumerate(listed, 1)]
    results = download_partitions(partitions, dataset.paths, settings=dataset.settings)
    assert [result.number for result in results] == [1, 2, 3, 4]
    assert [result.fetched for result in results] == [FILES] * PARTITIONS
    assert [result.requests for result in results] == [FILES] * PARTITIONS
    assert dataset.server.connections <= CONNECTIONS


@pytest.mark.parametrize("name", ["LOCALHOST", "me:secret@localhost"])
def test_hosts_that_are_not_as_urls_have_them_keep_connections_too(dataset: Kit, name: str) -> None:
    dataset.assets.clear()
    for number in range(10):
        dataset.want(f"/{number}", href=f"http://{name}:{dataset.server.port}/{number}")
    assert dataset.run().fetched == 10
    assert dataset.server.connections <= CONNECTIONS


def test_a_host_that_is_overloaded_is_asked_by_fewer(kit: Kit) -> None:
    kit.settings, kit.limits = quick(concurrency=8), ConnectionLimits(8)
    for number in range(30):
        kit.server.put(f"/{number}.tif", content(number, 2000))
        kit.server.script(f"/{number}.tif", status(503, "0"))
        kit.want(f"/{number}.tif")
    assert kit.run().fetched == 30
    assert kit.limits.allowed(kit.server.host) < 8


def test_connections_closed_without_a_word_are_nobodys_fault(kit: Kit) -> None:
    """What an idle connection comes to now and then: the request goes out again by itself."""
    kit.settings = quick(concurrency=1, max_attempts=1)
    for number in range(20):
        kit.server.put(f"/{number}.tif", content(number, 2000))
        kit.server.script(f"/{number}.tif", Fault(closes=True))
        kit.want(f"/{number}.tif")
    result = kit.run()
    assert (result.fetched, result.requests, result.retries) == (20, 20, 0)
