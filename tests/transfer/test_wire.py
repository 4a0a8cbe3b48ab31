"""What a server says: bytes that are no HTTP, and words that contradict what is known."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.faultserver import Fault, FaultServer, truncate, truncate_then_change
from tests.transfer.kit import OVERLAP, Kit, content, quick
from tests.transfer.tiny import Tiny

TRUTH = content("truth", 60_000)
HALF = 30_000
SMALL = b"II*\0 and so on"
FRAMES = b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMALL), SMALL)


def answer(*fields: str, begin: str = "HTTP/1.1 200 OK", body: bytes = SMALL) -> bytes:
    """An answer, whatever its lines say."""
    return "\r\n".join([begin, *fields, "", ""]).encode("latin-1") + body


LENGTH = f"Content-Length: {len(SMALL)}"
FRAMED = f"Content-Length: {len(FRAMES)}"


@pytest.fixture
def kit(kit: Kit) -> Kit:
    """One whose server may take its time: requests are counted here."""
    kit.settings = quick(stall_timeout=30.0)
    return kit


@pytest.fixture
def asset(kit: Kit, server: FaultServer) -> Kit:
    server.put("/a.tif", TRUTH)
    kit.want("/a.tif")
    return kit


def state(kit: Kit) -> str:
    (entry,) = kit.entries().values()
    return str(entry.state)


# Bytes that are no HTTP, or lie about where the body ends


@pytest.mark.parametrize(
    ("raw", "cause"),
    [
        (answer(LENGTH, begin="ICY 200 OK"), "an answer that is not HTTP"),
        (answer(LENGTH, begin="HTTP/1.10 200 OK"), "an answer that is not HTTP"),
        (answer(LENGTH, begin="HTTP/0.9 200 OK"), "an answer that is not HTTP"),
        (answer(LENGTH, begin="HTTP/3 200 OK"), "an answer that is not HTTP"),
        (answer(LENGTH, begin="RTSP/1.0 200 OK"), "an answer that is not HTTP"),
        (answer(LENGTH, begin="HTTP/1.1 " + "2" * 5000), "an answer that is not HTTP"),
        (answer(LENGTH, begin="HTTP/1.1 2000 OK"), "an answer that is not HTTP"),
        (answer(LENGTH, begin="HTTP/1.1 000 OK"), "an answer that is not HTTP"),
        (answer(LENGTH, begin="HTTP/1.1 -20 OK"), "an answer that is not HTTP"),
        (answer(LENGTH, "no colon"), "an answer that is not HTTP"),
        (answer(LENGTH, 'ETag: "\0"'), "an answer that is not HTTP"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "an answer that is not HTTP"),
        (b"\x16\x03\x01\x02\0\x01\0\x01\xfc", "an answer that is not HTTP"),
        (b"<html>hello</html>", "an answer that is not HTTP"),
        (SMALL, "an answer that is not HTTP"),
        (b"HTTP/1.1 200 OK\r\n", "an answer that is not HTTP"),
        (answer(f"{LENGTH}, 4"), "an answer that is not HTTP"),
        (answer(LENGTH, "Content-Length: 4"), "an answer that is not HTTP"),
        (answer("Content-Length: -4"), "an answer that is not HTTP"),
        (answer("Content-Length: 0x4"), "an answer that is not HTTP"),
        (answer("Content-Length: " + "9" * 30), "an impossible Content-Length"),
        (answer("Content-Length: " + "9" * 5000), "an impossible Content-Length"),
        (answer(LENGTH, *["X: y"] * 6000), "more header fields than are read"),
        (answer(LENGTH, "X: " + "y" * 120_000), "more header fields than are read"),
        (
            answer("Transfer-Encoding : chunked", FRAMED, body=FRAMES),
            "an unknown Transfer-Encoding",
        ),
        (
            answer("Transfer-Encoding: xchunked", FRAMED, body=FRAMES),
            "an unknown Transfer-Encoding",
        ),
        (
            answer('Transfer-Encoding: "chunked"', FRAMED, body=FRAMES),
            "an unknown Transfer-Encoding",
        ),
        (
            answer("Transfer-Encoding: chunked, identity", FRAMED, body=FRAMES),
            "an unknown Transfer-Encoding",
        ),
        (answer("Transfer-Encoding: gzip, chunked", body=FRAMES), "an unknown Transfer-Encoding"),
    ],
    ids=lambda value: repr(value[:60]),
)
def test_it_is_named_for_what_it_is_and_tried_again(
    kit: Kit, server: FaultServer, raw: bytes, cause: str
) -> None:
    server.put("/a.tif", b"")
    server.put("/b.tif", TRUTH)
    server.always("/a.tif", Fault(raw=raw))
    kit.want("/a.tif")
    kit.want("/b.tif")

    result = kit.run()

    assert kit.errors(result)["a.tif"].startswith(cause)
    assert server.count("/a.tif") == kit.settings.max_attempts
    assert [path.name for path in kit.files()] == ["b.tif"]


@pytest.mark.parametrize(
    ("raw", "known"),
    [
        (answer(f"{LENGTH}, {len(SMALL)}"), "verified"),
        (answer(LENGTH, LENGTH), "verified"),
        (answer("Transfer-Encoding: chunked", FRAMED, body=FRAMES), "verified"),
        (answer("Transfer-Encoding: Identity, CHUNKED", body=FRAMES), "verified"),
        (answer("Transfer-Encoding: identity", LENGTH), "verified"),
        (answer("Transfer-Encoding: identity"), "unchecked"),
        (answer(LENGTH, begin="HTTP/1.0 200"), "verified"),
        (answer(LENGTH, 'ETag: "caf\xe9"', "Last-Modified: \xff", "\xe9: \x80"), "verified"),
        (answer(LENGTH, 'ETag: "a"', 'ETag: "b"'), "verified"),
        (answer(begin="HTTP/1.1 100 Continue", body=b"") * 3 + answer(LENGTH), "verified"),
    ],
    ids=lambda value: repr(value[:60]),
)
def test_what_is_odd_and_yet_says_all(
    kit: Kit, server: FaultServer, raw: bytes, known: str
) -> None:
    server.put("/a.tif", b"")
    server.always("/a.tif", Fault(raw=raw))
    kit.want("/a.tif")
    assert kit.errors(kit.run()) == {}
    assert kit.final("/a.tif").read_bytes() == SMALL
    assert state(kit) == known


@pytest.mark.parametrize("location", ["http://[::1", "http://h:99999999/", "http://", "//"])
def test_a_redirect_to_nowhere_is_called_one(kit: Kit, server: FaultServer, location: str) -> None:
    server.put("/a.tif", b"")
    server.always("/a.tif", Fault(raw=answer(f"Location: {location}", begin="HTTP/1.1 302 Found")))
    kit.want("/a.tif")
    assert kit.errors(kit.run())["a.tif"].startswith("redirected to a malformed URL")
    assert server.count("/a.tif") == 1


# Words about the rest of a file


def half_is_whole() -> Fault:
    return Fault(status=416, headers=(("Content-Range", f"bytes */{HALF}"),), body=b"")


@pytest.mark.parametrize("about", [{}, {"file_size": len(TRUTH)}])
def test_half_a_file_is_not_whole_because_a_cache_says_so(
    asset: Kit, server: FaultServer, about: dict[str, int]
) -> None:
    asset.assets.clear()
    asset.want("/a.tif", **about)
    server.script("/a.tif", truncate(HALF), half_is_whole())
    assert asset.run().fetched == 1
    assert asset.final("/a.tif").read_bytes() == TRUTH


def test_what_lies_there_is_not_whole_where_the_catalog_says_otherwise(
    kit: Kit, server: FaultServer
) -> None:
    server.put("/a.tif", TRUTH)
    server.always("/a.tif", half_is_whole())
    kit.want("/a.tif", file_size=len(TRUTH))
    kit.lay("/a.tif", TRUTH[:HALF])
    assert kit.run().failed == 1
    assert kit.entries() == {}
    assert kit.final("/a.tif").read_bytes() == TRUTH[:HALF]


def rest(begin: int, first: int, last: int, total: object, **fields: str) -> Fault:
    """A 206 with bytes from ``begin`` on that it calls those from ``first`` to ``last``."""
    said = {"Content-Range": f"bytes {first}-{last}/{total}", **fields}
    body = TRUTH[begin : begin + last + 1 - first]
    return Fault(status=206, headers=tuple(said.items()), body=body)


FIRST, LAST = HALF - OVERLAP, len(TRUTH) - 1


@pytest.mark.parametrize(
    "lie",
    [
        rest(0, FIRST, LAST, len(TRUTH)),
        rest(FIRST + 1, FIRST, LAST - 1, len(TRUTH) - 1),
        rest(HALF, FIRST, LAST, len(TRUTH)),
        rest(FIRST, FIRST, LAST - 100, "*"),
        rest(FIRST, FIRST, LAST - 100, len(TRUTH) - 100),
        rest(FIRST, FIRST, LAST, len(TRUTH), ETag='"another"'),
        rest(FIRST, FIRST, LAST, len(TRUTH), ETag='W/"another"'),
        Fault(status=206, headers=(("Content-Range", f"bytes {FIRST}-{LAST}/60000"),), body=b""),
        Fault(raw=answer(f"Content-Range: bytes {FIRST}-{LAST}/60000", begin="HTTP/1.1 206 OK")),
    ],
)
def test_a_rest_that_is_another_is_not_put_to_what_is_here(
    asset: Kit, server: FaultServer, lie: Fault
) -> None:
    server.script("/a.tif", truncate(HALF), lie)
    assert asset.run().fetched == 1
    assert asset.final("/a.tif").read_bytes() == TRUTH
    assert asset.partials() == []


def test_a_file_of_another_time_is_not_put_to_what_is_here(kit: Kit, server: FaultServer) -> None:
    """Where a date is the validator, and the host does not look at it."""
    server.put("/a.tif", TRUTH, etag=None)
    later = rest(FIRST, FIRST, LAST, 60_000, **{"Last-Modified": "Sat, 02 Jan 2021 00:00:00 GMT"})
    server.script("/a.tif", truncate(HALF), later)
    kit.want("/a.tif")
    assert kit.run().resumed == 0
    assert kit.final("/a.tif").read_bytes() == TRUTH


@pytest.mark.parametrize("validators", [{}, {"etag": None}, {"etag": None, "modified": None}])
@pytest.mark.parametrize("cut", [500, HALF])
def test_half_a_file_is_not_whole_because_a_later_answer_gives_its_length(
    kit: Kit, server: FaultServer, validators: dict[str, None], cut: int
) -> None:
    """As a cache does that kept what broke off; small files are taken another way."""
    server.put("/a.tif", TRUTH, **validators)  # type: ignore[arg-type]
    half = Fault(body=TRUTH[:cut], ignore_range=True)
    server.script("/a.tif", truncate(cut), half)
    kit.want("/a.tif")
    assert kit.run().fetched == 1
    assert kit.final("/a.tif").read_bytes() == TRUTH
    kit.final("/a.tif").unlink()
    server.script("/a.tif", truncate(cut))
    server.always("/a.tif", half)
    assert kit.errors(kit.run())["a.tif"].startswith("another length than an earlier answer gave")
    assert not kit.final("/a.tif").exists()


def test_a_file_that_has_changed_may_have_another_length(kit: Kit, server: FaultServer) -> None:
    server.put("/a.tif", TRUTH)
    server.script("/a.tif", truncate_then_change(HALF, TRUTH[:50_000]))
    kit.want("/a.tif")
    assert kit.run().fetched == 1
    assert kit.final("/a.tif").read_bytes() == TRUTH[:50_000]


@pytest.mark.parametrize(
    ("checksum", "known"),
    [(None, "unchecked"), ("1220" + hashlib.sha256(TRUTH).hexdigest(), "verified")],
)
@pytest.mark.parametrize("lies_there", [False, True])
def test_two_parts_are_verified_by_a_digest_only(
    kit: Kit, server: FaultServer, checksum: str | None, known: str, lies_there: bool
) -> None:
    server.put("/a.tif", TRUTH)
    kit.want("/a.tif", checksum=checksum, file_size=len(TRUTH))
    if lies_there:
        kit.lay("/a.tif", TRUTH[:HALF])
    else:
        server.script("/a.tif", truncate(HALF))
    result = kit.run()
    assert (result.resumed, result.unchecked) == (1, known == "unchecked")
    assert kit.final("/a.tif").read_bytes() == TRUTH
    assert state(kit) == known


# Validators


NOT_SENT = ['"caf\xe9"', '"\x80"', "\xa0", '"\x01"', '"a"b"', '"' + "x" * 5000 + '"']


@pytest.mark.parametrize("etag", NOT_SENT, ids=ascii)
def test_an_etag_that_no_line_can_hold_is_not_sent_back(
    asset: Kit, server: FaultServer, etag: str
) -> None:
    server.put("/a.tif", TRUTH, etag=etag, modified=None)
    server.script("/a.tif", truncate(HALF))
    assert asset.run().fetched == 1
    assert asset.final("/a.tif").read_bytes() == TRUTH
    assert all("if-range" not in request.headers for request in server.requests)


def test_where_a_date_serves_the_etag_is_compared_all_the_same(
    asset: Kit, server: FaultServer
) -> None:
    server.put("/a.tif", TRUTH, etag='"caf\xe9"')
    server.script("/a.tif", truncate(HALF), rest(FIRST, FIRST, LAST, 60_000, ETag='"caf\xea"'))
    assert asset.run().resumed == 0
    assert server.requests[1].headers["if-range"].endswith("GMT")
    assert asset.final("/a.tif").read_bytes() == TRUTH


@pytest.mark.parametrize(
    "damage",
    [
        *({"validator": etag, "etag": etag} for etag in NOT_SENT),
        {"validator": '"a"\r\nX-Of-Others: 1'},
        {"validator": 7},
        {"etag": 7},
        {"modified": []},
        {"total": 1.5},
        {"total": len(TRUTH) + 1},
        {"digests": [["sha3-of-another-kind", "00"]]},
        {"digests": 3},
    ],
    ids=ascii,
)
def test_a_note_of_an_earlier_version_ends_no_run(
    asset: Kit, server: FaultServer, damage: dict[str, object]
) -> None:
    server.always("/a.tif", truncate(HALF))
    server.when_asked("/a.tif", lambda: server.put("/a.tif", TRUTH))
    asset.settings = quick(stall_timeout=30.0, max_attempts=1)
    partial = asset.paths.partial_dir / hashlib.sha256(b"c/a.tif").hexdigest()[:32]
    partial.parent.mkdir(parents=True)
    partial.with_suffix(".part").write_bytes(TRUTH[:HALF])
    note = {
        "source": hashlib.sha256(b"/a.tif").hexdigest()[:16],
        "validator": '"a"',
        "etag": '"a"',
        "modified": None,
        "total": len(TRUTH),
        "digests": [],
        **damage,
    }
    partial.with_suffix(".json").write_text(json.dumps(note), "utf-8")
    assert asset.run().failed == 1
    server.always("/a.tif", Fault())
    assert asset.run().fetched == 1
    assert asset.final("/a.tif").read_bytes() == TRUTH


# Any bytes at all

BEGINNINGS = st.sampled_from(
    [
        *(b"HTTP/1.1 200 OK", b"HTTP/1.1 206 Partial Content", b"HTTP/1.0 200", b"HTTP/1.1 416 X"),
        *(b"HTTP/1.1 302 Found", b"HTTP/1.1 304 X", b"HTTP/1.1 100 X", b"HTTP/1.1 401 X"),
        *(b"HTTP/1.1 503 X", b"HTTP/2 200", b"ICY 200 OK", b"HTTP/1.1 " + b"2" * 5000, b"", b"\0"),
    ]
)
NAMES = st.sampled_from(
    [
        *("Content-Length", "Transfer-Encoding", "Content-Encoding", "Content-Range", "ETag"),
        *("Last-Modified", "Date", "Content-MD5", "Content-Type", "Location", "Retry-After"),
        *("Connection", "Transfer-Encoding ", " folded", "X", ""),
    ]
)
VALUES = st.one_of(
    st.integers(-1, len(TRUTH) + 1).map(str),
    st.sampled_from(
        [
            *(
                "chunked",
                "gzip",
                "br",
                "aws-chunked",
                "identity",
                "close",
                '"a"',
                'W/"a"',
                "/a.tif",
            ),
            *(
                "bytes */30000",
                "bytes 0-59999/60000",
                "bytes 25904-59999/60000",
                "file:///",
                "9" * 5000,
            ),
            *("Thu, 01 Jan 1970 00:00:00 GMT", "text/html", "caf\xe9", "\x80\xff", "http://[::1"),
        ]
    ),
    st.text(st.characters(max_codepoint=255), max_size=20),
)
BODIES = st.sampled_from(
    [b"", TRUTH, TRUTH[:HALF], TRUTH[FIRST:], b"ea60\r\n" + TRUTH + b"\r\n0\r\n\r\n", b"-5\r\n"]
)


@st.composite
def wild(draw: st.DrawFn) -> bytes:
    """An answer as no server should give it, and some do."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=100))
    fields = draw(st.lists(st.tuples(NAMES, VALUES), max_size=5))
    lines = [f"{name}: {value}".encode("latin-1") for name, value in fields]
    whole = b"\r\n".join([draw(BEGINNINGS), *lines, b"", b""]) + draw(BODIES)
    return whole[: draw(st.integers(0, len(whole)))] if draw(st.booleans()) else whole


@settings(max_examples=25)
@given(st.lists(wild(), min_size=1, max_size=3), st.booleans(), st.booleans(), st.booleans())
def test_whatever_a_host_sends_fails_one_asset_and_never_the_run(
    answers: list[bytes], resumes: bool, told: bool, ends_well: bool
) -> None:
    with tempfile.TemporaryDirectory() as directory, FaultServer() as server, FaultServer() as good:
        kit = Kit(Path(directory), server, settings=quick(stall_timeout=30.0, max_attempts=4))
        about = {"file_size": len(TRUTH), "checksum": "1220" + hashlib.sha256(TRUTH).hexdigest()}
        server.put("/a.tif", TRUTH, etag='"a"')
        kit.want("/a.tif", **(about if told else {}))
        kit.want("/b.tif", href=good.put("/b.tif", TRUTH))
        if resumes:
            server.script("/a.tif", truncate(HALF))
        server.script("/a.tif", *(Fault(raw=answer) for answer in answers))
        if not ends_well:
            server.always("/a.tif", Fault(raw=answers[-1]))

        result = kit.run()

        assert result.fetched + result.failed == 2
        assert kit.final("/b.tif").read_bytes() == TRUTH
        there = kit.final("/a.tif").exists()
        assert there == (result.failed == 0) == ("a.tif" not in kit.errors(result))
        if there:
            body = kit.final("/a.tif").read_bytes()
            entry = kit.entries()["c/a.tif"]
            assert (entry.size, entry.sha256) == (len(body), hashlib.sha256(body).hexdigest())
            assert body == TRUTH or not told
            assert kit.partials() == []


def test_a_run_tells_of_what_it_could_not_check(
    tmp_path: Path, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = Tiny(tmp_path, server, files=2)
    monkeypatch.setenv("MLHUB_ROOT_URL", tiny.publish())
    monkeypatch.setenv("MLHUB_PROFILE", "__anonymous__")
    server.script(tiny.url_path(0), truncate(2_000_000))
    first, second, third = (tiny.download() for _ in range(3))
    assert tiny.is_whole()
    assert (first.resumed, first.unchecked) == (1, 1)
    assert "1 of the fetched are unchecked: there is no checksum" in first.summary()
    assert (second.adopted, second.unchecked, third.requests) == (1, 0, 0)
    assert tiny.assets_asked_for().count(tiny.url_path(0)) == 3
