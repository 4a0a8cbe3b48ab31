"""What the hub says in bytes that are no HTTP, or that do not say where they end."""

from __future__ import annotations

import gzip
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlhub_core.exceptions import APIError, FetchError, HubUnreachable, MLHubException
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.net.fetch import FetchedFile, FileFetcher
from mlhub_core.session import Session
from mlhub_core.settings import ApiSettings
from tests.faultserver import Fault, FaultServer, truncate
from tests.transfer.test_wire import answer, wild

QUICK = ApiSettings(read_timeout=30, backoff_base=0.001, retry_after_cap=0.01, max_attempts=2)
JSON = b'{"a": 1}'
LENGTH = f"Content-Length: {len(JSON)}"
FRAMES = b"8\r\n" + JSON + b"\r\n0\r\n\r\n"
FRAMED = f"Content-Length: {len(FRAMES)}"
ARCHIVE = gzip.compress(bytes(range(256)) * 5000, mtime=0)


@pytest.fixture(autouse=True)
def _another_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLHUB_ROOT_URL", "http://127.0.0.1:9/")


def put(server: FaultServer, raw: bytes) -> str:
    server.put("/it", JSON)
    server.always("/it", Fault(raw=raw))
    return server.url("/it")


def get(url: str) -> object:
    with Session(settings=QUICK) as session:
        return session.get_json(url)


def fetch(url: str, place: Path) -> FetchedFile:
    with Session(settings=QUICK) as session:
        fetcher = FileFetcher(session, url, place / "it.tar.gz", place / "state")
        return fetcher.run(DownloadIfExistsOpts.resume)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (answer(LENGTH, begin="ICY 200 OK", body=JSON), "ICY 200 OK"),
        (answer(LENGTH, begin="HTTP/1.1 " + "2" * 5000, body=JSON), "HTTP/1.1 222"),
        (answer(LENGTH, begin="HTTP/2 200", body=JSON), "HTTP/2"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH-2.0"),
        (bytes(range(256)), "BadStatusLine"),
        (answer(LENGTH, "Content-Length: 9", body=JSON), "unmatching"),
        (answer("Content-Length: -8", body=JSON), "an impossible Content-Length"),
        (answer("Content-Length: " + "9" * 5000, body=JSON), "an impossible Content-Length"),
        (
            answer("Transfer-Encoding: xchunked", FRAMED, body=FRAMES),
            "an unknown Transfer-Encoding",
        ),
        (answer("Transfer-Encoding : chunked", FRAMED, body=FRAMES), "without a colon"),
        (answer(LENGTH, *["X: y"] * 200, body=JSON), "more than 100 headers"),
        (answer("Transfer-Encoding: chunked", body=b"-8\r\n" + JSON), "a chunk of less than"),
    ],
    ids=lambda value: repr(value[:60]),
)
def test_it_is_named_for_what_it_is(
    server: FaultServer, tmp_path: Path, raw: bytes, why: str
) -> None:
    url = put(server, raw)
    with pytest.raises(HubUnreachable, match="answers in bytes that are not HTTP") as caught:
        get(url)
    assert why in str(caught.value)
    with pytest.raises((HubUnreachable, FetchError), match=r"not HTTP|less than nothing"):
        fetch(url, tmp_path)
    assert not (tmp_path / "it.tar.gz").exists()


def test_a_head_that_breaks_off_is_no_empty_answer(server: FaultServer, tmp_path: Path) -> None:
    url = put(server, b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
    with pytest.raises(HubUnreachable, match="broken off within its header"):
        get(url)
    with pytest.raises(HubUnreachable, match="broken off within its header"):
        fetch(url, tmp_path)


@pytest.mark.parametrize(
    "location",
    ["ftp://x/y", "file:///etc/passwd", "http://[::1", "http://h:99999999/", "/\xff"],
)
def test_a_redirect_to_nowhere_is_called_one(server: FaultServer, location: str) -> None:
    raw = answer(f"Location: {location}", "Content-Length: 0", begin="HTTP/1.1 302 X", body=b"")
    with pytest.raises(APIError, match="a redirect that cannot be followed"):
        get(put(server, raw))


@pytest.mark.parametrize("status", ["204 No", "206 Partial", "302 Found", "304 Not Modified"])
def test_an_answer_that_nobody_asked_for_is_no_archive(
    server: FaultServer, tmp_path: Path, status: str
) -> None:
    url = put(server, answer("Content-Length: 0", begin=f"HTTP/1.1 {status}", body=b""))
    with pytest.raises(FetchError, match=f"it answered {status[:3]}"):
        fetch(url, tmp_path)


@pytest.mark.parametrize("coding", ["aws-chunked", "utf-8", "none", "", "identity, identity"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_content_encoding_that_is_none(
    server: FaultServer, tmp_path: Path, coding: str, packed: bool
) -> None:
    coding = f"{coding}, gzip" if packed else coding
    body = gzip.compress(JSON) if packed else JSON
    fields = f"Content-Length: {len(body)}", f"Content-Encoding: {coding}"
    assert get(put(server, answer(*fields, body=body))) == json.loads(JSON)
    body = gzip.compress(ARCHIVE) if packed else ARCHIVE
    fields = f"Content-Length: {len(body)}", f"Content-Encoding: {coding}"
    assert fetch(put(server, answer(*fields, body=body)), tmp_path).path.read_bytes() == ARCHIVE


@pytest.mark.parametrize("coding", ["br", "compress", "gzip, gzip"])
def test_a_coding_that_is_not_decoded_is_named(
    server: FaultServer, tmp_path: Path, coding: str
) -> None:
    url = put(server, answer(LENGTH, f"Content-Encoding: {coding}", body=JSON))
    with pytest.raises(APIError, match=f"nobody asked for: {coding}"):
        get(url)
    with pytest.raises(FetchError, match=f"not decoded here: {coding}"):
        fetch(url, tmp_path)


@settings(max_examples=20)
@given(wild(), st.booleans())
def test_whatever_the_hub_sends_is_an_answer_or_an_error_of_ours(raw: bytes, resumes: bool) -> None:
    with tempfile.TemporaryDirectory() as directory, FaultServer() as server:
        place = Path(directory)
        url = put(server, raw)
        server.put("/it", ARCHIVE)
        errors = []
        for ask in (lambda: get(url), lambda: fetch(url, place)):
            try:
                ask()
            except MLHubException as error:
                errors.append(str(error))
            if resumes:
                server.script("/it", truncate(len(ARCHIVE) // 2))
        assert not any("\n" in error for error in errors)
        assert (place / "it.tar.gz").exists() or errors
