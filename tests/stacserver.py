"""A STAC API on the loopback interface that is good until a test has it misbehave.

::

    with StacServer() as api:
        api.add(item("a", {"image": api.data("a.tif", b"...")}))
        api.script("/search", Fault(status=500))    # the next answers to searches, one each
        main(["download", api.url("/collections/pictures")])
        assert api.pages() == [...]
"""

from __future__ import annotations

import base64
import json
import threading
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import cql2

from mlhub_core.index.datetimes import microseconds
from mlhub_core.selection.cql2 import parse_where

Json = dict[str, Any]

CLASSES = (
    "https://api.stacspec.org/v1.0.0/core",
    "https://api.stacspec.org/v1.0.0/collections",
    "https://api.stacspec.org/v1.0.0/ogcapi-features",
    "https://api.stacspec.org/v1.0.0/item-search",
)
FILTERS = (
    "https://api.stacspec.org/v1.0.0/item-search#filter",
    "http://www.opengis.net/spec/cql2/1.0/conf/basic-cql2",
    "http://www.opengis.net/spec/cql2/1.0/conf/cql2-json",
    "http://www.opengis.net/spec/cql2/1.0/conf/cql2-text",
)


@dataclass(frozen=True)
class Fault:
    """How one answer differs from a good one."""

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    cut: int | None = None  # bytes of the body that are sent, of those that are promised
    then: Callable[[], None] | None = None  # called in place of an answer


HTML = Fault(headers={"Content-Type": "text/html"}, body=b"<!doctype html><title>Log in</title>")


@dataclass(frozen=True)
class Asked:
    """A request."""

    method: str
    path: str
    query: Json
    body: Json | None
    headers: dict[str, str]


class StacServer:
    """The server; a context manager. All attributes may be set.

    Attributes:
        collections: By id.
        items: In the order of the pages.
        requests: All requests so far, in order.
        classes: Conformance classes.
        methods: Of the search.
        most: Items per page at most; a larger limit counts as this.
        refuses: Parameters of a search that are answered with 400.
        matched: What is said of how many there are; a function of how many there are.
        next_link: Changes the link to the next page, given the token, where it stands.
        login: ``name:password`` that is wanted.
    """

    def __init__(self) -> None:
        self.collections: dict[str, Json] = {}
        self.items: list[Json] = []
        self.files: dict[str, bytes] = {}
        self.requests: list[Asked] = []
        self.classes: tuple[str, ...] = CLASSES
        self.methods: tuple[str, ...] = ("GET", "POST")
        self.most = 2
        self.refuses: frozenset[str] = frozenset()
        self.matched: Callable[[int], int | None] = lambda count: count
        self.next_link: Callable[[Json, int], Json | None] = lambda link, token: link
        self.login: str | None = None
        self._scripts: dict[str, deque[Fault | None]] = defaultdict(deque)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.root = f"http://127.0.0.1:{self._server.server_address[1]}/"

    def __enter__(self) -> StacServer:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    # What tests say

    def url(self, path: str) -> str:
        return self.root + path.lstrip("/")

    def data(self, name: str, content: bytes) -> str:
        """A file; its URL."""
        self.files[f"/data/{name}"] = content
        return self.url(f"/data/{name}")

    def add(self, *documents: Json) -> None:
        for document in documents:
            if document.get("type") == "Collection":
                self.collections[document["id"]] = document
            else:
                self.items.append(document)

    def script(self, path: str, *fault: Fault | None) -> None:
        """What the next answers at a path are like, one each; None for a good one."""
        self._scripts[path].extend(fault)

    def pages(self, path: str = "/search") -> list[int]:
        """Pages that were asked for, by the place of their first item."""
        asked = [one for one in self.requests if one.path == path]
        return [int((one.body or one.query).get("token", 0)) for one in asked]

    def asked(self, path: str) -> list[Asked]:
        return [one for one in self.requests if one.path == path]

    # Answers

    def answer(self, asked: Asked) -> tuple[int, Any]:
        parts = asked.path.strip("/").split("/")
        if asked.path == "/":
            return 200, self._landing()
        if asked.path in self.files:
            return 200, self.files[asked.path]
        if asked.path == "/search":
            return self._search(asked, asked.body if asked.method == "POST" else asked.query)
        if parts == ["collections"]:
            return 200, {"collections": list(self.collections.values()), "links": []}
        if parts[0] != "collections" or parts[1] not in self.collections:
            return 404, {"detail": "not here"}
        if len(parts) == 2:
            return 200, self.collections[parts[1]]
        if parts[2:] == ["items"]:
            return self._search(asked, {**asked.query, "collections": parts[1]})
        return 404, {"detail": "not here"}

    def _landing(self) -> Json:
        links = [{"rel": "data", "href": self.url("/collections")}]
        if any(name.endswith("/item-search") for name in self.classes):
            links += [
                {"rel": "search", "href": self.url("/search"), "method": method}
                for method in self.methods
            ]
        return {
            "type": "Catalog",
            "id": "pictures-api",
            "title": "All our pictures",
            "description": "",
            "stac_version": "1.0.0",
            "conformsTo": list(self.classes),
            "links": links,
        }

    def _search(self, asked: Asked, given: Json | None) -> tuple[int, Any]:
        given = given or {}
        refused = self.refuses & set(given)
        if refused:
            return 400, {"detail": f"no {min(refused)}"}
        if asked.path == "/search" and asked.method not in self.methods:
            return 405, {"detail": "Method Not Allowed"}
        found = [item for item in self.items if _is_wanted(item, given)]
        at = int(given.get("token", 0))
        end = at + min(int(given.get("limit", 10)), self.most)
        page: Json = {"type": "FeatureCollection", "features": found[at:end], "links": []}
        matched = self.matched(len(found))
        if matched is not None:
            page["numberMatched"] = matched
        if end < len(found):
            link: Json = {"rel": "next", "method": asked.method, "href": self.url(asked.path)}
            if asked.method == "POST":
                link["body"] = {**given, "token": end}
            else:
                link["href"] += "?" + urlencode({**asked.query, "token": end})
            changed = self.next_link(link, end)
            page["links"] += [changed] if changed else []
        return 200, page

    def fault(self, path: str) -> Fault | None:
        script = self._scripts[path]
        return script.popleft() if script else None


def _is_wanted(item: Json, given: Json) -> bool:
    if not isinstance(item, dict) or "properties" not in item:
        return True
    for name, own in (("collections", item.get("collection")), ("ids", item["id"])):
        listed = given.get(name)
        listed = listed.split(",") if isinstance(listed, str) else listed
        if listed and own not in listed:
            return False
    return (
        _is_in_time(item, given.get("datetime"))
        and _is_in_box(item, given.get("bbox"))
        and _fulfils(item, given.get("filter"))
    )


def _is_in_time(item: Json, wanted: str | None) -> bool:
    if wanted is None:
        return True
    moment = microseconds(item["properties"]["datetime"] or "")
    start, _, end = wanted.partition("/")
    first, last = (None if one == ".." else microseconds(one) for one in (start, end))
    return (
        moment is not None
        and (first is None or moment >= first)
        and (last is None or moment <= last)
    )


def _is_in_box(item: Json, wanted: Any) -> bool:
    if wanted is None:
        return True
    west, south, east, north = (
        map(float, wanted.split(",")) if isinstance(wanted, str) else map(float, wanted)
    )
    x, y = item["geometry"]["coordinates"]
    return bool(west <= x <= east and south <= y <= north)


def _fulfils(item: Json, condition: Any) -> bool:
    if condition is None:
        return True
    text = condition if isinstance(condition, str) else cql2.Expr(condition).to_text()
    return parse_where(text).holds({"id": item["id"], **item["properties"]}) is True


def _handler(api: StacServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._serve(None)

        def do_POST(self) -> None:
            self._serve(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

        def _serve(self, body: Json | None) -> None:
            parts = urlsplit(self.path)
            query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.command, parts.path, query, body, headers)
            api.requests.append(asked)
            fault = api.fault(parts.path) or Fault()
            if fault.then is not None:
                fault.then()
                self.close_connection = True
                return
            status, content = self._allowed(asked) or api.answer(asked)
            sent = content if isinstance(content, bytes) else json.dumps(content).encode()
            sent = sent if fault.body is None else fault.body
            self.send_response(fault.status or status)
            for name, value in fault.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent[: fault.cut])
            self.close_connection = fault.cut is not None

        def _allowed(self, asked: Asked) -> tuple[int, Any] | None:
            if api.login is None:
                return None
            wanted = "Basic " + base64.b64encode(api.login.encode()).decode()
            if asked.headers.get("authorization") == wanted:
                return None
            return 401, {"detail": "who are you?"}

    return Handler


def self_link(api: StacServer, collection: str, item_id: str) -> Json:
    return {
        "rel": "self",
        "href": api.url(f"/collections/{collection}/items/{quote(item_id, safe='')}"),
    }
