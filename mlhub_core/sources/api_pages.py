"""What a STAC API is asked, and what it answers: its landing page, collections, pages of items.

pystac-client knows how APIs are asked; every request goes through a session of ours, with its
time-outs, retries, proxies and caps, and without the hub's key.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qsl, quote, urlencode, urljoin, urlsplit

from pystac_client import Client, ItemSearch
from pystac_client.conformance import ConformanceClasses

from mlhub_core.exceptions import MLHubException
from mlhub_core.http_errors import APIError, EntityDoesNotExist, HubUnreachable
from mlhub_core.net.addresses import Gate
from mlhub_core.net.session import one_line
from mlhub_core.redact import redact
from mlhub_core.settings import ApiSettings
from mlhub_core.sources.api_query import Abilities, Query
from mlhub_core.sources.api_session import ApiIO, ApiSession
from mlhub_core.threads import StopFlag

_MAX_COLLECTION_PAGES = 1000
_QUERYABLES = "http://www.opengis.net/def/rel/ogc/1.0/queryables"
_NUMBERS = frozenset({"from", "offset", "page", "skip", "start", "startindex"})
"""Parameters that count items or pages."""

_NAME_IT = (
    "Name …/collections/ID of a STAC API, or its root and --collection; a static catalog below a "
    "directory that is called collections takes --source-type static."
)

Json = dict[str, Any]


class Ask(NamedTuple):
    """A request for a page: what a run goes on from.

    Attributes:
        url: Where to.
        method: ``GET`` or ``POST``.
        body: What a POST sends, as JSON; the parameters of a GET are in its URL.
        headers: What the API wants to be sent again.
    """

    url: str
    method: str = "GET"
    body: Json | None = None
    headers: dict[str, str] | None = None


class Page(NamedTuple):
    """A page of items.

    Attributes:
        url: Where it came from.
        features: What is on it.
        matched: How many there are on all pages, as the API says; None where it does not.
        following: How to ask for the next one; None on the last.
    """

    url: str
    features: list[Any]
    matched: int | None
    following: Ask | None


class Api:
    """A STAC API that is asked; a context manager.

    Args:
        root: Its root.
        stop: Ends the work early.
        settings: Time-outs and retries.
        gate: Decides about the addresses that it leads to; by its own when None.

    Attributes:
        root: Its root, with a slash at its end.
        landing: Its landing page.
        can: What it can do.

    Raises:
        MLHubException: if it cannot be asked, or is none.
    """

    def __init__(
        self,
        root: str,
        stop: StopFlag | None = None,
        settings: ApiSettings | None = None,
        gate: Gate | None = None,
    ) -> None:
        self.root = root
        self._stop = stop or StopFlag()
        self._session = ApiSession(root, stop, settings, gate)
        self._io = ApiIO(self._session)
        try:
            self.landing = self._landing()
            self.can = self._abilities()
        except BaseException:
            self._session.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def _landing(self) -> Json:
        page = self._root_page()
        links = page.get("links")
        if not isinstance(links, list) or page.get("type") in ("Collection", "Feature"):
            raise APIError(
                f"{redact(self.root)} is not the root of a STAC API: it answers with JSON that is "
                f"no landing page. {_NAME_IT}"
            )
        if "conformsTo" not in page:
            for href in _hrefs(page, "conformance"):
                found = self._read(Ask(self._absolute(self.root, href)))
                page["conformsTo"] = found.get("conformsTo")
        if not _texts(page.get("conformsTo")) and not _hrefs(page, "search", "data"):
            raise APIError(
                f"{redact(self.root)} is a catalog, but not of an API: it has no search and no "
                f"collections to be asked for. {_NAME_IT}"
            )
        return page

    def _root_page(self) -> Json:
        try:
            return self._read(Ask(self.root.rstrip("/")))
        except EntityDoesNotExist:  # some servers know it with the slash only
            pass
        try:
            return self._read(Ask(self.root))
        except EntityDoesNotExist as error:
            raise EntityDoesNotExist(
                f"{redact(self.root)} does not exist (404), and would be the root of the API. "
                f"{_NAME_IT}",
                response=error.response,
            ) from error

    def _abilities(self) -> Abilities:
        classes = _texts(self.landing.get("conformsTo"))
        # What else a landing page may be wrong about is of no use here.
        page = {"type": "Catalog", "id": "api", "description": "", "links": []}
        client = Client.from_dict({**page, "stac_version": "1.0.0", "conformsTo": classes})
        about_filters = {name.rpartition("/")[2] for name in classes}
        about_filters.discard("filter")  # of OGC's own: for the items of one collection
        if client.conforms_to(ConformanceClasses.FILTER) or "item-search#filter" in about_filters:
            about_filters.add("filter")
        methods = {
            link.get("method", "GET") for link in _links(self.landing) if link["rel"] == "search"
        }
        searches = bool(methods) or client.conforms_to(ConformanceClasses.ITEM_SEARCH)
        return Abilities(searches, "POST" in methods, frozenset(about_filters))

    def collection(self, collection_id: str) -> Json:
        """A collection.

        Raises:
            EntityDoesNotExist: if there is none of that id.
            APIError: if the answer is none.
        """
        found = self._read(Ask(self.collection_url(collection_id)))
        if "id" not in found or found.get("type") not in ("Collection", None):
            raise APIError(f"{redact(self.collection_url(collection_id))} is no collection.")
        return found

    def collection_url(self, collection_id: str) -> str:
        """The URL of a collection."""
        return f"{self.root}collections/{quote(collection_id, safe='')}"

    def collections(self) -> Iterator[Json]:
        """All collections.

        Raises:
            APIError: if the answer is not a page of them, or the pages lead in a circle.
        """
        hrefs = _hrefs(self.landing, "data") or ["collections"]
        ask: Ask | None = Ask(self._absolute(self.root, hrefs[0]))
        asked: list[Ask] = []
        while ask is not None:
            asked.append(ask)
            page = self._read(ask)
            found = page.get("collections")
            if not isinstance(found, list):
                raise APIError(f"{redact(ask.url)} did not answer with a page of collections.")
            yield from (one for one in found if isinstance(one, dict))
            ask = self._following(page, ask)
            if ask in asked or len(asked) > _MAX_COLLECTION_PAGES:
                raise APIError(f"The pages of {redact(self.root)}collections lead in a circle.")

    def queryables(self, collection_ids: tuple[str, ...]) -> list[str] | None:
        """Names of the properties that conditions may be about; None for any.

        Args:
            collection_ids: What is asked; of several, what all of them know is asked for.
        """
        url = f"{self.root}queryables"
        if len(collection_ids) == 1:
            url = f"{self.collection_url(collection_ids[0])}/queryables"
        elif hrefs := _hrefs(self.landing, _QUERYABLES):
            url = self._absolute(self.root, hrefs[0])
        try:
            found = self._read(Ask(url))
        except (APIError, HubUnreachable):
            return None  # it refuses what it does not know
        names = found.get("properties")
        if found.get("additionalProperties", True) is not False or not isinstance(names, dict):
            return None
        return [name.removeprefix("properties.") for name in names]

    def first(self, query: Query, collection_id: str | None = None) -> Ask:
        """How to ask for the first page.

        Args:
            query: What is asked for.
            collection_id: The one whose items are asked for, where there is no search.
        """
        method = query.method(self.can)
        parameters = query.parameters()
        url = self._search_url(method)
        if collection_id is not None:
            method, url = "GET", f"{self.collection_url(collection_id)}/items"
            parameters = {
                name: value
                for name, value in parameters.items()
                if name in ("limit", "bbox", "datetime")
            }
        search = ItemSearch(url, method=method, stac_io=self._io, **parameters)
        if method == "POST":
            body = {name: _listed(value) for name, value in search.get_parameters().items()}
            return Ask(url, method, body)
        return Ask(search.url_with_parameters())

    def refuse_post(self) -> None:
        """Ask by GET from now on, whatever the landing page says."""
        self.can = replace(self.can, posts=False)

    def _search_url(self, method: str) -> str:
        for link in _links(self.landing):
            if link["rel"] == "search" and link.get("method", "GET") == method:
                return self._absolute(self.root, link["href"])
        return f"{self.root}search"

    def page(self, ask: Ask) -> Page:
        """Ask for a page of items; one that is something else is asked for again.

        Raises:
            MLHubException: if it cannot be had.
        """
        found = self._read(ask, is_page=True)
        return Page(ask.url, found["features"], _matched(found), self._following(found, ask))

    def _read(self, ask: Ask, *, is_page: bool = False) -> Json:
        attempt = 0
        while True:
            attempt += 1
            self._stop.check()
            try:
                found = self._io.read_json(
                    ask.url, method=ask.method, headers=ask.headers, parameters=ask.body
                )
                problem = _problem(found, is_page)
            except ValueError as error:
                if isinstance(error, MLHubException):
                    raise
                problem = f"something that is not JSON ({one_line(error)})"
            if not problem:
                return dict(found)
            if attempt >= self._session.settings.max_attempts:
                raise APIError(
                    f"{redact(ask.url)} answers with {problem}: is this the URL of a STAC API, and "
                    "of nothing before it that wants a login?"
                )
            self._session.wait(attempt)

    def _following(self, page: Json, ask: Ask) -> Ask | None:
        """How to ask for the page behind one.

        Raises:
            APIError: if its link is none that can be followed.
        """
        link = next((one for one in _links(page) if one["rel"] == "next"), None)
        if link is None:
            return None
        method = str(link.get("method", "GET")).upper()
        if method not in ("GET", "POST"):
            raise APIError(f"{redact(ask.url)} has a next page that is asked for by {method[:20]}.")
        url = self._absolute(ask.url, link["href"])
        headers = {name: str(value) for name, value in _object(link.get("headers")).items()}
        # Without a body of its own, the address says all that differs.
        body = _object(link.get("body", ask.body))
        if link.get("merge") is True:
            headers, body = {**(ask.headers or {}), **headers}, {**(ask.body or {}), **body}
        if urlsplit(url).netloc != urlsplit(ask.url).netloc:
            headers = {}  # what an API wants to be told is nobody else's
        return Ask(url, method, body if method == "POST" else None, headers or None)

    def _absolute(self, base: str, href: str) -> str:
        """The URL of a link.

        Behind a proxy, servers often do not know that they are asked by https: what is on the same
        host is asked for by https all the same.

        Raises:
            APIError: if it is none, or leads from https to http elsewhere.
        """
        try:
            url = urljoin(base, href)
            before, after = urlsplit(base), urlsplit(url)
        except ValueError as error:
            raise APIError(f"{redact(base)} has a link that is no URL: {redact(href)}.") from error
        if after.scheme not in ("http", "https") or not after.hostname:
            raise APIError(f"{redact(base)} has a link that is no URL: {redact(href)}.")
        if before.scheme == "https" and after.scheme == "http":
            if after.hostname != before.hostname or after.port not in (None, 80):
                raise APIError(
                    f"{redact(base)} links {redact(url)}, from https to http, which is not "
                    "followed. Tell whoever runs the API."
                )
            return after._replace(scheme="https", netloc=before.netloc).geturl()
        return url


def smaller_page(ask: Ask, limit: int) -> Ask | None:
    """The same page with fewer items on it.

    Returns:
        How to ask for it; None where pages are numbered, or nobody knows: others would be skipped.
    """
    if ask.body is not None:
        if "limit" not in ask.body or _is_numbered(ask.body):
            return None
        return ask._replace(body={**ask.body, "limit": limit})
    parts = urlsplit(ask.url)
    pairs = dict(parse_qsl(parts.query, keep_blank_values=True))
    if "limit" not in pairs or _is_numbered(pairs):
        return None
    return ask._replace(url=parts._replace(query=urlencode({**pairs, "limit": limit})).geturl())


def _is_numbered(parameters: Collection[str]) -> bool:
    return not _NUMBERS.isdisjoint(name.lower() for name in parameters)


def _problem(found: Any, is_page: bool) -> str:
    """What is wrong with an answer; empty for nothing."""
    if not isinstance(found, dict):
        return "JSON that is no object"
    if is_page and not isinstance(found.get("features"), list):
        return "JSON that is not a page of items"
    return ""


def _matched(page: Json) -> int | None:
    for found in (page.get("numberMatched"), _object(page.get("context")).get("matched")):
        if isinstance(found, int) and not isinstance(found, bool) and found >= 0:
            return found
    return None


def _links(page: Json) -> list[Json]:
    """The links of a page that can be ones."""
    links = page.get("links")
    return [
        link
        for link in (links if isinstance(links, list) else ())
        if isinstance(link, dict) and all(_is_text(link.get(name)) for name in ("rel", "href"))
    ]


def _hrefs(page: Json, *relations: str) -> list[str]:
    return [link["href"] for link in _links(page) if link["rel"] in relations]


def _texts(value: Any) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _object(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
