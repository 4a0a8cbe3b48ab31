"""What datasets come from: a hub's catalog archive, an archive on disk, whatever is added."""

from __future__ import annotations

from mlhub_core.exceptions import InvalidArgument
from mlhub_core.paths import DownloadPaths
from mlhub_core.sources.base import SOURCE_NAME, Source
from mlhub_core.state import read_state


def open_source(text: str, *, api_key: str | None = None, profile: str | None = None) -> Source:
    """The source that a text means; nobody is asked yet.

    Args:
        text: The id or DOI of a hub's dataset, or the path of a catalog archive.
        api_key: As for :func:`~mlhub_core.session.get_session`.
        profile: As for :func:`~mlhub_core.session.get_session`.

    Raises:
        InvalidArgument: if it can be none.
    """
    from mlhub_core.sources.archive import LocalArchive
    from mlhub_core.sources.mlhub import HubDataset

    if LocalArchive.is_meant(text):
        return LocalArchive.of(text)
    return HubDataset(text, api_key=api_key, profile=profile)


def source_of(
    paths: DownloadPaths, *, api_key: str | None = None, profile: str | None = None
) -> Source:
    """The source that a download on disk comes from.

    Args:
        paths: The download.
        api_key: As for :func:`~mlhub_core.session.get_session`.
        profile: As for :func:`~mlhub_core.session.get_session`.

    Raises:
        InvalidArgument: if what was written down can be none, or is of a later version.
        StorageError: if our state cannot be read.
    """
    place = paths.state_dir / SOURCE_NAME
    state = read_state(place)
    if state is None:
        return open_source(paths.dataset_id, api_key=api_key, profile=profile)
    source = state.get("source")
    if state.get("version") != 1 or not isinstance(source, str):
        raise InvalidArgument(
            f"{place} is of a later version: use the mlhub that made it, or name the source."
        )
    return open_source(source, api_key=api_key, profile=profile)
