"""Downloads of single files from a hub, and the reference client's comparisons of times.

Times without a zone are UTC, as everywhere in this library.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

import requests

from mlhub_core.client.endpoints import segment
from mlhub_core.exceptions import InvalidArgument, NotADirectory
from mlhub_core.http_errors import EntityDoesNotExist
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.net.fetch import FileFetcher, is_gzip
from mlhub_core.paths import STATE_DIRECTORY, safe_name, user_path
from mlhub_core.progress import ProgressSink, ignore
from mlhub_core.session import Session, get_session
from mlhub_core.threads import StopFlag

Range = tuple[datetime, datetime]


def download_collection_archive(
    archive_id: str,
    output_dir: str | Path | None = None,
    *,
    if_exists: DownloadIfExistsOpts | str = DownloadIfExistsOpts.resume,
    api_key: str | None = None,
    profile: str | None = None,
    stop: StopFlag | None = None,
    on_progress: ProgressSink = ignore,
) -> Path:
    """Download the archive of a collection (``GET /archive/{archive_id}``), whole and verified.

    The file gets the name it has on the server. While it is incomplete it lies, with what is
    needed to go on, in ``.mlhub`` beside its final place.

    Args:
        archive_id: The collection's id.
        output_dir: Where to; defaults to the current directory at the time of the call.
        if_exists: ``resume`` asks whether the file there is complete and current, ``skip`` takes
            it as it is, ``overwrite`` fetches anew.
        api_key: As for :func:`~mlhub_core.session.get_session`.
        profile: As for :func:`~mlhub_core.session.get_session`.
        stop: Stops the download when set.
        on_progress: Gets bytes as they come.

    Returns:
        The path of the archive.

    Raises:
        EntityDoesNotExist: if there is none.
        FetchError: if it cannot be had whole.
        NotADirectory: if ``output_dir`` is none.
        StorageError: if the disk refuses.
        MLHubException: all that the session raises.
    """
    option = DownloadIfExistsOpts.of(if_exists)
    directory = user_path("." if output_dir is None else output_dir)
    if directory.exists() and not directory.is_dir():
        raise NotADirectory(f"{directory} is not a directory: name another output_dir.")
    path = f"archive/{segment('archive_id', archive_id)}"
    with get_session(api_key=api_key, profile=profile) as session:
        try:
            # Only the redirect's target tells the file's name.
            with session.head(path, allow_redirects=True) as response:
                name = unquote(urlsplit(response.url).path.rpartition("/")[2]) or archive_id
            target = directory / safe_name(name)
            fetcher = FileFetcher(
                session,
                path,
                target,
                directory / STATE_DIRECTORY,
                stop=stop,
                on_progress=on_progress,
                is_sound=is_gzip if name.endswith((".gz", ".tgz")) else lambda *_: True,
            )
            return fetcher.run(option).path
        except EntityDoesNotExist as error:
            raise EntityDoesNotExist(
                f'Archive "{archive_id}" does not exist on this hub; it may still be in the '
                "making.",
                response=error.response,
            ) from error


class ResumableDownloader:
    """Downloads one URL into one file: whole, verified, continued where it broke off.

    While it is incomplete the file lies, with what is needed to go on, in ``.mlhub`` beside its
    final place.

    Args:
        url: Absolute, or a path relative to the hub's root.
        out_file: The final place.
        desc: Without effect: no progress is shown of a single file.
        session: One of :func:`~mlhub_core.session.get_session`; None sends no key.
        if_exists: What to do where the file already lies.
        disable_progress_bar: Without effect.
        chunk_size: Without effect.
        chunk_unit: Without effect.

    Raises:
        InvalidArgument: if an argument cannot work.
    """

    def __init__(
        self,
        url: str,
        out_file: str | Path,
        desc: str | None = None,
        session: requests.Session | None = None,
        if_exists: DownloadIfExistsOpts | str = DownloadIfExistsOpts.overwrite,
        disable_progress_bar: bool = True,
        chunk_size: int = 1024,
        chunk_unit: str = "KB",
    ) -> None:
        if session is not None and not isinstance(session, Session):
            raise InvalidArgument(
                f"session is a {type(session).__name__}: give one of mlhub_core.get_session(), or "
                "none."
            )
        self.url = url
        self.out_file = user_path(out_file)
        self.desc = desc
        self.session = session or Session(api_key=None)
        self.if_exists = DownloadIfExistsOpts.of(if_exists)
        self.disable_progress_bar = disable_progress_bar
        self.chunk_size = chunk_size
        self.chunk_unit = chunk_unit

    def run(self) -> None:
        """Have the file whole at its place.

        Raises:
            FetchError: if it cannot be had whole.
            StorageError: if the disk refuses.
            MLHubException: all that the session raises.
        """
        state = self.out_file.parent / STATE_DIRECTORY
        FileFetcher(self.session, self.url, self.out_file, state).run(self.if_exists)


def one_to_one_check(d1: datetime, d2: datetime) -> bool:
    """Whether two moments are the same."""
    return _utc(d1) == _utc(d2)


def one_to_range_check(d1: datetime, d2: Range) -> bool:
    """Whether a moment lies in a range."""
    return range_to_range_check((d1, d1), d2)


def range_to_range_check(d1: Range, d2: Range) -> bool:
    """Whether two ranges overlap."""
    return _utc(d1[0]) <= _utc(d2[1]) and _utc(d2[0]) <= _utc(d1[1])


def _utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
