"""Bodies that come compressed though nobody asked: the file is had, whichever bytes it is."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Callable
from functools import partial

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlhub_core.net.coding import BadCoding, plain_pieces
from tests.faultserver import Fault, FaultServer, gzipped, truncate
from tests.transfer.kit import OVERLAP, Kit, content, quick

PLAIN = content("plain", 1000) * 300
CODED = gzip.compress(PLAIN, mtime=0)
EMPTY = gzip.compress(b"", mtime=0)
PIECE = 1024 * 1024


@pytest.fixture
def kit(kit: Kit) -> Kit:
    """One whose server may take its time: requests are counted here."""
    kit.settings = quick(stall_timeout=30.0)
    return kit


def sent_as(coding: str, body: bytes, **how: object) -> Fault:
    headers = (("Content-Encoding", coding),)
    return Fault(body=body, headers=headers, ignore_range=True, **how)  # type: ignore[arg-type]


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def packed(codec: str, data: bytes = PLAIN) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, codec) as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def sha256(data: bytes) -> str:
    return "1220" + hashlib.sha256(data).hexdigest()


# Decoding


def decoded(data: bytes, coding: str, sizes: list[int], most: int = 10**9) -> bytes:
    def blocks() -> list[bytes]:
        cut, start = [], 0
        for size in sizes:
            cut.append(data[start : start + size])
            start += size
        return [*cut, data[start:]]

    pieces = list(plain_pieces(blocks(), coding, most))
    assert all(len(piece) <= PIECE for piece in pieces)
    return b"".join(pieces)


SIZES = st.lists(st.integers(0, 40), max_size=12)
PACK: dict[str, list[Callable[[bytes], bytes]]] = {
    "gzip": [gzip.compress],
    "deflate": [zlib.compress, raw_deflate],
    "br": [partial(packed, "brotli")],
    "bzip2": [partial(packed, "bz2")],
    "zstd": [partial(packed, "zstd")],
}


@settings(deadline=None, max_examples=50)
@given(st.sampled_from(sorted(PACK)), st.data(), st.binary(max_size=1000), SIZES)
def test_what_was_packed_comes_out(
    coding: str, data: st.DataObject, plain: bytes, sizes: list[int]
) -> None:
    pack = data.draw(st.sampled_from(PACK[coding]))
    assert decoded(pack(plain), coding, sizes) == plain


@settings(deadline=None, max_examples=50)
@given(st.sampled_from(sorted(PACK)), st.data(), st.binary(min_size=1, max_size=300), SIZES)
def test_what_is_cut_never_comes_out_as_a_whole(
    coding: str, data: st.DataObject, plain: bytes, sizes: list[int]
) -> None:
    whole = data.draw(st.sampled_from(PACK[coding]))(plain)
    cut = data.draw(st.integers(1, len(whole) - 1))
    with pytest.raises(BadCoding):
        decoded(whole[:cut], coding, sizes)


@pytest.mark.parametrize("size", [PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 5 * PIECE + 7])
def test_much_out_of_little_comes_in_pieces(size: int) -> None:
    assert decoded(gzip.compress(bytes(size)), "gzip", [100]) == bytes(size)


def test_several_members_and_padding_are_one_file() -> None:
    packed = gzip.compress(b"one") + gzip.compress(b"", mtime=0) + gzip.compress(b"two") + b"\0" * 9
    for size in (1, 5, 1000):
        assert decoded(packed, "gzip", [size] * 40) == b"onetwo"


@pytest.mark.parametrize(
    ("data", "coding", "words"),
    [
        (CODED + b"junk", "gzip", "Not a gzipped file"),
        (zlib.compress(b"x") + b"junk", "deflate", "follows"),
        (CODED[:-8] + b"\0" * 8, "gzip", "CRC check failed"),
        (b"not gzip", "gzip", "Not a gzipped file"),
        (b"\x1f\x8b", "gzip", "too early"),
    ],
)
def test_what_is_wrong_is_said(data: bytes, coding: str, words: str) -> None:
    with pytest.raises(BadCoding, match=words):
        decoded(data, coding, [])


def test_too_much_is_broken_off() -> None:
    bomb = gzip.compress(bytes(50 * PIECE))
    pieces = plain_pieces([bomb], "gzip", 3 * PIECE)
    assert len([next(pieces) for _ in range(3)]) == 3
    with pytest.raises(BadCoding, match="more than"):
        next(pieces)


# Fetching


@pytest.mark.parametrize(
    "said",
    [
        *("aws-chunked", "utf-8", "UTF-8", "iso-8859-1", "binary", "8bit", "none", "null", "raw"),
        *(
            "",
            " ",
            ",",
            '"identity"',
            "identity, identity",
            "aws-chunked,identity",
            "*",
            "x" * 5000,
        ),
        *("caf\xe9", "image/tiff", "base64", "\x01"),
    ],
    ids=ascii,
)
@pytest.mark.parametrize("about", [{}, {"file_size": len(PLAIN), "checksum": sha256(PLAIN)}])
def test_a_content_encoding_that_is_none_leaves_the_file_as_it_is(
    kit: Kit, server: FaultServer, said: str, about: dict[str, object]
) -> None:
    server.put("/a.tif", PLAIN, headers={"Content-Encoding": said})
    server.script("/a.tif", truncate(200_000))
    kit.want("/a.tif", **about)
    result = kit.run()
    assert kit.errors(result) == {}
    assert kit.final("/a.tif").read_bytes() == PLAIN
    assert result.resumed == 1  # parts of what is in no coding can be put together


def test_codings_of_two_lines_are_read_as_one_list(kit: Kit, server: FaultServer) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(CODED)}\r\nContent-Encoding: identity\r\n"
    raw = head.encode() + b"Content-Encoding: gzip\r\n\r\n" + CODED
    server.put("/a.tif", PLAIN)
    server.always("/a.tif", Fault(raw=raw))
    kit.want("/a.tif")
    assert kit.errors(kit.run()) == {}
    assert kit.final("/a.tif").read_bytes() == PLAIN


@pytest.mark.parametrize(
    ("name", "sent", "about", "expected"),
    [
        ("a.tif", gzipped(), {}, PLAIN),
        ("a.tif", sent_as("x-gzip", CODED, chunked=True), {}, PLAIN),
        ("a.tif", sent_as(" GZIP", CODED, unframed=True), {}, PLAIN),
        ("a.tif", sent_as("deflate", zlib.compress(PLAIN)), {}, PLAIN),
        ("a.tif", sent_as("deflate", raw_deflate(PLAIN)), {}, PLAIN),
        ("a.tif", gzipped(), {"file_size": len(PLAIN)}, PLAIN),
        ("a.tif", gzipped(), {"file_size": len(CODED)}, CODED),
        ("a.tif", gzipped(), {"checksum": "1220" + hashlib.sha256(PLAIN).hexdigest()}, PLAIN),
        ("a.tif", gzipped(), {"checksum": "1220" + hashlib.sha256(CODED).hexdigest()}, CODED),
        ("a.tif", gzipped(), {"checksum": "d50110" + hashlib.md5(CODED).hexdigest()}, CODED),
        ("a.tar.gz", sent_as("gzip", CODED), {}, CODED),
        ("a.TGZ", sent_as("gzip", CODED), {}, CODED),
        ("a.tar.gz", sent_as("gzip", gzip.compress(CODED, mtime=0)), {}, CODED),
        ("a.tar.gz", sent_as("gzip", CODED), {"file_size": len(PLAIN)}, PLAIN),
        ("a.tif", sent_as("br", packed("brotli")), {}, PLAIN),
        ("a.tif", sent_as("zstd", packed("zstd")), {"file_size": len(PLAIN)}, PLAIN),
        ("a.tif", sent_as("x-bzip2", packed("bz2"), chunked=True), {}, PLAIN),
        ("a.tif", sent_as("gzip,aws-chunked", CODED), {}, PLAIN),
        ("a.tif", sent_as("zstd", CODED), {"checksum": sha256(CODED)}, CODED),
        ("a.tif", sent_as("compress", CODED), {"checksum": sha256(CODED)}, CODED),
        ("a.tif", sent_as("gzip, gzip", CODED), {"file_size": len(CODED)}, CODED),
        ("a.tar.zst", sent_as("zstd", packed("zstd")), {}, packed("zstd")),
        ("a.tar.Z", sent_as("compress", CODED), {}, CODED),
        ("a.csv.br", sent_as("br", packed("brotli")), {}, packed("brotli")),
        ("a.txt", sent_as("br", b""), {}, b""),
        ("a.txt", sent_as("gzip", EMPTY), {}, b""),
        ("a.txt", sent_as("gzip", b""), {}, b""),
    ],
)
def test_the_file_is_had(
    kit: Kit, server: FaultServer, name: str, sent: Fault, about: dict[str, object], expected: bytes
) -> None:
    server.put(f"/{name}", PLAIN)
    server.always(f"/{name}", sent)
    kit.want(f"/{name}", **about)

    result = kit.run()

    assert kit.errors(result) == {}
    assert kit.final(f"/{name}").read_bytes() == expected
    assert kit.partials() == []
    assert server.count(f"/{name}") == 1
    (entry,) = kit.entries().values()
    assert (entry.size, entry.sha256) == (len(expected), hashlib.sha256(expected).hexdigest())
    assert kit.run().kept == 1


@pytest.mark.parametrize(
    ("sent", "about", "error"),
    [
        (gzipped(), {"file_size": 7}, "another size than in the catalog: more than 7 bytes"),
        (
            gzipped(),
            {"checksum": "1220" + "00" * 32},
            "another checksum than expected: sha256 0000",
        ),
        (sent_as("gzip", CODED[:-9]), {}, "compressed though not asked for, and damaged: it ends"),
        (
            sent_as("br", packed("brotli")[:-9]),
            {},
            "compressed though not asked for, and damaged: Truncated",
        ),
        (sent_as("zstd", PLAIN), {}, "compressed though not asked for, and damaged: ZSTD"),
        (sent_as("exi", PLAIN), {}, "in a coding that cannot be decoded: Content-Encoding exi"),
        (sent_as("gzip, br", CODED), {}, "in a coding that cannot be decoded: Content-Encoding"),
        (
            sent_as("compress", CODED),
            {"file_size": 7},
            "in a coding that cannot be decoded: Content-Encoding compress",
        ),
        (sent_as("gzip", PLAIN), {}, "compressed though not asked for, and damaged"),
        (
            sent_as("gzip", EMPTY),
            {},
            "an empty answer in place of a .tif file",
        ),
        (gzipped(), {"file_size": PIECE}, "another size than in the catalog: 1048576 bytes"),
    ],
    ids=repr,
)
def test_what_is_no_file_fails_with_its_cause(
    kit: Kit, server: FaultServer, sent: Fault, about: dict[str, object], error: str
) -> None:
    server.put("/a.tif", PLAIN)
    server.always("/a.tif", sent)
    kit.want("/a.tif", **about)
    assert kit.errors(kit.run())["a.tif"].startswith(error)
    assert kit.partials() == []
    assert list(kit.files()) == []


def test_a_bomb_stops_at_the_size_in_the_catalog(kit: Kit, server: FaultServer) -> None:
    server.put("/a.tif", b"")
    server.always("/a.tif", sent_as("gzip", gzip.compress(bytes(20 * PIECE))))
    kit.want("/a.tif", file_size=2 * PIECE)
    assert "more than 2097152 bytes come out" in kit.errors(kit.run())["a.tif"]
    assert kit.partials() == []


def test_parts_of_coded_bodies_are_never_put_together(kit: Kit, server: FaultServer) -> None:
    plain = content("noise", 300_000)
    server.put("/a.tif", plain)
    server.script("/a.tif", Fault(gzip=True, cut=200_000), Fault(gzip=True, cut=250_000))
    server.always("/a.tif", gzipped())
    kit.want("/a.tif")
    assert kit.run().resumed == 0
    assert kit.final("/a.tif").read_bytes() == plain
    assert all("range" not in request.headers for request in server.requests)


def test_a_plain_part_and_a_coded_rest_are_never_put_together(
    kit: Kit, server: FaultServer
) -> None:
    server.put("/a.tif", PLAIN)
    server.script("/a.tif", truncate(200_000))
    server.always("/a.tif", gzipped())
    kit.want("/a.tif")
    assert kit.errors(kit.run()) == {}
    assert kit.final("/a.tif").read_bytes() == PLAIN
    assert [request.headers.get("range") for request in server.requests] == [
        None,
        f"bytes={200_000 - OVERLAP}-",
        None,
    ]
