"""The table of ``if_exists``, acted out, and what the ledger makes of a second run."""

from __future__ import annotations

import hashlib
import os

import pytest

from tests.faultserver import LONG_AGO, Fault, FaultServer, ignore_range, status, truncate
from tests.transfer.kit import OVERLAP, Kit, content

TRUTH = content("truth", 50_000)
OTHER = content("other", 50_000)
PROBE = "if-unmodified-since"


@pytest.fixture
def asset(kit: Kit, server: FaultServer) -> Kit:
    server.put("/a.tif", TRUTH)
    kit.want("/a.tif")
    return kit


def is_true(kit: Kit) -> bool:
    return kit.final("/a.tif").read_bytes() == TRUTH


# A file that the ledger knows


@pytest.mark.parametrize("if_exists", ["resume", "skip"])
def test_a_complete_download_asks_nobody(kit: Kit, server: FaultServer, if_exists: str) -> None:
    for number in range(30):
        server.put(f"/{number}.tif", content(number, 3000 + number))
        kit.want(f"/{number}.tif")
    assert kit.run().fetched == 30
    server.forget()
    result = kit.run(if_exists)
    assert (result.kept, result.requests, result.fetched) == (30, 0, 0)
    assert (server.requests, server.connections) == ([], 0)


def test_known_overwrite(asset: Kit, server: FaultServer) -> None:
    asset.run()
    server.put("/a.tif", OTHER)
    assert asset.run("overwrite").fetched == 1
    assert asset.final("/a.tif").read_bytes() == OTHER


def test_overwrite_leaves_the_old_file_until_the_new_one_is_whole(
    asset: Kit, server: FaultServer
) -> None:
    asset.run()
    server.always("/a.tif", truncate(40_000))
    asset.settings = type(asset.settings)(max_attempts=1)
    result = asset.run("overwrite")
    assert result.failed == 1
    assert is_true(asset)


@pytest.mark.parametrize("damage", [TRUTH[:100], TRUTH + b"x", b""])
def test_a_known_file_of_another_size_is_fetched_anew(
    asset: Kit, server: FaultServer, damage: bytes
) -> None:
    asset.run()
    asset.lay("/a.tif", damage)
    server.forget()
    assert asset.run().fetched == 1
    assert "range" not in server.requests[0].headers
    assert is_true(asset)


def test_a_known_file_that_is_gone_is_fetched(asset: Kit) -> None:
    asset.run()
    asset.final("/a.tif").unlink()
    assert asset.run().fetched == 1


def test_a_known_file_of_another_url_is_fetched_anew(asset: Kit, server: FaultServer) -> None:
    asset.run()
    server.put("/b.tif", OTHER)
    asset.assets[0] = asset.assets[0]._replace(href=server.url("/b.tif"))
    assert asset.run().fetched == 1
    assert asset.final("/a.tif").read_bytes() == OTHER


def test_a_known_file_of_another_host_or_signature_is_kept(asset: Kit, server: FaultServer) -> None:
    asset.run()
    asset.assets[0] = asset.assets[0]._replace(href="https://mirror.invalid/a.tif?sig=2")
    assert asset.run().kept == 1


# A file that it does not know


def test_unknown_complete_is_adopted_with_one_request(asset: Kit, server: FaultServer) -> None:
    asset.lay("/a.tif", TRUTH)
    result = asset.run()
    assert (result.adopted, result.fetched, result.fetched_bytes) == (1, 0, 0)
    (request,) = server.requests
    assert request.headers["range"] == "bytes=50000-"
    assert request.status == 416
    assert PROBE in request.headers
    (entry,) = asset.entries().values()
    assert (entry.state, entry.sha256) == ("adopted", hashlib.sha256(TRUTH).hexdigest())
    assert asset.run().kept == 1


def test_unknown_shorter_gets_the_rest(asset: Kit, server: FaultServer) -> None:
    asset.lay("/a.tif", TRUTH[:20_000])
    result = asset.run()
    assert (result.resumed, result.fetched, result.fetched_bytes) == (1, 1, 30_000)
    assert is_true(asset)
    (entry,) = asset.entries().values()
    assert entry.sha256 == hashlib.sha256(TRUTH).hexdigest()
    assert asset.partials() == []


def test_unknown_shorter_stays_whole_when_the_rest_breaks_off(
    asset: Kit, server: FaultServer
) -> None:
    before = asset.lay("/a.tif", TRUTH[:20_000])
    server.put("/a.tif", TRUTH, etag=None, modified=None)
    server.always("/a.tif", truncate(10_000))
    assert asset.run().failed == 1
    assert before.read_bytes() == TRUTH[:20_000]
    assert asset.partials() == []


def test_unknown_shorter_continues_a_rest_that_breaks_off(asset: Kit, server: FaultServer) -> None:
    asset.lay("/a.tif", TRUTH[:20_000])
    server.script("/a.tif", truncate(10_000))
    assert asset.run().resumed == 1
    ranges = [request.headers["range"] for request in server.requests]
    assert ranges == ["bytes=20000-", f"bytes={30_000 - OVERLAP}-"]
    assert is_true(asset)


def test_unknown_longer_is_fetched_anew(asset: Kit, server: FaultServer) -> None:
    asset.lay("/a.tif", TRUTH + b"tail")
    assert asset.run().fetched == 1
    assert is_true(asset)


def test_unknown_empty_is_fetched_anew_without_a_question(asset: Kit, server: FaultServer) -> None:
    asset.lay("/a.tif", b"")
    asset.run()
    assert ["range" in request.headers for request in server.requests] == [False]
    assert is_true(asset)


@pytest.mark.parametrize("local", [OTHER, OTHER[:20_000]], ids=["whole", "part"])
def test_unknown_older_than_the_remote_is_fetched_anew(
    asset: Kit, server: FaultServer, local: bytes
) -> None:
    path = asset.lay("/a.tif", local)
    os.utime(path, (LONG_AGO - 10, LONG_AGO - 10))
    result = asset.run()
    assert [request.status for request in server.requests] == [412, 200]
    assert (result.fetched, result.resumed) == (1, 0)
    assert is_true(asset)


def test_unknown_older_than_the_remote_says_the_answer(asset: Kit, server: FaultServer) -> None:
    """A server that ignores If-Unmodified-Since gives itself away by Last-Modified."""
    path = asset.lay("/a.tif", OTHER[:20_000])
    os.utime(path, (LONG_AGO - 10, LONG_AGO - 10))
    careless = Fault(
        status=206,
        body=TRUTH[20_000:],
        headers=(("Content-Range", "bytes 20000-49999/50000"),),
    )
    server.script("/a.tif", careless)
    asset.run()
    assert is_true(asset)


@pytest.mark.parametrize(
    "fault",
    [
        ignore_range(),
        Fault(status=206, headers=(("Content-Range", "bytes 0-49999/50000"),), body=TRUTH),
        Fault(status=206, headers=(("Content-Range", None),)),
        Fault(status=416, headers=(("Content-Range", None),)),
        Fault(status=416, headers=(("Content-Range", "bytes */49999"),)),
        status(412),
    ],
    ids=repr,
)
def test_unknown_and_any_other_answer_is_fetched_anew(
    asset: Kit, server: FaultServer, fault: Fault
) -> None:
    asset.lay("/a.tif", OTHER[:30_000])
    server.script("/a.tif", fault)
    result = asset.run()
    assert (result.fetched, result.resumed) == (1, 0)
    assert is_true(asset)


def test_unknown_and_refused_stays(asset: Kit, server: FaultServer) -> None:
    asset.lay("/a.tif", OTHER)
    server.always("/a.tif", status(403))
    result = asset.run()
    assert (result.failed, asset.entries()) == (1, {})
    assert asset.final("/a.tif").read_bytes() == OTHER


def test_unknown_overwrite(asset: Kit, server: FaultServer) -> None:
    asset.lay("/a.tif", OTHER)
    assert asset.run("overwrite").fetched == 1
    assert "range" not in server.requests[0].headers
    assert is_true(asset)


def test_unknown_skip_is_taken_unchecked_and_checked_by_a_later_resume(
    asset: Kit, server: FaultServer
) -> None:
    asset.lay("/a.tif", TRUTH[:400])
    assert asset.run("skip").adopted == 1
    assert asset.run("skip").kept == 1
    assert server.requests == []
    assert [entry.state for entry in asset.entries().values()] == ["unchecked"]
    assert asset.run("resume").resumed == 1
    assert is_true(asset)


# What the catalog knows


def test_a_size_in_the_catalog_spares_the_question(asset: Kit, server: FaultServer) -> None:
    asset.assets[0] = asset.assets[0]._replace(file_size=50_000)
    asset.lay("/a.tif", TRUTH + b"x")
    asset.run()
    assert ["range" in request.headers for request in server.requests] == [False]
    assert is_true(asset)


@pytest.mark.parametrize("local", [TRUTH, OTHER], ids=["same", "another"])
def test_a_checksum_in_the_catalog_settles_it(
    asset: Kit, server: FaultServer, local: bytes
) -> None:
    checksum = "1220" + hashlib.sha256(TRUTH).hexdigest()
    asset.assets[0] = asset.assets[0]._replace(checksum=checksum)
    asset.lay("/a.tif", local)
    result = asset.run()
    assert result.adopted == (local == TRUTH)
    assert len(server.requests) == (local != TRUTH)
    assert is_true(asset)


@pytest.mark.parametrize("what", ["size", "checksum"])
def test_a_catalog_that_changed_is_obeyed(asset: Kit, server: FaultServer, what: str) -> None:
    asset.run()
    new = content("new", 60_000)
    server.put("/a.tif", new)
    changes: dict[str, object] = {"file_size": 60_000}
    if what == "checksum":
        changes = {"checksum": "1220" + hashlib.sha256(new).hexdigest()}
    asset.assets[0] = asset.assets[0]._replace(**changes)
    assert asset.run().fetched == 1
    assert asset.final("/a.tif").read_bytes() == new


def test_a_file_that_changes_while_the_server_is_asked_is_fetched_anew(
    asset: Kit, server: FaultServer
) -> None:
    asset.lay("/a.tif", TRUTH[:20_000])
    server.when_asked("/a.tif", lambda: asset.lay("/a.tif", OTHER[:19_000]) and None)
    assert asset.run().resumed == 0
    assert is_true(asset)
