"""One fault at a time: what can be had is had, and what cannot is told with its cause."""

from __future__ import annotations

import hashlib
import threading

import pytest

from tests.faultserver import (
    Fault,
    FaultServer,
    chunked,
    empty,
    gzipped,
    html,
    ignore_range,
    redirect,
    reset_before,
    reset_within,
    stall,
    status,
    truncate,
    truncate_then_change,
    wrong_content_range,
    wrong_md5,
)
from tests.transfer.kit import IMPATIENT, OVERLAP, Kit, content, quick

BIG = content("big", 300_000)
NEW = content("new", 310_000)


@pytest.mark.parametrize(
    "faults",
    [
        [truncate(0)],
        [truncate(400)],
        [truncate(200_000)],
        [truncate(200_000), truncate(30_000)],
        [reset_before()],
        [reset_within(0)],
        [reset_within(150_000)],
        [stall()],
        [stall(100_000)],
        [status(429)],
        [status(429, "0")],
        [status(503, "99999999")],
        [status(503, "Fri, 31 Dec 9999 23:59:59 GMT")],
        [status(503, "soon")],
        [status(500), status(500)],
        [status(408)],
        [truncate(200_000), ignore_range()],
        [truncate(200_000), wrong_content_range()],
        [truncate(200_000), wrong_content_range("bytes 200000-299999/300001")],
        [truncate(200_000), wrong_content_range("nonsense")],
        [truncate(200_000), status(416)],
        [chunked()],
        [Fault(chunked=True, cut=90_000)],
        [Fault(headers=(("Content-Length", "junk"),), unframed=True)],
        [gzipped()],
        [wrong_md5()],
        [empty()],
        [html()],
        [Fault(status=206, headers=(("Content-Range", "bytes 0-9/10"),))],
    ],
    ids=repr,
)
def test_a_passing_fault_costs_retries_and_nothing_else(
    kit: Kit, server: FaultServer, faults: list[Fault]
) -> None:
    if any(fault.stall for fault in faults):
        kit.settings = quick(stall_timeout=IMPATIENT)
    server.put("/a.tif", BIG)
    server.script("/a.tif", *faults)
    kit.want("/a.tif")

    result = kit.run()

    assert (result.fetched, result.failed, kit.errors(result)) == (1, 0, {})
    assert kit.final("/a.tif").read_bytes() == BIG
    assert kit.partials() == []
    (entry,) = kit.entries().values()
    assert (entry.size, entry.sha256) == (len(BIG), hashlib.sha256(BIG).hexdigest())


def test_the_length_of_a_file_that_nothing_frames_is_recorded_as_unchecked(
    kit: Kit, server: FaultServer
) -> None:
    server.put("/a.tif", BIG)
    server.always("/a.tif", Fault(unframed=True))
    kit.want("/a.tif")
    kit.run()
    assert [entry.state for entry in kit.entries().values()] == ["unchecked"]


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (truncate(400), "connection broken off within the file"),
        (reset_before(), "connection broken off"),
        (stall(), "stalled"),
        (status(400), "HTTP 400 Bad Request"),
        (status(401), "HTTP 401 Unauthorized"),
        (status(403), "HTTP 403 Forbidden"),
        (status(404), "HTTP 404 Not Found"),
        (status(410), "HTTP 410 Gone"),
        (status(418), "HTTP 418"),
        (status(204), "HTTP 204"),
        (status(304), "HTTP 304"),
        (status(500), "HTTP 500"),
        (status(429, "1"), "HTTP 429"),
        (
            Fault(headers=(("Content-Encoding", "x-compress"),)),
            "in a coding that cannot be decoded: Content-Encoding compress",
        ),
        (html(), "an HTML page in place of a .tif file"),
        (empty(), "an empty answer in place of a .tif file"),
        (wrong_md5(), "another checksum than expected: md5 000000"),
        (redirect("file:///etc/passwd"), "redirected to a scheme that is not fetched"),
        (redirect("ftp://127.0.0.1/x"), "redirected to a scheme that is not fetched"),
        (redirect("/a.tif"), "too many redirects"),
        (Fault(chunked=True, cut=90_000), "connection broken off"),
        (Fault(headers=(("Content-Length", "300001"),), cut=300_000), "connection broken off"),
    ],
    ids=repr,
)
def test_a_lasting_fault_is_told_by_its_cause(
    kit: Kit, server: FaultServer, fault: Fault, cause: str
) -> None:
    if fault.stall:
        kit.settings = quick(stall_timeout=IMPATIENT)
    server.put("/a.tif", BIG, etag=None, modified=None)
    server.put("/b.tif", BIG)
    server.always("/a.tif", fault)
    kit.want("/a.tif")
    kit.want("/b.tif")

    result = kit.run()

    assert (result.fetched, result.failed) == (1, 1)
    errors = kit.errors(result)
    assert list(errors) == ["a.tif"]
    assert errors["a.tif"].startswith(cause)
    assert [path.name for path in kit.files()] == ["b.tif"]
    assert kit.partials() == []


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410])
def test_a_final_status_costs_one_request(kit: Kit, server: FaultServer, code: int) -> None:
    server.always("/a.tif", status(code))
    kit.want("/a.tif")
    result = kit.run()
    assert server.paths() == ["/a.tif"]
    assert (result.requests, result.retries) == (1, 0)


@pytest.mark.parametrize("fault", [status(500), reset_before(), truncate(1)], ids=repr)
def test_attempts_are_limited(kit: Kit, server: FaultServer, fault: Fault) -> None:
    server.put("/a.tif", BIG)
    server.always("/a.tif", fault)
    kit.want("/a.tif")
    result = kit.run()
    assert server.count("/a.tif") == 3 == result.requests
    assert result.retries == 2


def test_nothing_listens(kit: Kit) -> None:
    with FaultServer() as gone:
        href = gone.url("/a.tif")
    kit.want("/a.tif", href=href)
    assert kit.errors(kit.run())["a.tif"].startswith("no connection")


def test_a_redirect_to_another_host_is_followed(kit: Kit, server: FaultServer) -> None:
    with FaultServer() as other:
        server.always("/a.tif", redirect(other.put("/elsewhere", BIG)))
        kit.want("/a.tif", href=f"http://user:secret@{server.host}/a.tif")
        kit.run()
        assert kit.final("/a.tif").read_bytes() == BIG
        assert "authorization" in server.requests[0].headers
        assert "authorization" not in other.requests[0].headers


def test_a_redirect_to_a_host_that_is_gone_is_tried_again(kit: Kit, server: FaultServer) -> None:
    with FaultServer() as gone:
        location = gone.url("/a.tif")
    server.put("/a.tif", BIG)
    server.script("/a.tif", redirect(location))
    kit.want("/a.tif")
    assert kit.run().fetched == 1


def test_requests_say_what_they_want(kit: Kit, server: FaultServer) -> None:
    server.put("/a.tif", BIG)
    kit.want("/a.tif")
    kit.run()
    (request,) = server.requests
    assert request.headers["accept-encoding"] == "identity"
    assert request.headers["user-agent"].startswith("mlhub-flows/")
    assert not {"range", "authorization", "cookie"} & request.headers.keys()


# What the catalog says


@pytest.mark.parametrize("how", [Fault(), chunked()], ids=["length", "chunked"])
def test_a_size_that_contradicts_the_catalog_fails(
    kit: Kit, server: FaultServer, how: Fault
) -> None:
    server.put("/a.tif", BIG)
    server.always("/a.tif", how)
    kit.want("/a.tif", file_size=299_999)
    error = kit.errors(kit.run())["a.tif"]
    assert "299999 bytes" in error
    assert "30" in error.rpartition(",")[2]
    assert list(kit.files()) == []


def test_a_checksum_of_the_catalog_is_compared(kit: Kit, server: FaultServer) -> None:
    server.put("/a.tif", BIG)
    server.put("/b.tif", BIG)
    kit.want("/a.tif", checksum="1220" + hashlib.sha256(BIG).hexdigest())
    kit.want("/b.tif", checksum="1220" + hashlib.sha256(NEW).hexdigest())
    result = kit.run()
    errors = kit.errors(result)
    assert list(errors) == ["b.tif"]
    assert errors["b.tif"].startswith("another checksum than expected: sha256 ")
    assert server.count("/b.tif") == 3


def test_an_empty_file_is_a_file(kit: Kit, server: FaultServer) -> None:
    server.put("/a.txt", b"")
    server.put("/a.tif", b"")
    kit.want("/a.txt")
    kit.want("/a.tif", file_size=0)
    assert kit.run().fetched == 2
    assert kit.final("/a.txt").read_bytes() == b""


def test_html_may_be_wanted(kit: Kit, server: FaultServer) -> None:
    server.put("/readme.html", b"")
    server.always("/readme.html", html())
    kit.want("/readme.html")
    assert kit.run().fetched == 1


# Change under way


def test_a_file_that_changes_between_two_tries_is_never_mixed(
    kit: Kit, server: FaultServer
) -> None:
    server.put("/a.tif", BIG)
    server.script("/a.tif", truncate_then_change(200_000, NEW))
    kit.want("/a.tif")
    kit.run()
    assert kit.final("/a.tif").read_bytes() == NEW


def test_nor_by_a_server_that_ignores_if_range(kit: Kit, server: FaultServer) -> None:
    server.put("/a.tif", BIG)
    mixed = Fault(
        status=206,
        body=NEW[200_000:300_000],
        headers=(("Content-Range", "bytes 200000-299999/300000"), ("ETag", '"other"')),
    )
    server.script("/a.tif", truncate_then_change(200_000, NEW), mixed)
    kit.want("/a.tif")
    kit.run()
    assert kit.final("/a.tif").read_bytes() == NEW


def test_without_a_strong_validator_nothing_is_continued(kit: Kit, server: FaultServer) -> None:
    server.put("/a.tif", BIG, etag='W/"weak"', modified=None)
    server.script("/a.tif", truncate(200_000))
    kit.want("/a.tif")
    result = kit.run()
    assert result.resumed == 0
    assert all("range" not in request.headers for request in server.requests)


def test_a_broken_transfer_is_continued(kit: Kit, server: FaultServer) -> None:
    server.put("/a.tif", BIG)
    server.script("/a.tif", truncate(200_000), truncate(50_000))
    kit.want("/a.tif")
    result = kit.run()
    assert [request.headers.get("range") for request in server.requests] == [
        None,
        f"bytes={200_000 - OVERLAP}-",
        f"bytes={250_000 - 2 * OVERLAP}-",
    ]
    assert (result.resumed, result.fetched_bytes) == (1, 300_000)


def test_a_transfer_that_gets_on_is_not_given_up(kit: Kit, server: FaultServer) -> None:
    server.put("/a.tif", BIG)
    server.always("/a.tif", truncate(30_000))
    kit.want("/a.tif")
    result = kit.run()
    assert (result.fetched, server.count("/a.tif")) == (1, 12)
    assert kit.final("/a.tif").read_bytes() == BIG


def test_the_digest_of_the_first_answer_holds_for_the_rest(kit: Kit, server: FaultServer) -> None:
    """Content-MD5 comes with the 200; the bytes that make the whole wrong come with the 206."""
    wrong = Fault(
        status=206,
        body=content("damaged", 100_000),
        headers=(("Content-Range", "bytes 200000-299999/300000"),),
    )
    digest = "x-ms-blob-content-md5"
    import base64

    right = base64.b64encode(hashlib.md5(BIG).digest()).decode()
    server.put("/a.tif", BIG, headers={digest: right})
    server.script("/a.tif", truncate(200_000), wrong)
    kit.want("/a.tif")
    kit.run()
    assert kit.final("/a.tif").read_bytes() == BIG
    assert server.count("/a.tif") == 3


def test_what_never_fits_comes_to_an_end(kit: Kit, server: FaultServer) -> None:
    """A whole that breaks off and a rest that fits nothing, for ever: each sends to the other."""
    server.put("/a.tif", BIG)
    answers = [truncate(200_000), wrong_content_range("nonsense")]
    server.script("/a.tif", *answers * 50)
    kit.want("/a.tif")
    result = kit.run()
    assert (result.failed, kit.partials()) == (1, [])
    assert server.count("/a.tif") <= 2 * kit.settings.max_attempts


# Connections


def test_connections_are_used_again(kit: Kit, server: FaultServer) -> None:
    kit.settings = quick(concurrency=4)
    for number in range(50):
        server.put(f"/{number}.tif", content(number, 2000))
        kit.want(f"/{number}.tif")
    server.always("/7.tif", status(404))
    result = kit.run()
    assert result.fetched == 49
    assert server.connections <= 4
    assert server.most_open <= 4


def test_one_host_that_stalls_does_not_hold_up_another(kit: Kit, server: FaultServer) -> None:
    with FaultServer() as slow:
        kit.settings = quick(concurrency=2, max_attempts=1)
        other_is_asked = threading.Event()
        for number in range(6):
            slow.put(f"/{number}.tif", BIG)
            slow.always(f"/{number}.tif", Fault(cut=0, then=other_is_asked.wait))
            kit.want(f"/{number}.tif", href=slow.url(f"/{number}.tif"))
        done: list[int] = []

        def begin() -> None:
            done.append(len(slow.requests))
            other_is_asked.set()

        server.put("/z.tif", BIG)
        server.when_asked("/z.tif", begin)
        kit.want("/z.tif")
        result = kit.run()
    assert (result.fetched, result.failed) == (1, 6)
    assert done[0] <= 2


def test_a_transfer_that_got_on_once_is_given_up_when_it_no_longer_does(
    kit: Kit, server: FaultServer
) -> None:
    server.put("/a.tif", BIG)
    server.script("/a.tif", truncate(200_000))
    server.always("/a.tif", reset_before())
    kit.want("/a.tif")
    result = kit.run()
    assert (result.failed, server.count("/a.tif")) == (1, 3)
    assert kit.partials() == []
