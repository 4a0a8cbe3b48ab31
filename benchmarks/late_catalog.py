"""A static catalog that is made up as it is asked for, each answer late: a server in a process."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import urllib.request
from types import TracebackType
from typing import Any, Self

from mlhub_core.net.clients import is_loopback

_PER_COLLECTION = 1000
_ETAG = b'ETag: "1"\r\n'
_BANDS = ("B02", "B03", "B04", "B08")


def document(path: str, items: int) -> dict[str, Any]:
    """The document at a path of a catalog of so many items."""
    *_, last = parts = path.strip("/").split("/")
    about = {"stac_version": "1.0.0", "description": "made up"}
    if last == "catalog.json":
        numbers = range((items - 1) // _PER_COLLECTION + 1)
        links = [{"rel": "child", "href": f"./c{number}/collection.json"} for number in numbers]
        return {"type": "Catalog", "id": "late", **about, "links": links}
    if last == "collection.json":
        first = int(parts[0][1:]) * _PER_COLLECTION
        numbers = range(first, min(items, first + _PER_COLLECTION))
        links = [{"rel": "item", "href": f"./i{number}/i{number}.json"} for number in numbers]
        times = {"interval": [["2020-01-01T00:00:00Z", None]]}
        extent = {"spatial": {"bbox": [[0, 0, 1, 1]]}, "temporal": times}
        about |= {"license": "CC0-1.0"}
        return {"type": "Collection", "id": parts[0], **about, "extent": extent, "links": links}
    number = int(parts[1][1:])
    x, y = number % 180, number % 80
    corners = [[x, y], [x + 1, y], [x + 1, y + 1], [x, y + 1], [x, y]]
    media_type = "image/tiff; application=geotiff; profile=cloud-optimized"
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": parts[1],
        "collection": parts[0],
        "geometry": {"type": "Polygon", "coordinates": [corners]},
        "bbox": [x, y, x + 1, y + 1],
        "properties": {"datetime": "2020-06-01T00:00:00Z", "eo:cloud_cover": number % 100},
        "links": [{"rel": "parent", "href": "../collection.json"}],
        "assets": {
            band: {"href": f"./{band}.tif", "type": media_type, "roles": ["data"]}
            for band in _BANDS
        },
    }


class _Answering(asyncio.Protocol):
    """A connection that is answered one request at a time, each so many seconds late."""

    requests = 0

    def __init__(self, items: int, late: float) -> None:
        self._items = items
        self._late = late
        self._came = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._came += data
        while b"\r\n\r\n" in self._came:
            head, self._came = self._came.split(b"\r\n\r\n", 1)
            path = head.split(b" ", 2)[1].decode()
            if path == "/requests":
                self._transport.write(_whole(str(_Answering.requests).encode()))
                continue
            _Answering.requests += 1
            answer = b"HTTP/1.1 304 Not Modified\r\n" + _ETAG + b"\r\n"
            if b"\r\nIf-None-Match:" not in head:
                answer = _whole(json.dumps(document(path, self._items)).encode())
            asyncio.get_running_loop().call_later(self._late, self._transport.write, answer)


def _whole(body: bytes) -> bytes:
    length = b"Content-Length: %d\r\n\r\n" % len(body)
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" + _ETAG + length + body


class LateCatalog:
    """The server; a context manager.

    Args:
        items: Of the catalog.
        milliseconds: That each answer is late by.
    """

    def __init__(self, items: int, milliseconds: float) -> None:
        self._words = [str(items), str(milliseconds)]

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", __name__, *self._words]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._root = f"http://127.0.0.1:{self._process.stdout.readline().strip()}"
        assert is_loopback(self._root)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    @property
    def url(self) -> str:
        """The root of the catalog."""
        return f"{self._root}/catalog.json"

    @property
    def requests(self) -> int:
        """Documents asked for so far."""
        with urllib.request.urlopen(f"{self._root}/requests") as response:
            return int(response.read())


async def _serve(items: int, milliseconds: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: _Answering(items, milliseconds / 1000), "127.0.0.1", 0, backlog=512
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), float(sys.argv[2])))
