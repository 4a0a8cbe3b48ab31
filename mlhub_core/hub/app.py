"""The API of MLHub over a :class:`~mlhub_core.hub.store.HubStore`, as an ASGI application.

The key is checked before anything is looked up, for everything below the root but what the real
API gives to anybody: the root, the lists of datasets, collections and models, and a collection.
Files lie outside the root; where there is a key, they need it or a link that the hub has signed.
"""

from __future__ import annotations

import hmac
import logging
import re
from collections.abc import Awaitable, Callable
from html import escape
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote, urlencode

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mlhub_core.exceptions import InvalidArgument, MLHubException
from mlhub_core.http_errors import EntityDoesNotExist
from mlhub_core.hub.files import FileApp, OncePerState
from mlhub_core.hub.signing import SignedCatalogs, Signer
from mlhub_core.hub.store import MAX_LIMIT, HubStore, ItemIndex, read_page
from mlhub_core.redact import HIDDEN

logger = logging.getLogger(__name__)

ROOT_PATH = "/mlhub/v1/"
FILES_PATH = "/files/"
DEFAULT_LIMIT = 30

_OPEN_PATH = re.compile(re.escape(ROOT_PATH) + r"(datasets|collections(/[^/]+)?|models)?")
_ANY_ROOT = re.compile(r"https?://[^/]+/mlhub/v1/")
_NO_KEY = "Must provide API key or Bearer token to access this route."

_PAGE = Path(__file__).with_name("page.html")


def create_app(store: HubStore, api_key: str | None = None) -> ASGIApp:
    """Make the application.

    Args:
        store: What to serve.
        api_key: The key that clients must send; None or empty lets everybody in.
    """
    return _Hub(store, api_key or None)


class _Hub:
    """Files, the check of the key and the log line, around the API's routes.

    Files do not pass through the routes: a download is thousands of requests for them.
    """

    def __init__(self, store: HubStore, api_key: str | None) -> None:
        self._api_key = None if api_key is None else api_key.encode()
        self._signer = None if api_key is None else Signer(api_key.encode(), FILES_PATH)
        signed = SignedCatalogs(self._signer.sign_links) if self._signer else None
        folders = {name: store.directory / name for name in ("assets", "catalogs", "archives")}
        if signed is not None:
            folders["signed"] = signed.directory
        digested = frozenset(folders) - {"assets"}
        self._files = FileApp(FILES_PATH, folders, digested)
        self._api = _Api(store, self._signer, signed).application()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._api(scope, receive, send)
        shown, scope = scope, _own_query(scope)
        if logger.isEnabledFor(logging.DEBUG):
            send = _logged(shown, send)
        path: str = scope["path"]
        if not self._allows(path, scope):
            await _json({"detail": _NO_KEY}, 401)(scope, receive, send)
        elif path.startswith(FILES_PATH):
            await self._files(scope, receive, send)
        else:
            await self._api(scope, receive, send)

    def _allows(self, path: str, scope: Scope) -> bool:
        if self._api_key is None or self._signer is None or _OPEN_PATH.fullmatch(path):
            return True
        if path.startswith(FILES_PATH):
            if self._signer.allows(path, scope["query_string"]):
                return True
        elif not path.startswith(ROOT_PATH):
            return True
        request = Request(scope)
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        offered = request.query_params.getlist("key")
        if scheme.lower() == "bearer":
            offered.append(token.strip())
        return any(hmac.compare_digest(key.encode(), self._api_key) for key in offered)


def _own_query(scope: Scope) -> Scope:
    """A copy of the scope for us, while the server's loses its secrets.

    Servers write the query into their access logs when the response starts, and whether they do
    is decided by whoever configures logging last.
    """
    ours = dict(scope)
    pairs = scope["query_string"].decode("latin-1").split("&")
    shown = "&".join(f"{pair.partition('=')[0]}={HIDDEN}" for pair in pairs if pair)
    scope["query_string"] = shown.encode("latin-1")
    return ours


def _logged(shown: Scope, send: Send) -> Send:
    """A ``send`` that writes a log line of the request; ``shown`` has no secrets in it."""

    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            query = shown["query_string"].decode("latin-1")
            target = f"{shown['path']}?{query}" if query else shown["path"]
            logger.debug("%s %s -> %d", shown["method"], target, message["status"])
        await send(message)

    return wrapped


class _Api:
    def __init__(
        self, store: HubStore, signer: Signer | None, catalogs: SignedCatalogs | None
    ) -> None:
        self._store = store
        self._signer = signer
        self._catalogs = catalogs
        self._indexes = OncePerState(ItemIndex)
        self._needs_key = signer is not None

    def application(self) -> Starlette:
        store = self._store
        found: dict[str, Callable[[str], Any]] = {
            "datasets/doi/{doi:path}": store.dataset_by_doi,
            "datasets/{dataset_id}": store.dataset,
            "collections/{collection_id}": store.collection,
            "catalog/{dataset_id}/info": store.catalog_info,
            "archive/{collection_id}/info": store.archive_info,
        }
        made = {
            "": self.root,
            "datasets": self.datasets,
            "collections": self.collections,
            "collections/{collection_id}/items": self.items,
            "collections/{collection_id}/items/{item_id}": self.item,
            "models": self.models,
            "models/{model_id}": self.model,
            "catalog/{dataset_id}": self.catalog,
            "archive/{collection_id}": self.archive,
        }
        routes = made | {path: self._looking_up(find) for path, find in found.items()}
        application = Starlette(
            routes=[
                Route("/", self.page),
                *(Route(ROOT_PATH + path, endpoint) for path, endpoint in routes.items()),
            ],
            exception_handlers={
                HTTPException: _on_error,
                MLHubException: _on_error,
                OSError: _on_error,
            },
        )
        # The redirect to the path without its slash would repeat the key in its Location.
        application.router.redirect_slashes = False
        return application

    def _looking_up(self, find: Callable[[str], Any]) -> Callable[[Request], Awaitable[Response]]:
        """A route that answers with what the store has of an id, none of it signed."""

        async def endpoint(request: Request) -> Response:
            [wanted] = request.path_params.values()
            return _json(_rebased(find(wanted), _root(request)))

        return endpoint

    async def page(self, request: Request) -> Response:
        return HTMLResponse(_render(self._store, _root(request), needs_key=self._needs_key))

    async def root(self, request: Request) -> Response:
        root = _root(request)
        names = ("datasets", "collections", "models")
        links = [_link(name, root + name) for name in names]
        return _json(
            {
                "type": "Catalog",
                "id": "mlhub",
                "stac_version": "1.0.0",
                "description": "The API of MLHub, served by mlhub-flows.",
                "links": [_link("root", root), _link("self", root), *links],
            }
        )

    async def datasets(self, request: Request) -> Response:
        query = request.query_params
        return _json(self._store.search(query.getlist("tags"), query.getlist("text")))

    async def collections(self, request: Request) -> Response:
        root = _root(request)
        found = [_rebased(entry, root) for entry in self._store.collections.values()]
        links = [_link("root", root), _link("parent", root), _link("self", f"{root}collections")]
        return _json({"collections": found, "links": links})

    def items(self, request: Request) -> Response:
        # Not async, so that it runs in a thread: it reads a file.
        collection_id = request.path_params["collection_id"]
        limit = _number(request, "limit", DEFAULT_LIMIT, 1, MAX_LIMIT)
        start = _number(request, "token", 0, 0, 2**62)
        path = self._store.items_file(collection_id)
        features, following = ([], None) if path is None else read_page(path, start, limit)
        root = _root(request)
        here = f"{root}collections/{quote(collection_id, safe='')}/items"
        links = [_link("root", root), _link("self", _page_url(here, limit, start))]
        if following is not None:
            links.append(_link("next", _page_url(here, limit, following), "application/geo+json"))
        return self._signed(
            {
                "type": "FeatureCollection",
                "features": [_rebased(feature, root) for feature in features],
                "links": links,
            }
        )

    async def item(self, request: Request) -> Response:
        collection_id = request.path_params["collection_id"]
        item_id = request.path_params["item_id"]
        path = self._store.items_file(collection_id)
        found = None if path is None else (await self._indexes.get(path)).find(item_id)
        if found is None:
            raise EntityDoesNotExist(f"Item {item_id} does not exist.", status=404)
        return self._signed(_rebased(found, _root(request)))

    def _signed(self, content: Any) -> Response:
        """JSON whose links to files are good without the key that the client has shown."""
        data = orjson.dumps(content)
        if self._signer is not None:
            data = self._signer.sign_links(data)
        return Response(data, media_type="application/json")

    async def models(self, request: Request) -> Response:
        root = _root(request)
        return _json([_rebased(model, root) for model in self._store.models.values()])

    async def model(self, request: Request) -> Response:
        found = self._store.model(request.path_params["model_id"])
        return self._signed(_rebased(found, _root(request)))

    async def catalog(self, request: Request) -> Response:
        path = self._store.catalog_file(request.path_params["dataset_id"])
        name = await self._catalogs.have(path) if self._catalogs is not None else None
        if name is not None:
            return self._see_other(request, "signed", name)
        return self._see_other(request, "catalogs", path.name)

    async def archive(self, request: Request) -> Response:
        path = self._store.archive_file(request.path_params["collection_id"])
        return self._see_other(request, "archives", path.name)

    def _see_other(self, request: Request, folder: str, name: str) -> Response:
        location = f"{_address(request)}{FILES_PATH}{folder}/{quote(name)}"
        if self._signer is not None:
            location = self._signer.sign(location)
        return Response(status_code=303, headers={"location": location})


def _json(content: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")


async def _on_error(request: Request, error: Exception) -> Response:
    """An error of ours as the API tells it; what is wrong with the hub itself is logged too."""
    if isinstance(error, HTTPException):
        response = _json({"detail": error.detail}, error.status_code)
        response.headers.update(error.headers or {})
        return response
    if isinstance(error, InvalidArgument):
        return _json({"detail": error.message}, 400)
    if isinstance(error, EntityDoesNotExist):
        return _json({"detail": error.message}, 404)
    logger.error("%s %s: %s", request.method, request.url.path, error)
    detail = error.message if isinstance(error, MLHubException) else "The hub's disk refuses."
    return _json({"detail": detail}, 500)


def _number(request: Request, name: str, default: int, least: int, most: int) -> int:
    # Clients repeat the parameters of the first page on the link to the next: the last one counts.
    values = request.query_params.getlist(name)
    if not values:
        return default
    text = values[-1]
    if re.fullmatch(r"[0-9]{1,19}", text) and least <= int(text) <= most:
        return int(text)
    raise InvalidArgument(f"{name} is {text[:40]!r}: use a number from {least} to {most}.")


def _address(request: Request) -> str:
    """Scheme, host and port as the client knows them."""
    return f"{request.url.scheme}://{request.url.netloc}"


def _root(request: Request) -> str:
    return _address(request) + ROOT_PATH


def _link(rel: str, href: str, media_type: str = "application/json") -> dict[str, str]:
    return {"rel": rel, "type": media_type, "href": href}


def _rebased(entry: dict[str, Any], root: str) -> dict[str, Any]:
    """A copy whose links below the root of any MLHub API lead below this one's.

    What was recorded elsewhere, or written before the port was known, names another host.
    """
    links = entry.get("links")
    if not isinstance(links, list):
        return entry
    return {**entry, "links": [_rebased_link(link, root) for link in links]}


def _rebased_link(link: Any, root: str) -> Any:
    href = link.get("href") if isinstance(link, dict) else None
    if not isinstance(href, str) or not (match := _ANY_ROOT.match(href)):
        return link
    return {**link, "href": root + href[match.end() :]}


def _page_url(url: str, limit: int, start: int) -> str:
    """The URL of a page of items; it never carries a key, whoever needs one adds it."""
    query = {"limit": limit, "token": start} if start else {"limit": limit}
    return f"{url}?{urlencode(query)}"


def export_lines(root_url: str, *, needs_key: bool) -> list[str]:
    """The two lines for a shell that point a client at a hub; a key is never among them.

    The reference client wants a key for a hub that needs none, too, and knows the profile without
    one as an argument only.
    """
    key = '"$MLHUB_SERVE_API_KEY"' if needs_key else "none"
    return [f"export MLHUB_ROOT_URL={root_url}", f"export MLHUB_API_KEY={key}"]


def _render(store: HubStore, root_url: str, *, needs_key: bool) -> str:
    """The page as HTML.

    Args:
        store: What the hub has.
        root_url: The root of its API.
        needs_key: Whether it wants a key.
    """
    datasets = "\n".join(
        f"<li><code>{escape(key)}</code> {escape(str(dataset.get('title') or ''))}"
        for key, dataset in store.datasets.items()
    )
    exports = escape("\n".join(export_lines(root_url, needs_key=needs_key)))
    hint = "<p>MLHUB_SERVE_API_KEY is the key of this hub.</p>\n" if needs_key else ""
    page = Template(_PAGE.read_text(encoding="utf-8"))
    return page.substitute(datasets=datasets or "<li>none", exports=exports, hint=hint)
