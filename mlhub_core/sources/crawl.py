"""A crawl: the documents of a catalog by URL, found by their links, as many at a time as may be.

What is still to be asked for lies in the document store, and so do the answers, a hundredth of a
second after they came. So memory does not grow with the catalog, a crawl that was killed goes on
where it was, and documents of an earlier crawl are asked for by their validators: of what
has not changed no body comes.

Each URL is asked for once, so circles end. Links are followed to any host, as PySTAC follows them;
what they lead to is bounded by the caps of :class:`~mlhub_core.settings.ArchiveLimits`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import chain
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

from mlhub_core.exceptions import ArchiveLimitExceeded, InvalidArgument
from mlhub_core.json_text import parse_json
from mlhub_core.net.documents import Answer, DocumentRequest, document_url
from mlhub_core.net.http import Loop
from mlhub_core.net.limits import limits_for
from mlhub_core.paths import https_url
from mlhub_core.progress import Progress, Stage
from mlhub_core.settings import TransferSettings
from mlhub_core.sources.document_store import DocumentStore, Fetched, Pending
from mlhub_core.sources.documents import Document, JsonObject, Kind, parse_document
from mlhub_core.sources.members import BEYOND, shown
from mlhub_core.sources.mirrors import is_table, mirror_of
from mlhub_core.work import Work

_LOOK_AHEAD = 1000
"""Documents to be asked for that are in memory."""
_PROGRESS_SECONDS = 0.1
_STORE_SECONDS = 0.01
"""Between two transactions. One for each answer would cost as much as the rest of the crawl; one in
a longer time holds up so many answers that the next ones come together again."""
_STAC = (Kind.ITEMS, Kind.COLLECTION, Kind.CATALOG)
_BELOW = re.compile(r"(?:\./)?((?:[A-Za-z0-9_][A-Za-z0-9_.~-]*/)*[A-Za-z0-9_][A-Za-z0-9_.~-]*)")
"""A relative href of the plain kind: what it leads to lies below, and nothing in it is encoded."""


class Root(NamedTuple):
    """Where a crawl begins.

    Attributes:
        url: What was asked for.
        login: Of its host, as it stands in a URL; no other host gets it.
        answer: What was answered a moment ago.
    """

    url: str
    login: str
    answer: Answer

    def login_for(self, url: str) -> str:
        """The login that goes with a URL."""
        if not self.login:
            return ""
        own, other = urlsplit(self.url), urlsplit(url)
        secured = own.hostname == other.hostname and other.scheme == "https"
        return self.login if own[:2] == other[:2] or secured else ""


class Links:
    """The links of one document: where they lead.

    Args:
        base: What they resolve against.
        top: The URL of the root.
    """

    def __init__(self, base: str, top: str) -> None:
        self.base = base
        self._top = top
        self._below: tuple[str, str] | None = None

    def follow(self, href: str) -> tuple[str, str]:
        """The URL that a link leads to, and where that lies in the catalog.

        Raises:
            InvalidArgument: if it is none that can be asked.
            ValueError: likewise.
        """
        plain = _BELOW.fullmatch(href)
        if plain is None or self._below is None:
            url = document_url(https_url(urljoin(self.base, href)))
            path = path_of(url, self._top)
            end = plain[1] if plain else ""
            # The other plain ones lie beside it, unless it is above the root.
            if end and url.endswith(end) and path.endswith(end) and not path.startswith(BEYOND):
                self._below = url.removesuffix(end), path.removesuffix(end)
            return url, path
        url, path = self._below
        return url + plain[1], path + plain[1]


class Crawl:
    """A crawl of one catalog.

    Args:
        root: Where it begins.
        store: Where the documents go; its harvest has begun.
        collections: Those whose items are wanted; none means all.
        settings: How to ask.
        work: Caps, what ends it early, and who gets documents, as ``Stage.CATALOG``.
        uses_mirrors: Whether items of collections that advertise a mirror are left to that.

    Attributes:
        mirrors: Mirrors that were found; of the collection of each URL, path,
            depth and what its hrefs resolve against.
    """

    def __init__(
        self,
        root: Root,
        store: DocumentStore,
        collections: tuple[str, ...],
        settings: TransferSettings,
        work: Work,
        *,
        uses_mirrors: bool,
    ) -> None:
        self._uses_mirrors = uses_mirrors
        self._root = root
        self._store = store
        self._collections = frozenset(collections)
        self._settings = settings
        self._work = work
        note = store.note
        self._top = note.get("top", "")
        self.mirrors: dict[str, tuple[str, str, int, str]] = {
            url: tuple(place) for url, place in note.get("mirrors", {}).items()
        }
        self._refused: set[str] = set()
        self._has_new_mirror = self._has_links = False
        self._after = 0
        self._fetched: list[Fetched] = []
        self._wanted: dict[str, tuple[str, str, int]] = {}
        self._told = self._flushed = 0.0

    def run(self) -> None:
        """Ask for all documents that are not here yet.

        Raises:
            ArchiveLimitExceeded: if there are more than the caps allow.
            StorageError: if the disk refuses.
            Interrupted: if asked to stop.
        """
        root = self._root
        if not self._top:
            self._top = root.answer.base
            path = path_of(self._top, self._top)
            self._store.add((), wanted=[(root.url, path, 0)], note={"top": self._top})
        with closing(Loop(self._settings, limits_for(self._settings.concurrency))) as loop:
            while True:
                self._after = 0
                requests = self._requests()
                first = next(requests)
                if first is None:
                    return
                loop.run(chain((first,), requests), self._tick, self._work.stop)

    def _requests(self) -> Iterator[DocumentRequest | None]:
        """Requests for all that is known, in order; None as long as that is nothing more."""
        while True:
            self._flush()  # what has just been answered may name more
            self._has_links = False
            pending = self._store.pending(self._after, _LOOK_AHEAD)
            while not (pending or self._has_links):
                yield None
            for document in pending:
                self._after = max(self._after, document.number)
                if document.url == self._root.url:
                    self._take(document, self._root.answer)
                else:
                    yield self._request(document)

    def _request(self, document: Pending) -> DocumentRequest:
        return DocumentRequest(
            document.url,
            self._settings,
            self._work.limits.max_json_bytes,
            lambda answer: self._take(document, answer),
            login=self._root.login_for(document.url),
            validators=(document.etag, document.modified) if document.is_stored else (None, None),
        )

    def _take(self, document: Pending, answer: Answer) -> None:
        """Take in an answer: it is stored, and its links are asked for, in a moment."""
        url, path, base = document.url, document.path, answer.base
        problem = answer.problem and f"not to be had: {answer.problem}"
        if answer.is_too_long:
            problem += ": if you trust it, raise ArchiveLimits.max_json_bytes (--max-json-bytes)"
        is_unchanged = not problem and answer.body is None
        body = self._store.body(url) if is_unchanged else answer.body
        if body is not None:
            found = parse_document(body, path)
            if found.kind in _STAC:
                self._follow(found, body, base, (url, path, document.depth))
            else:
                problem = (
                    f"it is {found.kind.value}" if found.kind is Kind.OTHER else "it is no JSON"
                )
        stored = None if is_unchanged or problem else body
        self._fetched.append(
            Fetched(url, stored, path, base, answer.etag, answer.modified, problem)
        )

    def _follow(
        self, document: Document, body: bytes, base: str, place: tuple[str, str, int]
    ) -> None:
        """Note the links of a document."""
        depth, links = place[2], Links(base, self._top)
        if document.kind is not Kind.ITEMS:
            relations = _relations(document, self._collections)
            if len(relations) > 1 and self._has_mirror(document, base, place):
                relations = ("child",)
            for href in hrefs_of(document.objects[0], relations):
                self._want(href, links, depth + 1)
        elif document.objects and b'"next"' in body:  # items may come in pages
            page = parse_json(body)
            for href in hrefs_of(page, ("next",)) if page.get("type") != "Feature" else ():
                self._want(href, links, depth)

    def _has_mirror(self, document: Document, base: str, place: tuple[str, str, int]) -> bool:
        """Whether the items of a collection are left to its mirror, which is then noted."""
        if not self._uses_mirrors or document.kind is not Kind.COLLECTION:
            return False
        url = mirror_of(document.objects[0], base)
        if url is None or url in self._refused:
            return False
        self._has_new_mirror = self._has_new_mirror or url not in self.mirrors
        self.mirrors[url] = (*place, base)
        return True

    def do_without(self, mirror: str) -> None:
        """Ask for the items of a collection one by one, as its mirror is of no use."""
        self._refused.add(mirror)
        url, path, depth, base = self.mirrors.pop(mirror)
        self._has_new_mirror = True
        body = self._store.body(url)
        if body is not None:
            self._follow(parse_document(body, path), body, base, (url, path, depth))
        self.run()

    def _want(self, href: str, links: Links, depth: int) -> None:
        try:
            url, path = links.follow(href)
        except (ValueError, InvalidArgument):
            problem = "not to be had: no URL that is asked from here"
            self._fetched.append(Fetched(href, None, href, links.base, problem=problem))
            return
        if depth > self._work.limits.max_depth:
            raise ArchiveLimitExceeded(
                f"The catalog goes on more than {self._work.limits.max_depth} links deep, at "
                f"{shown(url)}: if you trust it, raise ArchiveLimits.max_depth (--max-depth)."
            )
        self._has_links = True
        self._wanted.setdefault(url, (url, path, depth))

    def _flush(self) -> None:
        """Store what has come: from here on a kill does not cost it."""
        if self._fetched or self._wanted or self._has_new_mirror:
            fetched, wanted = self._fetched, list(self._wanted.values())
            self._fetched, self._wanted = [], {}
            note = {"top": self._top, "mirrors": self.mirrors} if self._has_new_mirror else None
            self._has_new_mirror = False
            self._store.add(fetched, wanted=wanted, note=note)

    def _tick(self) -> None:
        now = time.monotonic()
        if now - self._flushed >= _STORE_SECONDS:
            self._flushed = now
            self._flush()
        if now - self._told >= _PROGRESS_SECONDS:
            self._told = now
            store = self._store
            self._work.on_progress(Progress(Stage.CATALOG, store.answered, store.known, store.size))


def _relations(document: Document, collections: frozenset[str]) -> tuple[str, ...]:
    """Which links of a document are followed."""
    is_left_out = document.kind is Kind.COLLECTION and collections.isdisjoint(
        [str(document.objects[0].get("id"))]
    )
    return ("child",) if collections and is_left_out else ("child", "item", "items")


def hrefs_of(raw: JsonObject, relations: tuple[str, ...]) -> Iterator[str]:
    """The hrefs of the links of an object that are of some relations."""
    links = raw.get("links")
    found = [link for link in links if isinstance(link, dict)] if isinstance(links, list) else []
    followed = [link for link in found if link.get("rel") in relations]
    has_items = any(link.get("rel") == "item" for link in followed)
    for link in followed:
        if has_items and link.get("rel") == "items" and is_table(link):
            continue  # the same once more
        href = link.get("href")
        if isinstance(href, str) and href.strip():
            yield href.strip()


def path_of(url: str, top: str) -> str:
    """Where a document lies in the catalog, by its URL and that of the root."""
    base, own = urlsplit(top), urlsplit(url)
    name = f"?{own.query}" if own.query else ""
    directory = base.path.rpartition("/")[0].split("/")[1:]
    parts = own.path.split("/")[1:]
    if own.netloc != base.netloc:
        return "/".join([BEYOND] * (len(directory) + 1) + [own.netloc, *parts]) + name
    shared = 0
    while shared < min(len(directory), len(parts) - 1) and directory[shared] == parts[shared]:
        shared += 1
    up = [BEYOND] * (len(directory) - shared)
    return "/".join([*up, *parts[shared:]]) + name or "catalog.json"
