"""A dataset of a hub: its metadata, and its catalog as an archive."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import quote

from mlhub_core.exceptions import EntityDoesNotExist
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.metadata import DatasetInfo, fetch_metadata
from mlhub_core.net.fetch import FileFetcher, is_unchanged, known_file
from mlhub_core.paths import DownloadPaths
from mlhub_core.progress import ProgressSink, ignore
from mlhub_core.session import get_session
from mlhub_core.settings import ArchiveLimits
from mlhub_core.sources.archive import CatalogArchive, is_archive
from mlhub_core.sources.base import note_source
from mlhub_core.stop import StopFlag


@dataclass(frozen=True, slots=True)
class HubDataset:
    """A hub's dataset, as a source.

    Attributes:
        dataset: Its id or DOI.
        api_key: As for :func:`~mlhub_core.session.get_session`.
        profile: As for :func:`~mlhub_core.session.get_session`.
    """

    dataset: str
    api_key: str | None = field(default=None, repr=False)
    profile: str | None = None

    @property
    def dataset_id(self) -> str | None:
        """The id of the dataset; None where a DOI was given."""
        text = self.dataset.strip()
        return None if "/" in text else text

    def describe(self) -> DatasetInfo:
        """Ask the hub about the dataset."""
        return fetch_metadata(self.dataset, api_key=self.api_key, profile=self.profile)

    def identity(self, paths: DownloadPaths) -> str | None:
        """The digest of the archive that is here, if the hub says that it is still the one."""
        archive = known_file(paths.archive, paths.state_dir)
        if archive is None or archive.etag is None:
            return None
        with get_session(api_key=self.api_key, profile=self.profile) as session:
            return archive.sha256 if is_unchanged(session, _place(paths), archive) else None

    def acquire(
        self,
        paths: DownloadPaths,
        *,
        if_exists: DownloadIfExistsOpts = DownloadIfExistsOpts.resume,
        limits: ArchiveLimits | None = None,
        stop: StopFlag | None = None,
        on_progress: ProgressSink = ignore,
    ) -> CatalogArchive:
        """Fetch the archive, see :func:`fetch_catalog`."""
        catalog = fetch_catalog(
            paths,
            if_exists=if_exists,
            api_key=self.api_key,
            profile=self.profile,
            limits=limits,
            stop=stop,
            on_progress=on_progress,
        )
        note_source(paths, None)
        return catalog


def fetch_catalog(
    paths: DownloadPaths,
    *,
    if_exists: DownloadIfExistsOpts = DownloadIfExistsOpts.resume,
    api_key: str | None = None,
    profile: str | None = None,
    limits: ArchiveLimits | None = None,
    stop: StopFlag | None = None,
    on_progress: ProgressSink = ignore,
) -> CatalogArchive:
    """Have the catalog archive of a dataset on disk (``GET /catalog/{dataset_id}``).

    The hub answers with a redirect to the file; the API key goes to the hub alone. An archive that
    is there is asked about in one conditional request.

    Args:
        paths: Whose ``archive`` is the final place.
        if_exists: ``skip`` takes an archive that is there as it is.
        api_key: As for :func:`~mlhub_core.session.get_session`.
        profile: As for :func:`~mlhub_core.session.get_session`.
        limits: What it may take at most, and what of the disk it leaves; the defaults unless given.
        stop: Stops the download when set; the partial file is kept.
        on_progress: Gets bytes, as ``Stage.CATALOG``.

    Raises:
        EntityDoesNotExist: if the dataset has no catalog.
        FetchError: if it cannot be had whole.
        StorageError: if the disk refuses.
        Interrupted: if stopped.
        MLHubException: all that the session raises.
    """
    with get_session(api_key=api_key, profile=profile) as session:
        fetcher = FileFetcher(
            session,
            _place(paths),
            paths.archive,
            paths.state_dir,
            stop=stop,
            on_progress=on_progress,
            limits=limits or ArchiveLimits(),
            is_sound=is_archive,
        )
        try:
            file = fetcher.run(if_exists)
        except EntityDoesNotExist as error:
            raise EntityDoesNotExist(
                f'The hub has no catalog of the dataset "{paths.dataset_id}".',
                response=error.response,
            ) from error
    return CatalogArchive(
        file.path, paths.dataset_id, file.size, file.sha256, file.etag, file.moved
    )


def _place(paths: DownloadPaths) -> str:
    return f"catalog/{quote(paths.dataset_id, safe='')}"
