"""The reference client's download of a single file, over the fetcher of archives."""

from __future__ import annotations

from pathlib import Path

import requests

from mlhub_core.exceptions import InvalidArgument
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.layout import STATE_DIRECTORY, user_path
from mlhub_core.net.fetch import FileFetcher
from mlhub_core.session import Session


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
