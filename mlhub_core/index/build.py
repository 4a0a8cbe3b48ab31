"""The asset index of a catalog: made, remembered, and used again as long as it fits."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlhub_core.exceptions import StorageError
from mlhub_core.index.passes import AssetIndex, Build
from mlhub_core.paths import DownloadPaths
from mlhub_core.progress import Progress, ProgressSink, Stage, ignore
from mlhub_core.settings import ArchiveLimits
from mlhub_core.sources.base import Catalog
from mlhub_core.state import read_state, write_state
from mlhub_core.threads import StopFlag

__all__ = ["AssetIndex", "identity", "index_assets", "recall", "remember"]

INDEX_VERSION = 4
"""Raised whenever the same archive gives another index: older ones are then built anew."""

STATE_NAME = "index.json"


def index_assets(
    catalog: Catalog,
    paths: DownloadPaths,
    *,
    limits: ArchiveLimits | None = None,
    stop: StopFlag | None = None,
    on_progress: ProgressSink = ignore,
) -> AssetIndex:
    """Read the catalog and write the asset index, ``paths.index``.

    An index that was made from this very archive is used again.

    Args:
        catalog: The catalog.
        paths: Where everything goes.
        limits: Caps; the defaults of :class:`ArchiveLimits` unless given.
        stop: Ends the work early.
        on_progress: Told the bytes of the archive read and the assets so far.

    Raises:
        ArchiveCorrupt: if the archive is broken off or damaged.
        ArchiveLimitExceeded: if it holds more than the caps allow.
        StorageError: if the disk refuses.
        Interrupted: if ``stop`` is set.
    """
    index = recall(catalog, paths)
    if index is None:
        if stop is not None:
            stop.check()
        with _disk_errors(paths):
            index = Build(
                catalog, identity(catalog), paths, limits or ArchiveLimits(), stop, on_progress
            ).run()
        remember(index, catalog, paths)
    on_progress(
        Progress(
            Stage.INDEX,
            done=index.assets,
            total=index.assets,
            bytes_done=catalog.size,
            bytes_total=catalog.size,
            finished=True,
        )
    )
    return index


def identity(catalog: Catalog) -> dict[str, Any]:
    """What an index was made from, and by which rules."""
    return {
        "version": INDEX_VERSION,
        "dataset_id": catalog.dataset_id,
        "sha256": catalog.sha256,
    }


def remember(index: AssetIndex, catalog: Catalog, paths: DownloadPaths) -> None:
    """Write down what is in an index.

    Raises:
        StorageError: if the disk refuses.
    """
    write_state(
        paths.state_dir / STATE_NAME,
        {
            "archive": identity(catalog),
            "output_dir": _output_dir(paths),
            "file_sha256": _sha256(index.path),
            "assets": index.assets,
            "files": index.files,
            "items": index.items,
            "collections": index.collections,
            "asset_keys": index.asset_keys,
            "ignored": index.ignored,
            "missing": index.missing,
            "oddities": index.oddities,
            "oddity_count": index.oddity_count,
        },
    )


def recall(catalog: Catalog, paths: DownloadPaths) -> AssetIndex | None:
    """The index that is there already, if it was made from this archive and can be read.

    Raises:
        StorageError: if its state cannot be read.
    """
    state = read_state(paths.state_dir / STATE_NAME)
    if state is None or state.get("archive") != identity(catalog):
        return None
    try:
        index = AssetIndex(
            path=paths.index,
            assets=int(state["assets"]),
            files=int(state["files"]),
            items=int(state["items"]),
            collections=tuple((str(c), int(i), int(a)) for c, i, a in state["collections"]),
            asset_keys=tuple((str(c), tuple(map(str, keys))) for c, keys in state["asset_keys"]),
            ignored=int(state["ignored"]),
            missing=int(state["missing"]),
            oddities=tuple(map(str, state["oddities"])),
            oddity_count=int(state["oddity_count"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    known = state.get("file_sha256")
    if known != _sha256(paths.index) and (known is not None or not _fits(index, catalog)):
        return None
    if known is None or state.get("output_dir") != _output_dir(paths):
        remember(index, catalog, paths)
    return replace(index, reused=True)


def _output_dir(paths: DownloadPaths) -> str:
    """Where archive and catalog are, seen from here: both may be moved, together."""
    try:
        return os.path.relpath(paths.output_dir, paths.state_dir)
    except ValueError:  # on another drive, on Windows
        return str(paths.output_dir)


def _sha256(path: Path) -> str | None:
    """Of the index itself, None where there is none: a disk may have changed what lies there.

    Reading it takes less than loading what reads Parquet.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _fits(index: AssetIndex, catalog: Catalog) -> bool:
    """Whether the file, by its footer, is the one that the state of an earlier version is about."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from mlhub_core.index.schema import IDENTITY_KEY

    try:
        metadata = pq.read_metadata(index.path)
        noted = json.loads((metadata.metadata or {}).get(IDENTITY_KEY.encode(), b"null"))
        return bool(metadata.num_rows == index.assets and noted == identity(catalog))
    except (OSError, pa.ArrowException, ValueError):
        return False


@contextmanager
def _disk_errors(paths: DownloadPaths) -> Iterator[None]:
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(
            f"Cannot write the asset index {paths.index}: {error.strerror or error}."
        ) from error
