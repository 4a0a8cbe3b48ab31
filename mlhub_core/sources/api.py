"""A STAC API as a source: what of it is wanted is searched, page by page.

The items lie in a :class:`~mlhub_core.sources.document_store.DocumentStore`. Each page is one
transaction there, together with how to ask for the next one: a kill costs at most the page that was
under way.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any
from urllib.parse import unquote, urlsplit

from mlhub_core.exceptions import InvalidArgument
from mlhub_core.http_errors import EntityDoesNotExist
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.net.addresses import Gate
from mlhub_core.paths import DownloadPaths, safe_name
from mlhub_core.progress import Progress, Stage
from mlhub_core.redact import redact_url, without_secrets
from mlhub_core.settings import ApiSettings
from mlhub_core.sources.api_harvest import Harvest, id_of, key_of
from mlhub_core.sources.api_pages import Api, Json
from mlhub_core.sources.api_query import Query, query_of
from mlhub_core.sources.base import CollectionInfo, DatasetInfo, SourceSpec, note_source
from mlhub_core.sources.document_store import DocumentStore, StoredCatalog, still_in_use, store_path
from mlhub_core.threads import StopFlag
from mlhub_core.work import UNWATCHED, Work

_COLLECTION = re.compile(r"(?P<root>.*/)collections/(?P<id>[^/]+)(?:/items)?/?")
_NAMED = 12
"""Collections that a message lists."""
_MOST_LISTED = 10_000


@dataclass(frozen=True, slots=True)
class StacApi:
    """Collections of a STAC API, as a source.

    ``identity`` is None: an API does not say whether anything in it has changed, so a sync pages
    again and fetches what differs. The catalog's ``sha256`` is that of all items, in whatever order
    they came, and of what was asked for.

    Attributes:
        spec: The source as it was named.
        root: The API's root, with a slash at its end.
        collection_id: The collection that the URL names; None for those of the filter.
        settings: Time-outs and retries.
    """

    spec: SourceSpec
    root: str
    collection_id: str | None = None
    settings: ApiSettings = field(default_factory=ApiSettings)

    @classmethod
    def open(cls, spec: SourceSpec, api_key: str | None, profile: str | None) -> StacApi:
        """The API that is meant. The key is the hub's: it is not sent.

        Raises:
            InvalidArgument: if the text is no URL.
        """
        text = spec.text.strip()
        try:
            parts = urlsplit(text)
            usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
        except ValueError:
            usable = False
        if not usable:
            raise InvalidArgument(
                f"{redact_url(text)} is no URL of a STAC API: name one such as "
                "https://api.example/stac/collections/ID."
            )
        if parts.username is not None:
            raise InvalidArgument(
                f"{redact_url(text)} has a login in it, which others may read: put it into "
                f"~/.netrc, as in `machine {parts.hostname} login NAME password WORD`."
            )
        if parts.query or parts.fragment:
            raise InvalidArgument(
                f"{redact_url(text)}: leave out what follows the path. What to search for is said "
                "by filters, such as --datetime and --bbox."
            )
        found = _COLLECTION.fullmatch(text)
        if found:
            return cls(spec, found["root"], unquote(found["id"]))
        root = text.removesuffix("/").removesuffix("/collections").removesuffix("/search")
        return cls(spec, root + "/")

    @property
    def dataset_id(self) -> str | None:
        """The id of the dataset: as the user says, or else that of the one collection."""
        return self.spec.dataset_id or self.collection_id

    def describe(self) -> DatasetInfo:
        """Ask the API about the collections that are wanted.

        Raises:
            InvalidArgument: if it lacks one of them, or if none is named and there are several.
            MLHubException: if it cannot be asked, or is no API.
        """
        with self._opened(None) as api:
            found = self._collections(api)
            one = found[0] if self.collection_id else {}
            title = one.get("title") if one else api.landing.get("title")
            return DatasetInfo(
                self.dataset_id or id_of(api.landing) or str(urlsplit(self.root).hostname),
                _words(title),
                _words(one.get("sci:doi")),
                _words(one.get("sci:citation")),
                _page_of(one),
                tuple(map(_about, found)),
            )

    def _opened(self, stop: StopFlag | None) -> Api:
        gate = Gate() if self.spec.allow_private_hosts else None
        return Api(self.root, stop, self.settings, gate)

    def here(self, stop: StopFlag | None = None) -> None:
        """None: it has to be acquired."""

    def identity(self, paths: DownloadPaths) -> None:
        """None: only paging through it tells what it is now."""

    def acquire(
        self,
        paths: DownloadPaths,
        if_exists: DownloadIfExistsOpts = DownloadIfExistsOpts.resume,
        work: Work = UNWATCHED,
    ) -> StoredCatalog:
        """Have all items that are wanted here.

        Where an earlier run was broken off, this goes on with the page behind the last one that is
        here, unless what is wanted is something else now.

        Raises:
            InvalidArgument: if it lacks a collection that is wanted.
            StorageError: if the disk refuses.
            Interrupted: if stopped.
            MLHubException: if it cannot be had, or only a part of it.
        """
        place = store_path(paths)
        with self._opened(work.stop) as api:
            collections = self._collections(api) + self._others_here(api, paths)
            note_source(paths, self.spec)
            query = self._query(api, collections)
            key, found = key_of(query, self.root), None
            if if_exists is DownloadIfExistsOpts.skip:
                found = StoredCatalog.of(place, key)
            elif if_exists is DownloadIfExistsOpts.resume:
                found = still_in_use(paths, key)
            if found is not None:
                return found
            with DocumentStore(place, work.limits) as store:
                harvest = Harvest(api, store, query, self.root, work.stop, work.on_progress)
                harvest.run(collections, anew=if_exists is DownloadIfExistsOpts.overwrite)
                catalog = store.finish(
                    paths.dataset_id, query.left_out(self.spec.wanted.collections)
                )
        done = Progress(Stage.CATALOG, bytes_done=catalog.size, bytes_total=catalog.size)
        work.on_progress(replace(done, finished=True))
        return catalog

    def _query(self, api: Api, collections: list[Json]) -> Query:
        ids = tuple(map(str, filter(None, map(id_of, collections))))
        asks_where = self.spec.wanted.where and "filter" in api.can.classes
        known = api.queryables(ids) if asks_where else None
        return query_of(self.spec.wanted, ids, api.can, known)

    def _collections(self, api: Api) -> list[Json]:
        """The collections that are wanted.

        Raises:
            InvalidArgument: if one is missing, or none is named.
        """
        ids = self.spec.wanted.collections or self.spec.named
        if self.collection_id is not None:
            ids = (self.collection_id,)
        if not ids:
            raise InvalidArgument(_choose(api))
        found = []
        for collection_id in ids:
            try:
                found.append(api.collection(collection_id))
            except EntityDoesNotExist as error:
                raise InvalidArgument(_unknown(api, collection_id)) from error
        return found

    def _others_here(self, api: Api, paths: DownloadPaths) -> list[Json]:
        """Where the whole is wanted: collections that nobody names, but earlier runs did."""
        if not self.spec.whole or self.collection_id is not None:
            return []
        return [
            one
            for one in islice(api.collections(), _MOST_LISTED)
            if (name := id_of(one)) is not None
            and name not in self.spec.named
            and (paths.asset_dir / safe_name(name)).is_dir()
        ]


def _choose(api: Api) -> str:
    names, root = _names(api), redact_url(api.root)
    return (
        f"{root} has {len(names):,} collections: name those that are wanted (--collection ID), or "
        f"one as {root}collections/ID. It has {_listed(names)}."
    )


def _unknown(api: Api, collection_id: str) -> str:
    names = _names(api)
    near = difflib.get_close_matches(collection_id, names, n=3, cutoff=0.6)
    rest = f"did you mean {' or '.join(map(repr, near))}?" if near else f"it has {_listed(names)}."
    return f"{redact_url(api.root)} has no collection {collection_id!r}: {rest}"


def _names(api: Api) -> list[str]:
    listed = islice(api.collections(), _MOST_LISTED)
    return [name for name in map(id_of, listed) if name is not None]


def _listed(names: list[str]) -> str:
    more = f", … ({len(names) - _NAMED:,} more)" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more if names else "none"


def _about(collection: Json) -> CollectionInfo:
    return CollectionInfo(str(id_of(collection)), (), _words(collection.get("license")))


def _page_of(collection: Json) -> str | None:
    """The page of a collection, for people."""
    links = collection.get("links")
    for wanted in ("cite-as", "about", "self"):
        for link in links if isinstance(links, list) else ():
            if isinstance(link, dict) and link.get("rel") == wanted:
                return _words(link.get("href"))
    return None


def _words(value: Any) -> str | None:
    return without_secrets(value) if isinstance(value, str) and value.strip() else None
