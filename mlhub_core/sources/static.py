"""A static catalog by URL, as a source: crawled by its links.

There is no cheap way to tell whether it has changed: any of its documents may have, and the root
does not say. So it has no identity, and a sync asks for each document with the validators that are
here; of those that have not changed no body comes.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, replace
from pathlib import Path

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
from mlhub_core.progress import Progress, ProgressSink, Stage, ignore
from mlhub_core.redact import redact_url
from mlhub_core.settings import ArchiveLimits, TransferSettings
from mlhub_core.sources import web
from mlhub_core.sources.base import CollectionInfo, DatasetInfo, SourceSpec, note_source
from mlhub_core.sources.crawl import Crawl, Root
from mlhub_core.sources.document_store import DocumentStore, StoredCatalog, store_path
from mlhub_core.sources.documents import JsonObject
from mlhub_core.sources.mirrors import MirroredCatalog
from mlhub_core.sources.parquet import ParquetItems, ParquetSource
from mlhub_core.threads import StopFlag

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
            collections = (CollectionInfo(str(root.get("id")), license=_text(root, "license")),)
        dataset_id = self.spec.dataset_id or web.id_of(root, self.spec.text)
        return DatasetInfo(dataset_id, _text(root, "title"), collections=collections)

    def here(self, stop: StopFlag | None = None) -> None:
        """None: it has to be acquired."""

    def identity(self, paths: DownloadPaths) -> None:
        """None: to tell, all of its documents have to be asked for."""

    def acquire(
        self,
        paths: DownloadPaths,
        *,
        if_exists: DownloadIfExistsOpts = DownloadIfExistsOpts.resume,
        limits: ArchiveLimits | None = None,
        stop: StopFlag | None = None,
        on_progress: ProgressSink = ignore,
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
        path, limits = store_path(paths), limits or ArchiveLimits()
        stop = stop or StopFlag()
        found = _finished(path) if if_exists is DownloadIfExistsOpts.skip else None
        mirrors: tuple[ParquetItems, ...] = ()
        if found is None:
            look = web.look(self.spec, again=True)
            login = login_for(self.spec.text)
            root = Root(without_login(document_url(self.spec.text)), login, look.answer)
            collections = self.spec.wanted.collections
            with DocumentStore(path, limits) as store:
                uses_mirrors = self.spec.type is None
                kind = "mirrors" if uses_mirrors else "static"
                key = "\n".join((kind, root.url, *sorted(collections)))
                anew = if_exists is DownloadIfExistsOpts.overwrite
                store.begin(key, anew=anew)
                settings = TransferSettings(self.spec.concurrency, zones=look.zones)
                crawl = Crawl(
                    root,
                    store,
                    collections,
                    settings,
                    limits,
                    stop,
                    on_progress,
                    uses_mirrors=uses_mirrors,
                )
                crawl.run()
                mirrors = self._mirrors(crawl, paths, look.zones, if_exists, limits, stop)
                said = f"collections {', '.join(sorted(collections))}" if collections else ""
                known, found = store.known, store.finish(paths.dataset_id, said)
            on_progress(
                Progress(Stage.CATALOG, known, known, found.size, found.size, finished=True)
            )
            note_source(paths, replace(self.spec, zones=look.zones))
        return MirroredCatalog(found, mirrors) if mirrors else found

    def _mirrors(
        self,
        crawl: Crawl,
        paths: DownloadPaths,
        zones: tuple[str, ...] | None,
        if_exists: DownloadIfExistsOpts,
        limits: ArchiveLimits,
        stop: StopFlag,
    ) -> tuple[ParquetItems, ...]:
        """The mirrors of collections; items of those that are of no use are asked for instead."""
        found = []
        for url in tuple(crawl.mirrors):
            name = f"{hashlib.sha256(url.encode()).hexdigest()[:16]}.parquet"
            source = ParquetSource(url, paths.dataset_id, self.spec.wanted, zones, name)
            try:
                log.info("the mirror %s ...", redact_url(url))
                found.append(source.acquire(paths, if_exists=if_exists, limits=limits, stop=stop))
            except (ArchiveLimitExceeded, Interrupted, StorageError):
                raise
            except MLHubException as error:
                log.warning("%s Its items are asked for one by one.", error)
                crawl.do_without(url)
        return tuple(found)


def _finished(path: Path) -> StoredCatalog | None:
    """The catalog that is here, if it is all: items of mirrors are not among the documents."""
    if StoredCatalog.of(path) is None:
        return None
    with DocumentStore(path) as store:
        return None if store.note.get("mirrors") else StoredCatalog.of(path)


def _text(raw: JsonObject, name: str) -> str | None:
    value = raw.get(name)
    return value if isinstance(value, str) and value.strip() else None
