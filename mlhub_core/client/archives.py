"""The endpoints that hand out archives, of collections and of catalogs."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from mlhub_core.client._entity import fetch_object, segment
from mlhub_core.exceptions import EntityDoesNotExist, NotADirectory
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.layout import STATE_DIRECTORY, safe_name, user_path
from mlhub_core.net.fetch import FileFetcher, is_gzip
from mlhub_core.progress import ProgressSink, ignore
from mlhub_core.session import get_session
from mlhub_core.stop import StopFlag


def get_collection_archive_info(
    archive_id: str, *, api_key: str | None = None, profile: str | None = None
) -> dict[str, Any]:
    """What is known of a collection's archive (``GET /archive/{archive_id}/info``).

    Args:
        archive_id: The collection's id.
        api_key: As for :func:`~mlhub_core.session.get_session`.
        profile: As for :func:`~mlhub_core.session.get_session`.

    Returns:
        ``collection``, ``dataset``, ``size`` (bytes) and ``types``.

    Raises:
        EntityDoesNotExist: if there is none.
        MLHubException: all that the session raises.
    """
    return fetch_object(
        f"archive/{segment('archive_id', archive_id)}/info",
        f'Archive "{archive_id}" does not exist on this hub.',
        api_key=api_key,
        profile=profile,
    )


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
