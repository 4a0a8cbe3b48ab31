"""A static catalog by URL, as a source: crawled by its links.

There is no cheap way to tell whether it has changed: any of its documents may have, and the root
does not say. So it has no identity, and a sync asks for each document with the validators that are
here; of those that have not changed no body comes.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, replace

from mlhub_core.exceptions import (
    ArchiveLimitExceeded,
    Interrupted,
    MLHubException,
    StorageError,
)
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.net.clients import without_login
from mlhub_core.net.documents import document_url, login_for
from mlhub_core.paths import DownloadPaths
from mlhub_core.progress import Progress, Stage, ignore
from mlhub_core.redact import redact_url
from mlhub_core.settings import TransferSettings
from mlhub_core.sources import web
from mlhub_core.sources.base import CollectionInfo, DatasetInfo, SourceSpec, note_source
from mlhub_core.sources.crawl import Crawl, Root
from mlhub_core.sources.document_store import (
    DocumentStore,
    StoredCatalog,
    still_in_use,
    store_path,
)
from mlhub_core.sources.documents import text_of
from mlhub_core.sources.mirrors import MirroredCatalog
from mlhub_core.sources.parquet import ParquetItems, ParquetSource
from mlhub_core.threads import StopFlag
from mlhub_core.work import UNWATCHED, Work

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StaticCatalog:
    """A static catalog by URL.

    Attributes:
        spec: The source as it was named.
    """

    spec: SourceSpec

    @classmethod
    def open(cls, spec: SourceSpec, api_key: str | None, profile: str | None) -> StaticCatalog:
        """The catalog that is meant; no key is sent to it.

        Raises:
            InvalidArgument: if it is named by no URL.
        """
        document_url(spec.text)
        return cls(spec)

    @property
    def dataset_id(self) -> str | None:
        """The id that the user gave it; the catalog's own is known once it has been asked for."""
        return self.spec.dataset_id

    def describe(self) -> DatasetInfo:
        """Ask for the root: its id and title.

        Raises:
            CatalogError: if it is no STAC.
            FetchError: if it cannot be had.
        """
        root = web.look(self.spec).document()
        collections: tuple[CollectionInfo, ...] = ()
        if root.get("type") == "Collection":
            collections = (
                CollectionInfo(str(root.get("id")), license=text_of(root.get("license"))),
            )
        dataset_id = self.spec.dataset_id or web.id_of(root, self.spec.text)
        return DatasetInfo(dataset_id, text_of(root.get("title")), collections=collections)

    def here(self, stop: StopFlag | None = None) -> None:
        """None: it has to be acquired."""

    def identity(self, paths: DownloadPaths) -> None:
        """None: to tell, all of its documents have to be asked for."""

    def acquire(
        self,
        paths: DownloadPaths,
        if_exists: DownloadIfExistsOpts = DownloadIfExistsOpts.resume,
        work: Work = UNWATCHED,
    ) -> StoredCatalog | MirroredCatalog:
        """Crawl it, or go on with a crawl that did not get done.

        Documents that cannot be had are no error: the index names them. The items of a collection
        that advertises a mirror in stac-geoparquet are read from that, unless the kind was named:
        ``--source-type static`` asks for each.

        Raises:
            ArchiveLimitExceeded: if it holds more than the caps allow.
            CatalogError: if its root is no STAC.
            FetchError: if its root cannot be had.
            StorageError: if the disk refuses.
            Interrupted: if asked to stop; what has been read is kept.
        """
        if (here := self._here(paths, if_exists)) is not None:
            return here
        look = web.look(self.spec, again=True)
        root = Root(self._url, login_for(self.spec.text), look.answer)
        collections = self.spec.wanted.collections
        with DocumentStore(store_path(paths), work.limits) as store:
            store.begin(self._key, anew=if_exists is DownloadIfExistsOpts.overwrite)
            crawl = Crawl(
                root,
                store,
                collections,
                TransferSettings(self.spec.concurrency, zones=look.zones),
                work,
                uses_mirrors=self._uses_mirrors,
            )
            crawl.run()
            mirrors = self._mirrors(crawl, paths, look.zones, if_exists, work)
            said = f"collections {', '.join(sorted(collections))}" if collections else ""
            known, found = store.known, store.finish(paths.dataset_id, said)
        work.on_progress(
            Progress(Stage.CATALOG, known, known, found.size, found.size, finished=True)
        )
        note_source(paths, replace(self.spec, zones=look.zones))
        return MirroredCatalog(found, mirrors) if mirrors else found

    @property
    def _url(self) -> str:
        return without_login(document_url(self.spec.text))

    @property
    def _uses_mirrors(self) -> bool:
        return self.spec.type is None

    @property
    def _key(self) -> str:
        """What is harvested: with mirrors, and of other collections, it is another catalog."""
        kind = "mirrors" if self._uses_mirrors else "static"
        return "\n".join((kind, self._url, *sorted(self.spec.wanted.collections)))

    def _here(self, paths: DownloadPaths, if_exists: DownloadIfExistsOpts) -> StoredCatalog | None:
        """The catalog that is here, if nobody is to be asked about it."""
        found = None
        if if_exists is DownloadIfExistsOpts.skip:
            found = StoredCatalog.of(store_path(paths), self._key)
        elif if_exists is DownloadIfExistsOpts.resume:
            found = still_in_use(paths, self._key)
        if found is None:
            return None
        with DocumentStore(found.path) as store:  # items of mirrors are not among its documents
            return None if store.note.get("mirrors") else found

    def _mirrors(
        self,
        crawl: Crawl,
        paths: DownloadPaths,
        zones: tuple[str, ...] | None,
        if_exists: DownloadIfExistsOpts,
        work: Work,
    ) -> tuple[ParquetItems, ...]:
        """The mirrors of collections; items of those that are of no use are asked for instead."""
        found = []
        for url in tuple(crawl.mirrors):
            name = f"{hashlib.sha256(url.encode()).hexdigest()[:16]}.parquet"
            source = ParquetSource(url, paths.dataset_id, self.spec.wanted, zones, name)
            try:
                log.info("the mirror %s ...", redact_url(url))
                found.append(source.acquire(paths, if_exists, replace(work, on_progress=ignore)))
            except (ArchiveLimitExceeded, Interrupted, StorageError):
                raise
            except MLHubException as error:
                log.warning("%s Its items are asked for one by one.", error)
                crawl.do_without(url)
        return tuple(found)
