"""A catalog archive by URL, as a source: fetched as a hub's is, without any key of a hub's.

Its identity is that of the file that was fetched, as long as the server says that its ETag is still
the same; a server that gives none is asked for the archive again.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from mlhub_core.exceptions import CatalogError
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.net.fetch import FileFetcher, is_unchanged, known_file
from mlhub_core.net.session import Session
from mlhub_core.paths import DownloadPaths
from mlhub_core.redact import redact_url
from mlhub_core.sources.archive import CatalogArchive, is_archive
from mlhub_core.sources.base import DatasetInfo, SourceSpec, note_source
from mlhub_core.sources.documents import SAY_NOTHING
from mlhub_core.sources.roots import root_of
from mlhub_core.threads import StopFlag
from mlhub_core.work import UNWATCHED, Work


@dataclass(frozen=True, slots=True)
class RemoteArchive:
    """A catalog archive that is fetched.

    Attributes:
        url: Where from.
        dataset_id: Its dataset: as the file is called, or where that says nothing (``catalog.zip``)
            the directory it lies in, or its host.
    """

    url: str
    dataset_id: str

    @classmethod
    def open(cls, spec: SourceSpec, api_key: str | None, profile: str | None) -> RemoteArchive:
        """The archive that is meant; no key of a hub's is sent to it."""
        url = spec.text.strip()
        return cls(url, spec.dataset_id or _name(url))

    def describe(self) -> DatasetInfo:
        """Say what the dataset is: what it is called; all else is in the archive."""
        return DatasetInfo(self.dataset_id)

    def here(self, stop: StopFlag | None = None) -> None:
        """None: it has to be acquired."""

    def identity(self, paths: DownloadPaths) -> str | None:
        """The digest of the archive that is here, if the server says that it is still the one."""
        archive = known_file(paths.archive, paths.state_dir)
        if archive is None or archive.etag is None:
            return None
        with Session() as session:
            return archive.sha256 if is_unchanged(session, self.url, archive) else None

    def acquire(
        self,
        paths: DownloadPaths,
        if_exists: DownloadIfExistsOpts = DownloadIfExistsOpts.resume,
        work: Work = UNWATCHED,
    ) -> CatalogArchive:
        """Have the archive among the files of the download.

        One that is there is asked about in one conditional request. A page, or anything else that
        is no archive, replaces nothing.

        Raises:
            FetchError: if it cannot be had whole.
            CatalogError: if there is no STAC in it.
            StorageError: if the disk refuses.
            Interrupted: if stopped; the partial file is kept.
            MLHubException: all that the session raises.
        """
        with Session() as session:
            file = FileFetcher(
                session,
                self.url,
                paths.archive,
                paths.state_dir,
                stop=work.stop,
                on_progress=work.on_progress,
                limits=work.limits,
                is_sound=is_archive,
            ).run(if_exists)
        note_source(paths, SourceSpec(self.url, "archive", self.dataset_id))
        if not root_of(file.path, self.dataset_id, work.limits, work.stop).is_stac:
            raise CatalogError(
                f"The archive at {redact_url(self.url)} holds no STAC, neither a catalog nor a "
                "collection nor an item: name the URL of a catalog archive."
            )
        return CatalogArchive(
            file.path, self.dataset_id, file.size, file.sha256, file.etag, file.moved
        )


def _name(url: str) -> str:
    parts = urlsplit(url)
    names = [unquote(part) for part in parts.path.split("/") if part]
    named = [name.partition(".")[0] for name in names[-1:]] + names[-2::-1]
    said = (name for name in named if name and name.lower() not in SAY_NOTHING)
    return next(said, parts.hostname or "catalog")
