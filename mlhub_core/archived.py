"""Takes the files that a plan wants out of the catalog archive, where the catalog stays in it."""

from __future__ import annotations

import logging
from array import array
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from mlhub_core.exceptions import StorageError
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.paths import DownloadPaths
from mlhub_core.progress import Progress, ProgressSink, Stage, ignore
from mlhub_core.selection.partition import Partition
from mlhub_core.settings import ArchiveLimits
from mlhub_core.sources.archive import CatalogArchive
from mlhub_core.sources.unarchive import Extraction
from mlhub_core.threads import StopFlag, open_parquet

log = logging.getLogger(__name__)

_ABSOLUTE = "^[A-Za-z][A-Za-z0-9+.-]+:"
_BATCH_ROWS = 65_536


def take_out(
    partitions: Iterable[Partition],
    paths: DownloadPaths,
    *,
    if_exists: DownloadIfExistsOpts = DownloadIfExistsOpts.resume,
    limits: ArchiveLimits | None = None,
    stop: StopFlag | None = None,
    on_progress: ProgressSink = ignore,
) -> int:
    """Extract the files that partitions want from the archive, where it has something newer.

    They go to their place in the unarchived catalog, from which the transfer takes them. The
    archive is not read where nothing is wanted.

    Args:
        partitions: What is wanted.
        paths: Where everything goes.
        if_exists: ``overwrite`` takes them out again though they are here.
        limits: Caps on the archive.
        stop: Ends the work early.
        on_progress: Told the bytes of the archive read and the files so far.

    Returns:
        How many files were taken out.

    Raises:
        ArchiveCorrupt: if the archive is broken off or damaged.
        ArchiveLimitExceeded: if it holds more than the caps allow.
        StorageError: if the disk refuses.
        Interrupted: if ``stop`` is set.
    """
    overwrite = if_exists is DownloadIfExistsOpts.overwrite
    wanted = array("q")
    written = _written(paths.archive)
    for href, save_path in _archived(partitions):
        if overwrite or _written(paths.asset_dir / save_path) < written:
            wanted.append(hash(href.partition("/")[2]))
    if not wanted:
        return 0
    try:
        size = paths.archive.stat().st_size
    except OSError as error:
        raise StorageError(f"Cannot read {paths.archive}: {error.strerror or error}.") from error
    log.info("take %s files out of %s ...", f"{len(wanted):,}", paths.archive.name)
    extraction = Extraction(
        CatalogArchive(paths.archive, paths.dataset_id, size, ""),
        paths,
        limits or ArchiveLimits(),
        keep_same=not overwrite,
        is_wanted=_membership(wanted),
    )
    done = extraction.run(stop, on_progress)
    on_progress(Progress(Stage.UNARCHIVE, done.files, bytes_done=size, finished=True))
    return done.files


def _written(path: Path) -> float:
    """When a file was written; long ago where there is none."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _archived(partitions: Iterable[Partition]) -> Iterator[tuple[str, str]]:
    """Href and save path of the assets that have no URL."""
    import pyarrow.compute as pc

    for partition in partitions:
        with open_parquet(partition.path) as file:
            columns = ["href", "save_path"]
            for batch in file.iter_batches(
                batch_size=_BATCH_ROWS, columns=columns, use_threads=False
            ):
                absolute = pc.match_substring_regex(batch.column("href"), _ABSOLUTE)
                found = batch.filter(pc.invert(absolute))
                hrefs, saved = (found.column(name).to_pylist() for name in columns)
                yield from zip(hrefs, saved, strict=True)


def _membership(hashes: array[int]) -> Callable[[str], bool]:
    """What a set of the paths would test, in 8 bytes each: one too many does no harm."""
    import numpy as np

    from mlhub_core.buffers import distinct

    ordered = distinct(np.frombuffer(hashes, dtype=np.int64))

    def is_member(path: str) -> bool:
        found = hash(path)
        at = int(np.searchsorted(ordered, found))
        return at < len(ordered) and int(ordered[at]) == found

    return is_member
