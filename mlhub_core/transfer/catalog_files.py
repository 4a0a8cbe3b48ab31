"""Files of the catalog archive: their names, whether they lie here as in it, and taking them out.

Out of an archive that the catalog stays in are taken the assets that it carries and a plan wants.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

from mlhub_core.exceptions import CatalogError, StorageError
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.net.body import digest_file
from mlhub_core.paths import UNARCHIVED_NAME, DownloadPaths
from mlhub_core.progress import Progress, Stage
from mlhub_core.selection.partition import Partition
from mlhub_core.sources import spec_of
from mlhub_core.sources.archive import CatalogArchive
from mlhub_core.sources.formats import open_archive
from mlhub_core.sources.members import MemberStream, shown
from mlhub_core.sources.roots import files_in
from mlhub_core.sources.tree import read_exactly
from mlhub_core.sources.unarchive import Extraction
from mlhub_core.state import read_state, under_new_names
from mlhub_core.threads import StopFlag
from mlhub_core.transfer.findings import Findings, Part, look_at
from mlhub_core.transfer.ledger import LedgerReader
from mlhub_core.transfer.names import NameSet, index_batches
from mlhub_core.work import UNWATCHED, Work

log = logging.getLogger(__name__)

_ABSOLUTE = re.compile("[A-Za-z][A-Za-z0-9+.-]+:")


def names_in(archive: Path, dataset_id: str, work: Work) -> NameSet:
    """The places of all files of an archive.

    Raises:
        CatalogError: if it cannot be read.
        StorageError: if the disk refuses.
        Interrupted: if ``stop`` is set.
    """
    names = NameSet()
    with open_archive(archive, work.limits, stop=work.stop) as stream:
        names.add(one.path for one in files_in(stream, dataset_id))
    return names


def check_catalog(
    paths: DownloadPaths,
    findings: Findings,
    work: Work,
) -> NameSet | None:
    """Hold the unarchived catalog against its archive.

    Contents are compared only where the archive is, by its digest, the one that was unarchived:
    else what differs may be older or newer, and the next download sees to that.

    Args:
        paths: The download, its journals merged.
        findings: Gets files of the catalog that are missing or not as in the archive.
        work: Caps on what is read of the archive, and what ends it early.

    Returns:
        The names of the catalog's files, relative to its directory; None where they are not known.

    Raises:
        Interrupted: if ``stop`` is set.
        StorageError: if the disk refuses.
    """
    if paths.origin is not None:
        return NameSet()  # it lies elsewhere, and nothing of it here
    if not paths.archive.is_file():
        spec = spec_of(paths.state_dir)
        if spec is not None and spec.type not in ("archive", "mlhub"):
            return NameSet()  # its documents lie in our state
        log.warning("%s is not here: files named .json count as the catalog's", paths.archive)
        return None
    try:
        names = names_in(paths.archive, paths.dataset_id, work)
        left_out = _not_extracted(paths, work.stop)
        if left_out is not None:
            with open_archive(paths.archive, work.limits, stop=work.stop) as stream:
                _compare(paths, stream, left_out, names.duplicates(), findings)
    except CatalogError as error:
        log.warning("%s Files named .json count as the catalog's.", error)
        return None
    return names


def _not_extracted(paths: DownloadPaths, stop: StopFlag) -> frozenset[str] | None:
    """Members that were not extracted; None where nothing can be compared."""
    state = under_new_names(read_state(paths.state_dir / UNARCHIVED_NAME) or {})
    noted = state.get("remarks")
    if not isinstance(noted, list) or state.get("remark_count") != len(noted):
        return None
    if state.get("sha256") != digest_file(str(paths.archive), ["sha256"], stop.check)["sha256"]:
        log.warning("%s is not the archive that was unarchived", paths.archive)
        return None
    return frozenset(str(text).rpartition(": not extracted")[0] for text in noted)


def _compare(
    paths: DownloadPaths,
    stream: MemberStream,
    left_out: frozenset[str],
    twice: NameSet,
    findings: Findings,
) -> None:
    """Compare files with those of the archive.

    Excused is what comes twice, as it was unarchived last, and a place that an asset took.
    """
    same_place = paths.catalog_dir == paths.asset_dir
    with closing(LedgerReader(paths.ledger_dir)) as ledger:
        for path, member, _ in files_in(stream, paths.dataset_id):
            if shown(member.name) in left_out:
                continue

            def same(descriptor: int) -> bool:
                pieces = stream.pieces()
                return all(read_exactly(descriptor, len(piece)) == piece for piece in pieces)

            full = f"{paths.catalog_dir}/{path}"
            finding = look_at(full, path, member.size, "in the archive", same)
            if finding is None or twice.holds([path])[0]:
                continue
            if not (same_place and ledger.find([path])):
                place = os.path.relpath(full, paths.asset_dir)
                findings.add(finding._replace(path=place, part=Part.CATALOG))


def take_out(
    partitions: Iterable[Partition],
    paths: DownloadPaths,
    if_exists: DownloadIfExistsOpts = DownloadIfExistsOpts.resume,
    work: Work = UNWATCHED,
) -> int:
    """Extract the files that partitions want from the archive, where it has something newer.

    They go to their place in the unarchived catalog, from which the transfer takes them. The
    archive is not read where nothing is wanted, and there is none where a directory is the source.

    Args:
        partitions: What is wanted.
        paths: Where everything goes.
        if_exists: ``overwrite`` takes them out again though they are here.
        work: Caps, what ends it early, and who is told the bytes of the archive read and the files
            so far.

    Returns:
        How many files were taken out.

    Raises:
        ArchiveCorrupt: if the archive is broken off or damaged.
        ArchiveLimitExceeded: if it holds more than the caps allow.
        StorageError: if the disk refuses.
        Interrupted: if ``stop`` is set.
    """
    if paths.origin is not None:
        return 0
    overwrite = if_exists is DownloadIfExistsOpts.overwrite
    wanted = NameSet()
    count = 0
    written = _written(paths.archive)
    for href, save_path in _carried(partitions, work.stop):
        if overwrite or _written(paths.asset_dir / save_path) < written:
            wanted.add([href.partition("/")[2]])
            count += 1
    if not count:
        return 0
    try:
        size = paths.archive.stat().st_size
    except OSError as error:
        raise StorageError(f"Cannot read {paths.archive}: {error.strerror or error}.") from error
    log.info("take %s files out of %s ...", f"{count:,}", paths.archive.name)
    extraction = Extraction(
        CatalogArchive(paths.archive, paths.dataset_id, size, ""),
        paths,
        work,
        keep_same=not overwrite,
        is_wanted=lambda path: wanted.holds([path])[0],
    )
    done = extraction.run()
    work.on_progress(Progress(Stage.UNARCHIVE, done.files, bytes_done=size, finished=True))
    return done.files


def _written(path: Path) -> float:
    """When a file was written; long ago where there is none."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _carried(partitions: Iterable[Partition], stop: StopFlag) -> Iterator[tuple[str, str]]:
    """Href and save path of the assets that have no URL."""
    for partition in partitions:
        for columns in index_batches(partition.path, ("href", "save_path"), stop):
            for href, save_path in zip(*columns, strict=True):
                if not _ABSOLUTE.match(href):
                    yield href, save_path
