"""The catalog archive of a dataset: fetching it, and what identifies it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
from mlhub_core.sources.documents import Document, Kind, parse_document
from mlhub_core.sources.members import Placement
from mlhub_core.sources.remarks import shown
from mlhub_core.sources.tarheader import Kind as MemberKind
from mlhub_core.sources.tarstream import Member, TarStream
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


def read_documents(
    archive: CatalogArchive,
    limits: ArchiveLimits,
    stop: StopFlag | None = None,
    on_read: Callable[[int], None] = lambda _: None,
) -> Iterator[Document]:
    """Go through the files of a catalog archive.

    Args:
        archive: The archive.
        limits: Caps.
        stop: Ends the work early.
        on_read: Called with the bytes of the archive read so far.

    Raises:
        ArchiveCorrupt: if the archive is broken off or damaged.
        ArchiveLimitExceeded: if it holds more than the caps allow.
        StorageError: if it cannot be read.
        Interrupted: if ``stop`` is set.
    """
    placement = Placement(archive.dataset_id)
    with TarStream(archive.path, limits, stop=stop, on_read=on_read) as stream:
        for member in stream:
            if member.kind is not MemberKind.FILE:
                continue
            path, why = placement.place(member.name)
            if why:
                continue  # whoever unarchives it says so
            document = _document(path, member, stream, limits)
            yield document._replace(is_beside=not placement.is_below)


def _document(path: str, member: Member, stream: TarStream, limits: ArchiveLimits) -> Document:
    ending = path[-8:].lower()
    if not ending.endswith((".json", ".geojson")):
        return Document(path, Kind.FILE)
    if member.size <= limits.max_json_bytes:
        return parse_document(stream.read(), path)
    if ending.endswith(".geojson"):
        problem = f"not read: {member.size:,} bytes are too many for an item"
        return Document(path, Kind.FILE, problem=problem)
    raise ArchiveLimitExceeded(
        f"{shown(path)} of the archive has {member.size:,} bytes of JSON: if you trust it, "
        "raise ArchiveLimits.max_json_bytes (--max-json-bytes)."
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
