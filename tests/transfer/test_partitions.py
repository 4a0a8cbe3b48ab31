"""Several partitions at a time, files out of the archive, and what travels between steps."""

from __future__ import annotations

import logging
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mlhub_core.net.limits import ConnectionLimits
from mlhub_core.progress import Progress, Stage
from mlhub_core.transfer.run import download_partitions
from tests.faultserver import Fault, FaultServer, reset_before, reset_within, status, truncate
from tests.transfer.kit import Kit, content, quick


def test_two_partitions_share_the_connections_of_a_host(kit: Kit, server: FaultServer) -> None:
    kit.settings = quick(concurrency=4)
    for number in range(200):
        server.put(f"/{number}.tif", content(number, 3000))
        kit.want(f"/{number}.tif")
    limits = ConnectionLimits(4)
    halves = [kit.partition(1, kit.assets[:100]), kit.partition(2, kit.assets[100:])]
    with ThreadPoolExecutor(2) as pool:
        futures = [
            pool.submit(
                download_partitions, [half], kit.paths, settings=kit.settings, limits=limits
            )
            for half in halves
        ]
        results = [result for future in futures for result in future.result()]
    assert [result.fetched for result in results] == [100, 100]
    assert server.most_open <= 4


@pytest.mark.parametrize(
    ("fault", "falls"),
    [
        (reset_before(), True),
        (reset_within(10), True),
        (status(429), True),
        (status(500), False),
        (truncate(10), False),
    ],
)
def test_a_host_that_breaks_off_gets_fewer_connections(
    kit: Kit, server: FaultServer, fault: Fault, falls: bool
) -> None:
    kit.limits = ConnectionLimits(8)
    server.put("/a.tif", content(1, 3000))
    server.always("/a.tif", fault)
    asset = kit.want("/a.tif")
    assert kit.run().failed == 1
    host = asset.href.split("/")[2]
    assert (kit.limits.allowed(host) < 8) == falls


def test_one_connection_for_two_partitions_starves_neither(kit: Kit, server: FaultServer) -> None:
    kit.settings = quick(concurrency=1)
    order: list[int] = []
    for number in range(60):
        server.put(f"/{number}.tif", content(number, 3000))
        server.when_asked(f"/{number}.tif", lambda half=number // 30: order.append(half))
        kit.want(f"/{number}.tif")
    limits = ConnectionLimits(1)
    halves = [kit.partition(1, kit.assets[:30]), kit.partition(2, kit.assets[30:])]
    with ThreadPoolExecutor(2) as pool:
        list(
            pool.map(
                lambda half: download_partitions(
                    [half], kit.paths, settings=kit.settings, limits=limits
                ),
                halves,
            )
        )
    assert len(order) == 60
    late = order[order.index(order[-1]) :] if order[0] != order[-1] else order
    assert set(late[:10]) == {0, 1}  # once both are there, they take turns


def test_progress_adds_up(kit: Kit, server: FaultServer) -> None:
    for number in range(20):
        server.put(f"/{number}.tif", content(number, 1000))
        kit.want(f"/{number}.tif")
    server.always("/3.tif", status(404))
    messages: list[Progress] = []
    kit.run(on_progress=messages.append)
    last = messages[-1]
    assert (last.stage, last.done, last.total, last.failed, last.part) == (
        Stage.DOWNLOAD,
        20,
        20,
        1,
        1,
    )
    assert (last.bytes_done, last.finished) == (19_000, True)
    assert not any(message.finished for message in messages[:-1])


def test_a_result_can_be_pickled(kit: Kit, server: FaultServer) -> None:
    server.always("/a.tif", status(404))
    kit.want("/a.tif")
    result = kit.run()
    assert pickle.loads(pickle.dumps(result)) == result
    assert len(pickle.dumps(result)) < 1000


def test_no_secret_is_told(kit: Kit, server: FaultServer, caplog: pytest.LogCaptureFixture) -> None:
    server.always("/a.tif?sig=hush", status(403))
    kit.want("/a.tif", href=f"http://me:hush@{server.host}/a.tif?sig=hush")
    kit.want("/b.tif", href="gopher://me:hush@host/b.tif?key=hush")
    with caplog.at_level(logging.DEBUG):
        result = kit.run()
    assert result.failures_path is not None
    assert result.failed == 2
    assert "hush" not in result.failures_path.read_text() + caplog.text
    assert "GET http://***@" in caplog.text


# Files that the catalog archive carries


@pytest.fixture
def carried(kit: Kit) -> Path:
    path = kit.paths.catalog_dir / "labels" / "a.geojson"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"{}")
    return path


def test_a_carried_file_is_copied(kit: Kit, carried: Path) -> None:
    asset = kit.want("/a.geojson", href="ds/labels/a.geojson", file_size=2)
    result = kit.run()
    assert (result.fetched, result.requests, result.fetched_bytes) == (1, 0, 0)
    final = kit.paths.asset_dir / asset.save_path
    assert final.read_bytes() == b"{}"
    assert not final.samefile(carried)
    assert kit.run().kept == 1


def test_a_carried_file_may_lie_at_its_place(kit: Kit, carried: Path) -> None:
    kit.want("/a.geojson", href="ds/labels/a.geojson")
    kit.assets[0] = kit.assets[0]._replace(save_path="labels/a.geojson")
    assert kit.run().adopted == 1
    assert carried.read_bytes() == b"{}"


@pytest.mark.parametrize(
    ("href", "about", "cause"),
    [
        ("ds/labels/b.geojson", {}, "not in the catalog archive"),
        ("ds/labels", {}, "not in the catalog archive"),
        ("../secret", {}, "leads out of the catalog archive"),
        ("ds/../other/file", {}, "leads out of the catalog archive"),
        ("/etc/passwd", {}, "leads out of the catalog archive"),
        ("ds/labels/a.geojson", {"file_size": 3}, "another size than in the catalog: 3 bytes"),
        ("ds/labels/a.geojson", {"checksum": "1220" + "0" * 64}, "another checksum"),
        ("", {}, "no URL"),
        ("ftp://host/a", {}, "URL scheme ftp: is not fetched"),
        ("file:///etc/passwd", {}, "URL scheme file: is not fetched"),
        ("http://", {}, "malformed URL"),
        ("http://[::1/a", {}, "malformed URL"),
        ("http://host:port/a", {}, "malformed URL"),
        ("http://host/a\nb", {}, "malformed URL"),
    ],
)
def test_what_cannot_be_had(
    kit: Kit, carried: Path, href: str, about: dict[str, object], cause: str
) -> None:
    kit.want("/x", href=href, **about)
    result = kit.run()
    assert (result.failed, result.requests) == (1, 0)
    assert kit.errors(result)["x"].startswith(cause)
    assert kit.partials() == []


@pytest.mark.parametrize("save_path", ["../x", "/x", "a/../../x", "a//b", "", ".mlhub/lock", "a/."])
def test_a_save_path_that_leads_out_is_refused(
    kit: Kit, server: FaultServer, save_path: str
) -> None:
    server.put("/a", b"x")
    kit.want("/a")
    kit.assets[0] = kit.assets[0]._replace(save_path=save_path)
    assert kit.errors(kit.run()) == {"a": "save path leads out of the directory"}
    assert server.requests == []
