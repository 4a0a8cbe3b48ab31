"""Whether a sync has anything to do: what all is here for, and whether the catalog is the same.

A run that ends without a failure writes down, in a small file, for which catalog and which filters
all is here. Whoever asks whether there is anything to do needs to look at nothing else and to write
nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from mlhub_core.exceptions import InvalidArgument
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.paths import INDEX_STATE_NAME, DownloadPaths
from mlhub_core.request import DownloadRequest
from mlhub_core.sources.base import Source
from mlhub_core.state import read_state, write_state

_NAME = "settled.json"


@dataclass(frozen=True, slots=True)
class Complete:
    """What all is here for.

    Attributes:
        archive: SHA-256 of the catalog archive that it is about.
        wanted: Digests of the filters whose files are all here.
        gone: Whether files may lie here that the catalog no longer has.
    """

    archive: str
    wanted: frozenset[str]
    gone: bool = False


def read_complete(paths: DownloadPaths) -> Complete | None:
    """What all is here for; None where something is missing.

    It holds for the index that is there, and no longer once that is another one; nor while there
    are failures on record.

    Raises:
        StorageError: if it is there and cannot be read.
    """
    state = read_state(paths.state_dir / _NAME)
    if state is None or paths.err_report.exists() or not paths.index.is_file():
        return None
    try:
        complete = Complete(
            str(state["archive"]), frozenset(map(str, state["wanted"])), bool(state["gone"])
        )
    except (KeyError, TypeError):
        return None
    return complete if complete.archive == indexed_archive(paths) else None


def note_complete(paths: DownloadPaths, wanted: str, *, gone: bool | None = None) -> None:
    """Write down that all files of a filter are here, for the catalog that the index is made of.

    Args:
        paths: The download.
        wanted: The filter's digest.
        gone: Whether files may lie here that the catalog no longer has. None where that was not
            looked into: they may, if the catalog has changed.

    Raises:
        StorageError: if the disk refuses.
    """
    archive = indexed_archive(paths)
    if archive is None:
        return
    state = read_state(paths.state_dir / _NAME) or {}
    same = state.get("archive") == archive
    earlier = state.get("wanted") if same else None
    kept = set(earlier) if isinstance(earlier, list) else set()
    if gone is None:
        gone = bool(state.get("gone")) if same else bool(state)
    write_state(
        paths.state_dir / _NAME,
        {"archive": archive, "wanted": sorted({*kept, wanted}), "gone": gone},
    )


def indexed_archive(paths: DownloadPaths) -> str | None:
    """SHA-256 of the archive that the index was made of, None where there is no index.

    Raises:
        StorageError: if the index's state cannot be read.
    """
    made_from = (read_state(paths.state_dir / INDEX_STATE_NAME) or {}).get("archive")
    found = made_from.get("sha256") if isinstance(made_from, dict) else None
    return found if isinstance(found, str) and paths.index.is_file() else None


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
        raise InvalidArgument(
            "dry_run: a sync has to index the new catalog; use download, which shows a plan."
        )
    if request.plan is not None:
        raise InvalidArgument("plan: a sync makes its own; use download to run a saved one.")
    if request.if_exists is DownloadIfExistsOpts.overwrite:
        raise InvalidArgument(
            "if_exists is overwrite: that fetches everything anew, which is what a sync is for "
            "not to do; use download."
        )


def known_paths(request: DownloadRequest, source: Source) -> DownloadPaths | None:
    """Where the dataset lies, if that can be told without asking anybody: not for a DOI."""
    return None if source.dataset_id is None else request.paths(source.dataset_id)


def is_current(
    request: DownloadRequest, paths: DownloadPaths, source: Source, *, prune: bool = False
) -> bool:
    """Whether everything is here and the catalog is still the one that it was here for.

    At most one cheap request, and nothing is written. The source is not asked where the answer
    could not end the sync: files are missing, the last run failed, or something is to be pruned.

    Args:
        request: What is wanted.
        paths: Where it lies.
        source: Where it comes from.
        prune: Whether files that are gone from the catalog would be moved.

    Raises:
        StorageError: if our state cannot be read.
        MLHubException: all that the source raises.
    """
    complete = read_complete(paths)
    if complete is None or request.wanted.digest() not in complete.wanted:
        return False
    if prune and complete.gone:
        return False
    return source.identity(paths) == complete.archive
