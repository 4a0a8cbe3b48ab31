"""The paging through a STAC API: each page stored, with how to ask for the next one."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, replace
from typing import Any
from urllib.parse import quote, urljoin

from mlhub_core.http_errors import (
    AnswerTooLarge,
    APIError,
    EntityDoesNotExist,
    HubTimeout,
    HubUnreachable,
)
from mlhub_core.progress import Progress, ProgressSink, Stage
from mlhub_core.redact import redact_url
from mlhub_core.sources.api_pages import Api, Ask, Json, Page, smaller_page
from mlhub_core.sources.api_query import Query, fewer, smaller
from mlhub_core.sources.document_store import DocumentStore, Fetched
from mlhub_core.sources.documents import as_json
from mlhub_core.threads import StopFlag

log = logging.getLogger(__name__)

_REFUSALS = frozenset({400, 405, 413, 414, 422, 431, 500, 501, 502, 504})
"""What is answered to a search that is too much, or not understood."""
_TOO_MUCH = frozenset({413, 500, 502, 504, 507})
_GONE = frozenset({400, 401, 403, 404, 410, 422})
"""What is answered to a link that was good once."""
_MAX_REPEATS = 3
"""Pages in a row on which nothing is new."""
_MAX_EMPTY = 100
"""Empty pages in a row: some servers filter what is on a page after they have cut it."""
_MAX_RESTARTS = 3


def key_of(query: Query, source: str) -> str:
    """What is harvested: what is asked for makes it another catalog, how many at a time does not.

    Args:
        query: What is asked for.
        source: What the documents are of.
    """
    return json.dumps({**asdict(query), "limit": 0, "source": source}, sort_keys=True)


class Harvest:
    """The paging through an API, from wherever an earlier one was broken off.

    Args:
        api: The API.
        store: Where documents go.
        query: What is asked for.
        source: What the documents are of.
        stop: Ends the work early.
        on_progress: Told the bytes so far.
    """

    def __init__(
        self,
        api: Api,
        store: DocumentStore,
        query: Query,
        source: str,
        stop: StopFlag,
        on_progress: ProgressSink,
    ) -> None:
        self._api = api
        self._store = store
        self._query = query
        self._stop = stop
        self._on_progress = on_progress
        # Where there is no search over all collections, the items of one after the other.
        self._places: tuple[str | None, ...] = (None,) if api.can.searches else query.collections
        self._key = key_of(query, source)
        self._collections: list[Json] = []
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._at = 0
        self._ask = self._api.first(self._query, self._places[0])
        self._is_continued = False
        self._is_first = True
        self._given = 0
        self._others = len(self._collections)  # documents that are no items
        self._matched: int | None = 0
        self._asked: set[int] = set()
        self._repeats = self._empty = self._restarts = 0

    @property
    def _items(self) -> int:
        return self._store.answered - self._others

    def run(self, collections: list[Json], *, anew: bool) -> None:
        """Read all pages that are not here."""
        self._collections = collections
        self._others = len(collections)
        if self._store.begin(self._key, anew=anew) and self._store.note:
            self._go_on()
        else:
            self._begin()
            said = self._query.describe()
            log.info("asked of the API: %s", said or "all items of the collections")
        while self._at < len(self._places):
            self._stop.check()
            self._take(self._page())
        self._compare()

    def _begin(self) -> None:
        self._store.add(map(self._collection, self._collections), note=self._note())

    def _collection(self, collection: Json) -> Fetched:
        url = self._api.collection_url(str(collection.get("id")))
        path = f"{quote(str(collection.get('id')), safe='')}/collection.json"
        return Fetched(url, as_json(collection).encode(), path, _self_url(collection, url))

    def _note(self) -> Json:
        """What to go on from."""
        return {
            "at": self._at,
            "ask": self._ask._asdict(),
            "given": self._given,
            "others": self._others,
            "matched": self._matched,
            "limit": self._query.limit,
            "is_first": self._is_first,
        }

    def _go_on(self) -> None:
        note = self._store.note
        try:
            self._at, self._given, self._others = note["at"], note["given"], note["others"]
            self._ask, self._matched = Ask(**note["ask"]), note["matched"]
            self._query = replace(self._query, limit=note["limit"])
            self._is_first = note["is_first"]
        except (KeyError, TypeError):  # of another version
            self._restart("what was noted of it cannot be read")
            return
        self._is_continued = not self._is_first
        log.info("going on behind %s items that are here", f"{self._items:,}")

    def _restart(self, why: str) -> None:
        restarts, query = self._restarts + 1, self._query
        if restarts > _MAX_RESTARTS:
            raise APIError(f"{redact_url(self._api.root)} cannot be read to its end: {why}.")
        log.warning("%s: %s; reading from the first page", redact_url(self._api.root), why)
        self._store.begin(self._key, anew=True)
        self._begin_anew()
        self._restarts, self._query = restarts, query
        self._begin()

    # Asking

    def _page(self) -> Page:
        """The next page; whatever it takes."""
        while True:
            try:
                page = self._api.page(self._ask)
                self._is_continued = False
                return page
            except (HubTimeout, AnswerTooLarge) as error:
                self._ask_for_less(error, is_too_much=True)
            except HubUnreachable as error:
                raise self._stopped(error) from error
            except APIError as error:
                if self._is_first and error.status in _REFUSALS:
                    return self._first_page(error)
                if self._is_continued and error.status in _GONE:
                    self._is_continued = False
                    self._restart(f"the page to go on from is no longer there ({error.status})")
                    continue
                too_much = error.status in _TOO_MUCH
                self._ask_for_less(error, is_too_much=too_much)

    def _ask_for_less(self, error: APIError | HubUnreachable, *, is_too_much: bool) -> None:
        """Ask for a page with fewer items on it, where that may help; else give up.

        Raises:
            APIError: if it may not.
        """
        less = smaller(self._query) if is_too_much else None
        if less is None:
            raise self._stopped(error) from error
        self._query = less
        ask = self._ask_again(less)
        if ask is None:
            self._restart(f"pages of fewer items are asked for, {less.limit} ({error})")
        else:
            log.info("asking for %d items a page", less.limit)
            self._ask = ask

    def _ask_again(self, query: Query) -> Ask | None:
        if self._is_first:
            return self._api.first(query, self._places[self._at])
        return smaller_page(self._ask, query.limit)

    def _first_page(self, error: APIError) -> Page:
        """Ask for less of what is refused, until it is not.

        Raises:
            APIError: the first refusal, if everything is refused.
        """
        instead = [*fewer(self._query, is_overloaded=(error.status or 0) >= 500)]
        if error.status == 405:
            if self._ask.method != "POST":
                raise error
            self._api.refuse_post()
            instead.insert(0, (self._query, ""))
        lacking: list[str] = []
        for query, lacks in instead:
            lacking += [lacks] if lacks else []
            self._ask = self._api.first(query, self._places[self._at])
            try:
                page = self._api.page(self._ask)
            except APIError as other:
                if other.status not in _REFUSALS:
                    raise
                continue
            self._query = query
            if lacking:
                log.warning(
                    "The API refuses a part of what is wanted (%s). It is asked without %s, which "
                    "is decided here.",
                    str(error).rstrip("."),
                    ", ".join(lacking),
                )
            return page
        raise error

    def _stopped(self, error: APIError | HubUnreachable) -> APIError | HubUnreachable:
        """The error that ends the run, with what is here by then."""
        if self._is_first and not self._items:
            return error
        told = str(error)
        if isinstance(error, APIError) and error.status == 405:
            told = (
                f"{redact_url(self._ask.url)} refuses the {self._ask.method} that the link to the "
                "next page asks for (405): the API links its pages by the wrong method, which "
                "whoever runs it has to mend."
            )
        of = "" if self._matched is None else f" of {self._matched:,}"
        # What is not there is no wrong argument now: the API itself linked it.
        kind = APIError if isinstance(error, EntityDoesNotExist) else type(error)
        return kind(
            f"{told} {self._items:,}{of} items are here; the same command goes on from there."
        )

    # Taking

    def _take(self, page: Page) -> None:
        """Store a page, and how to go on behind it."""
        if self._is_first:
            unknown = self._matched is None or page.matched is None
            self._matched = None if unknown else (self._matched or 0) + (page.matched or 0)
        fetched = [
            self._fetched(feature, number, page)
            for number, feature in enumerate(page.features, self._given)
        ]
        self._given += len(fetched)
        following = self._checked(page)
        self._is_first = following is None
        if following is None:
            self._at += 1
            if self._at < len(self._places):
                following = self._api.first(self._query, self._places[self._at])
        self._ask = following or self._ask
        before = self._store.answered
        self._store.add(fetched, note=self._note())
        new = self._store.answered - before
        self._empty = self._empty + 1 if not fetched else 0
        self._repeats = self._repeats + 1 if fetched and not new else 0
        self._on_progress(
            Progress(Stage.CATALOG, self._items, self._matched, bytes_done=self._store.size)
        )
        is_last = self._is_first
        if not is_last and (self._repeats >= _MAX_REPEATS or self._empty >= _MAX_EMPTY):
            self._end_circle()

    def _checked(self, page: Page) -> Ask | None:
        """How to ask for the page behind one, unless that has been asked for."""
        following = page.following
        if following is None:
            return None
        self._asked.add(hash(json.dumps(self._ask, sort_keys=True)))
        if hash(json.dumps(following, sort_keys=True)) not in self._asked:
            return following
        self._end_circle()
        return None

    def _end_circle(self) -> None:
        """End paging that would never end: well, if all is here.

        Raises:
            APIError: if that is not known.
        """
        if self._matched is None or self._items < self._matched:
            raise APIError(
                f"The pages of {redact_url(self._api.root)} lead in a circle, or on and on with "
                f"nothing new: {self._items:,} items came, and whether there are more cannot be "
                "told. Tell whoever runs the API."
            )
        log.warning("%s: its pages lead in a circle", redact_url(self._api.root))
        self._at = len(self._places)

    def _fetched(self, feature: Any, number: int, page: Page) -> Fetched:
        """An item as it is stored; it is called by its collection and id, whatever its links say.

        Args:
            feature: What is on the page.
            number: Of all that came.
            page: The page.
        """
        if not isinstance(feature, dict):
            feature = {"not an item": feature}
        item_id, collection = id_of(feature), scalar(feature.get("collection"))
        if collection is None:
            asked = self._query.collections
            collection = self._places[self._at] or (asked[0] if len(asked) == 1 else "uncollected")
            feature = {**feature, "collection": collection}
        folder = quote(collection, safe="")
        name = f"#{number}" if item_id is None else quote(item_id, safe="")
        url = f"{self._api.root}collections/{folder}/items/{name}"
        path = f"{folder}/{name}/{name}.json"
        return Fetched(url, as_json(feature).encode(), path, _self_url(feature, page.url))

    def _compare(self) -> None:
        """Say so where the API gave more or less than it said."""
        root = redact_url(self._api.root)
        repeated = self._given - self._items
        if repeated:
            log.warning("%s: %s items came more than once", root, f"{repeated:,}")
        if self._matched is None or self._matched == self._items:
            return
        said = f"the API said {self._matched:,} items and gave {self._items:,}"
        log.warning("%s: %s", root, said)
        if self._items < self._matched:
            lacks = self._matched - self._items
            url = f"{self._api.root}#matched"
            self._store.add([Fetched(url, None, root, problem=said, lacks=lacks)])


def _self_url(document: Json, base: str) -> str:
    """What relative hrefs of a document resolve against."""
    links = document.get("links")
    for link in links if isinstance(links, list) else ():
        if isinstance(link, dict) and link.get("rel") == "self":
            href = link.get("href")
            if isinstance(href, str) and href:
                base = href if "://" in href else urljoin(base, href)
            break
    return base.partition("?")[0].partition("#")[0]


def id_of(value: Json) -> str | None:
    """The id of an object; None where it has none."""
    return scalar(value.get("id"))


def scalar(value: Any) -> str | None:
    """An id, which some servers write as a number."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value) if str(value).strip() else None
