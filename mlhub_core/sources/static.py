"""A static catalog by URL, as a source: crawled by its links.

There is no cheap way to tell whether it has changed: any of its documents may have, and the root
does not say. So it has no identity, and a sync asks for each document with the validators that are
here; of those that have not changed no body comes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.net.documents import document_url, login_for, without_login
from mlhub_core.paths import DownloadPaths
from mlhub_core.progress import Progress, ProgressSink, Stage, ignore
from mlhub_core.settings import ArchiveLimits, TransferSettings
from mlhub_core.sources import web
from mlhub_core.sources.base import CollectionInfo, DatasetInfo, SourceSpec, note_source
from mlhub_core.sources.crawl import Crawl, Root
from mlhub_core.sources.document_store import DocumentStore, StoredCatalog, store_path
from mlhub_core.sources.documents import JsonObject
from mlhub_core.threads import StopFlag


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
    ) -> StoredCatalog:
        """Crawl it, or go on with a crawl that did not get done.

        Documents that cannot be had are no error: the index names them.

        Raises:
            ArchiveLimitExceeded: if it holds more than the caps allow.
            CatalogError: if its root is no STAC.
            FetchError: if its root cannot be had.
            StorageError: if the disk refuses.
            Interrupted: if asked to stop; what has been read is kept.
        """
        path, limits = store_path(paths), limits or ArchiveLimits()
        found = StoredCatalog.of(path) if if_exists is DownloadIfExistsOpts.skip else None
        if found is None:
            look = web.look(self.spec, again=True)
            login = login_for(self.spec.text)
            root = Root(without_login(document_url(self.spec.text)), login, look.answer)
            collections = self.spec.wanted.collections
            with DocumentStore(path, limits) as store:
                key = "\n".join(("static", root.url, *sorted(collections)))
                anew = if_exists is DownloadIfExistsOpts.overwrite
                store.begin(key, anew=anew)
                settings = TransferSettings(zones=look.zones)
                crawl = Crawl(
                    root, store, collections, settings, limits, stop or StopFlag(), on_progress
                )
                crawl.run()
                known, found = store.known, store.finish(paths.dataset_id)
            on_progress(
                Progress(Stage.CATALOG, known, known, found.size, found.size, finished=True)
            )
            note_source(paths, replace(self.spec, zones=look.zones))
        return found


def _text(raw: JsonObject, name: str) -> str | None:
    value = raw.get(name)
    return value if isinstance(value, str) and value.strip() else None
