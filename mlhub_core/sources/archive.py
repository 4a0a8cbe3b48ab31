"""The catalog archive of a dataset: fetching it, and what identifies it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from mlhub_core.exceptions import ArchiveCorrupt, ArchiveLimitExceeded, EntityDoesNotExist
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.layout import DownloadPaths
from mlhub_core.net.fetch import FileFetcher
from mlhub_core.progress import ProgressSink, ignore
from mlhub_core.session import get_session
from mlhub_core.settings import ArchiveLimits
from mlhub_core.sources.tarstream import TarStream
from mlhub_core.stop import StopFlag


@dataclass(frozen=True, slots=True)
class CatalogArchive:
    """A complete, verified ``{dataset_id}.tar.gz`` on disk.

    Attributes:
        path: The file.
        dataset_id: The dataset it describes.
        size: Bytes.
        sha256: Hexadecimal digest of the file: what tells one state of a catalog from the next.
        etag: As the server gave it, None when unknown.
        fetched: Bytes that this run moved for it; 0 where it was already there.
    """

    path: Path
    dataset_id: str
    size: int
    sha256: str
    etag: str | None = None
    fetched: int = 0


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
            f"catalog/{quote(paths.dataset_id, safe='')}",
            paths.archive,
            paths.state_dir,
            stop=stop,
            on_progress=on_progress,
            limits=limits or ArchiveLimits(),
            is_sound=_is_archive,
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


def _is_archive(path: Path, through: bool) -> bool:
    """Whether a file is a tar archive, packed or not, with anything in it.

    A file that others left may begin with one state of the catalog and end with another: read
    through, the checksum at the end of gzip has to fit all that is before it.
    """
    members = 0
    try:
        with TarStream(path, ArchiveLimits()) as stream:
            for _ in stream:
                members += 1
                if not through:
                    break
    except ArchiveLimitExceeded:
        return True  # whoever reads it says so
    except ArchiveCorrupt:
        return False
    return members > 0 or not through
