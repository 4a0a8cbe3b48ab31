from __future__ import annotations

import asyncio
import base64
import hashlib
import http.client
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from mlhub_core.hub.files import CHUNK, FileApp
from mlhub_core.hub.server import HubServer

from .conftest import small_directory

DATA = random.Random(7).randbytes(3 * CHUNK + 11)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    root = small_directory(tmp_path_factory.mktemp("files"))
    (root / "assets" / "deep" / "er").mkdir(parents=True)
    (root / "assets" / "deep" / "er" / "data.bin").write_bytes(DATA)
    (root / "assets" / "small.bin").write_bytes(DATA[:1000])
    (root / "assets" / "empty.csv").write_bytes(b"")
    (root / "assets" / "ünï côdé %41+&.txt").write_bytes(b"odd name")
    (root / "catalogs" / "beta.tar.gz").write_bytes(DATA)
    with HubServer(root) as server:
        yield server


def raw(hub: HubServer, target: str, method: str = "GET", **headers: str) -> tuple[int, bytes]:
    """Send a path exactly as it is; other clients tidy it up first."""
    connection = http.client.HTTPConnection(urlsplit(hub.url).netloc, timeout=300)
    try:
        connection.putrequest(method, target)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, len(DATA) + 5), st.integers(0, len(DATA) + 5))
def test_any_range_is_that_part(
    hub: HubServer, session: requests.Session, first: int, last: int
) -> None:
    headers = {"Range": f"bytes={first}-{last}"}
    response = session.get(f"{hub.asset_base_url}/deep/er/data.bin", headers=headers)
    if last < first:
        assert (response.status_code, response.content) == (200, DATA)
    elif first >= len(DATA):
        assert response.status_code == 416
        assert response.headers["Content-Range"] == f"bytes */{len(DATA)}"
    else:
        last = min(last, len(DATA) - 1)
        assert response.status_code == 206
        assert response.content == DATA[first : last + 1]
        assert response.headers["Content-Range"] == f"bytes {first}-{last}/{len(DATA)}"
        assert response.headers["Content-Length"] == str(last - first + 1)


def test_a_whole_file_and_its_headers(hub: HubServer, session: requests.Session) -> None:
    url = f"{hub.asset_base_url}/deep/er/data.bin"
    whole = session.get(url, headers={"Accept-Encoding": "gzip, br"})
    assert whole.content == DATA
    assert whole.headers["Content-Length"] == str(len(DATA))
    assert whole.headers["Accept-Ranges"] == "bytes"
    assert whole.headers["Content-Type"] == "application/octet-stream"
    assert "Content-Encoding" not in whole.headers
    etag = whole.headers["ETag"]
    assert etag[0] == etag[-1] == '"'
    head = session.head(url)
    assert head.content == b""
    kept = ("Content-Length", "ETag", "Last-Modified", "Accept-Ranges", "Content-Type")
    assert [head.headers[name] for name in kept] == [whole.headers[name] for name in kept]
    assert session.get(url, headers={"If-None-Match": etag}).status_code == 304
    tail = session.get(url, headers={"Range": "bytes=-5", "If-Range": etag})
    assert (tail.status_code, tail.content) == (206, DATA[-5:])
    other = session.get(url, headers={"Range": "bytes=-5", "If-Range": '"other"'})
    assert (other.status_code, other.content) == (200, DATA)
    refused = session.get(url, headers={"If-Match": '"other"'})
    assert (refused.status_code, refused.content) == (412, b"")


def test_small_empty_and_oddly_named_files(hub: HubServer, session: requests.Session) -> None:
    assert session.get(f"{hub.asset_base_url}/small.bin").content == DATA[:1000]
    empty = session.get(f"{hub.asset_base_url}/empty.csv")
    assert (empty.status_code, empty.content) == (200, b"")
    assert empty.headers["Content-Length"] == "0"
    odd = session.get(f"{hub.asset_base_url}/%C3%BCn%C3%AF%20c%C3%B4d%C3%A9%20%2541+&.txt")
    assert odd.content == b"odd name"


def test_a_changed_file_gets_another_etag(hub: HubServer, session: requests.Session) -> None:
    path = hub.directory / "assets" / "changing.bin"
    path.write_bytes(b"one")
    url = f"{hub.asset_base_url}/changing.bin"
    first = session.get(url).headers["ETag"]
    path.write_bytes(b"two")
    os.utime(path, ns=(1, 1))
    again = session.get(url, headers={"Range": "bytes=1-", "If-Range": first})
    assert (again.status_code, again.content) == (200, b"two")
    assert again.headers["ETag"] != first


def test_archives_carry_a_digest(hub: HubServer, session: requests.Session) -> None:
    url = f"{hub.address}/files/catalogs/beta.tar.gz"
    digest = base64.b64encode(hashlib.md5(DATA).digest()).decode()
    assert session.get(url).headers["Content-MD5"] == digest
    assert session.head(url).headers["Content-MD5"] == digest
    part = session.get(url, headers={"Range": "bytes=0-9"})
    assert "Content-MD5" not in part.headers  # it would be that of ten bytes
    assert part.headers["x-ms-blob-content-md5"] == digest
    assert "Content-MD5" not in session.get(f"{hub.asset_base_url}/small.bin").headers
    (hub.directory / "catalogs" / "beta.tar.gz").write_bytes(b"another")
    other = base64.b64encode(hashlib.md5(b"another").digest()).decode()
    assert session.get(url).headers["Content-MD5"] == other


@pytest.mark.parametrize(
    "target",
    [
        "/files/assets/../secret.txt",
        "/files/assets/deep/../../secret.txt",
        "/files/assets/..%2fsecret.txt",
        "/files/assets/%2e%2e/secret.txt",
        "/files/assets/%2e%2e%2fsecret.txt",
        "/files/assets/..%5csecret.txt",
        "/files/assets/..\\secret.txt",
        "/files/assets//etc/passwd",
        "/files/assets/%2fetc/passwd",
        "/files/assets/deep%2fer/data.bin",
        "/files/assets/./small.bin",
        "/files/assets/small.bin/",
        "/files/assets/small.bin/x",
        "/files/assets/small.bin%00",
        "/files/assets/small.bin%00.tif",
        "/files/assets/%ff%fe",
        "/files/assets/" + "x" * 5000,
        "/files/assets/deep",
        "/files/assets/deep/",
        "/files/assets/",
        "/files/assets",
        "/files/",
        "/files/secret.txt",
        "/files/../secret.txt",
        "/files/datasets/all.json",
        "/files/items/alpha_source.jsonl",
        "/files/assets/nothing.tif",
    ],
)
def test_nothing_else_is_served(hub: HubServer, target: str) -> None:
    status, body = raw(hub, target)
    assert status == 404
    assert body.startswith(b'{"detail":')
    assert b"not for you" not in body


@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        st.sampled_from(["..", ".", "%2e%2e", "%2f", "/", "\\", "assets", "deep", "secret.txt"]),
        min_size=1,
        max_size=6,
    )
)
def test_no_mixture_of_dots_and_slashes_leads_out(hub: HubServer, parts: list[str]) -> None:
    for separator in ("/", ""):
        target = "/files/assets/" + separator.join(parts)
        assert b"not for you" not in raw(hub, target)[1]


@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links need a privilege there")
def test_links_must_stay_inside(hub: HubServer) -> None:
    assets = hub.directory / "assets"
    (assets / "out.txt").symlink_to(hub.directory / "secret.txt")
    (assets / "updir").symlink_to(hub.directory)
    (assets / "in.bin").symlink_to(assets / "small.bin")
    (assets / "loop").symlink_to(assets / "loop")
    assert raw(hub, "/files/assets/out.txt")[0] == 404
    assert raw(hub, "/files/assets/updir/secret.txt")[0] == 404
    assert raw(hub, "/files/assets/updir/assets/small.bin") == (200, DATA[:1000])
    assert raw(hub, "/files/assets/in.bin") == (200, DATA[:1000])
    assert raw(hub, "/files/assets/loop")[0] == 404


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_a_named_pipe_does_not_stop_the_hub(hub: HubServer) -> None:
    os.mkfifo(hub.directory / "assets" / "pipe")
    assert raw(hub, "/files/assets/pipe")[0] == 404


def test_other_methods_are_refused(hub: HubServer) -> None:
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert raw(hub, "/files/assets/small.bin", method)[0] == 405


# -- what a client on the wire cannot time: driven through the ASGI interface ------------------


def call(app: FileApp, target: str, *, gone: bool = False, on_start: Any = None) -> list[Any]:
    """Call the application once; the messages it sent."""
    sent: list[Any] = []

    async def receive() -> Any:
        if not gone:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)
        if on_start and message["type"] == "http.response.start":
            on_start()

    scope = {"type": "http", "method": "GET", "path": target, "headers": []}
    asyncio.run(app(scope, receive, send))
    return sent


def test_nobody_reads_on_for_a_client_that_has_gone(tmp_path: Path) -> None:
    with (tmp_path / "long").open("wb") as file:
        file.truncate(40 * CHUNK)
    app = FileApp("/files/", {"assets": tmp_path})
    present = call(app, "/files/assets/long")
    assert sum(len(message.get("body", b"")) for message in present) == 40 * CHUNK
    absent = call(app, "/files/assets/long", gone=True)
    assert sum(len(message.get("body", b"")) for message in absent) <= 2 * CHUNK


@pytest.mark.parametrize("size", [1000, 3 * CHUNK])
def test_a_file_that_shrinks_is_broken_off(
    tmp_path: Path, size: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "shrinks"
    path.write_bytes(b"x" * size)
    app = FileApp("/files/", {"assets": tmp_path})
    sent = call(app, "/files/assets/shrinks", on_start=lambda: os.truncate(path, 10))
    assert all(message.get("more_body") for message in sent[1:])
    assert "became shorter" in caplog.text
