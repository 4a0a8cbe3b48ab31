"""Whether there is anything to do, asked in one conditional request and without a write."""

from __future__ import annotations

from urllib.parse import quote

from mlhub_core.exceptions import InvalidArgument
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.net.fetch import is_unchanged, known_file
from mlhub_core.paths import DownloadPaths
from mlhub_core.request import DownloadRequest
from mlhub_core.session import get_session
from mlhub_core.settled import read_settled


def check_request(request: DownloadRequest) -> None:
    """Check that a request can be one for a sync.

    Raises:
        InvalidArgument: if it asks for what only a download does.
        StorageError: if a directory cannot be used.
    """
    request.check()
    if request.catalog_only:
        raise InvalidArgument("catalog_only: a sync is about assets; use download for the catalog.")
    if request.dry_run:
        raise InvalidArgument("dry_run: a sync has to index the new catalog; use download for it.")
    if request.plan is not None:
        raise InvalidArgument("plan: a sync makes its own; use download to run a saved one.")
    if request.if_exists is DownloadIfExistsOpts.overwrite:
        raise InvalidArgument(
            "if_exists is overwrite: that fetches everything anew, which is what a sync is for "
            "not to do; use download."
        )


def known_paths(request: DownloadRequest) -> DownloadPaths | None:
    """Where the dataset lies, if that can be told without asking the hub: not for a DOI."""
    dataset = request.dataset.strip()
    return None if "/" in dataset else request.paths(dataset)


def is_current(
    request: DownloadRequest,
    paths: DownloadPaths,
    *,
    prune: bool = False,
    api_key: str | None = None,
    profile: str | None = None,
) -> bool:
    """Whether everything is here and the catalog is still the one that it was here for.

    At most one request, and nothing is written. The hub is not asked where the answer could not
    end the sync: files are missing, the last run failed, or something is to be pruned.

    Args:
        request: What is wanted.
        paths: Where it lies.
        prune: Whether files that are gone from the catalog would be moved.
        api_key: As for :func:`~mlhub_core.session.get_session`.
        profile: As for :func:`~mlhub_core.session.get_session`.

    Raises:
        StorageError: if our state cannot be read.
        MLHubException: all that the session raises.
    """
    settled = read_settled(paths)
    if settled is None or request.wanted.digest() not in settled.wanted:
        return False
    if prune and settled.gone:
        return False
    archive = known_file(paths.archive, paths.state_dir)
    if archive is None or archive.etag is None or archive.sha256 != settled.archive:
        return False
    with get_session(api_key=api_key, profile=profile) as session:
        return is_unchanged(session, f"catalog/{quote(paths.dataset_id, safe='')}", archive)
