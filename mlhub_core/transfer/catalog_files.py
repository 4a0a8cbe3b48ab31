"""The unarchived catalog: which names are its files', and whether they are as in the archive."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from mlhub_core.exceptions import CatalogError
from mlhub_core.net.body import digest_file
from mlhub_core.paths import DownloadPaths
from mlhub_core.settings import ArchiveLimits
from mlhub_core.sources.members import Placement
from mlhub_core.sources.remarks import shown
from mlhub_core.sources.tar import Member, MemberKind, TarStream
from mlhub_core.sources.unarchive import MARKER_NAME
from mlhub_core.state import read_state
from mlhub_core.threads import StopFlag
from mlhub_core.transfer.findings import Findings, Part, look_at
from mlhub_core.transfer.ledger import LedgerReader
from mlhub_core.transfer.names import NameSet

log = logging.getLogger(__name__)


def files_in(stream: TarStream, dataset_id: str) -> Iterator[tuple[str, Member]]:
    """The files of an archive, each with its place in the catalog's directory.

    Raises:
        CatalogError: if it cannot be read.
        StorageError: if the disk refuses.
        Interrupted: if the stream's stop flag is set.
    """
    placement = Placement(dataset_id)
    for member in stream:
        if member.kind is MemberKind.FILE:
            path, _ = placement.place(member.name)
            if path:
                yield path, member


def names_in(
    archive: Path, dataset_id: str, limits: ArchiveLimits, stop: StopFlag | None = None
) -> NameSet:
    """The places of all files of an archive.

    Raises:
        CatalogError: if it cannot be read.
        StorageError: if the disk refuses.
        Interrupted: if ``stop`` is set.
    """
    names = NameSet()
    with TarStream(archive, limits, stop=stop) as stream:
        names.add(path for path, _ in files_in(stream, dataset_id))
    return names


def check_catalog(
    paths: DownloadPaths,
    findings: Findings,
    *,
    limits: ArchiveLimits | None = None,
    stop: StopFlag | None = None,
) -> NameSet | None:
    """Hold the unarchived catalog against its archive.

    Contents are compared only where the archive is, by its digest, the one that was unarchived:
    else what differs may be older or newer, and the next download sees to that.

    Args:
        paths: The download, its journals merged.
        findings: Gets files of the catalog that are missing or not as in the archive.
        limits: Caps on what is read of the archive.
        stop: Looked at now and then.

    Returns:
        The names of the catalog's files, relative to its directory; None where they are not known.

    Raises:
        Interrupted: if ``stop`` is set.
        StorageError: if the disk refuses.
    """
    limits, stop = limits or ArchiveLimits(), stop or StopFlag()
    if not paths.archive.is_file():
        log.warning("%s is not here: files named .json count as the catalog's", paths.archive)
        return None
    try:
        names = names_in(paths.archive, paths.dataset_id, limits, stop)
        left_out = _not_extracted(paths, stop)
        if left_out is not None:
            with TarStream(paths.archive, limits, stop=stop) as stream:
                _compare(paths, stream, left_out, names.duplicates(), findings)
    except CatalogError as error:
        log.warning("%s Files named .json count as the catalog's.", error)
        return None
    return names


def _not_extracted(paths: DownloadPaths, stop: StopFlag) -> frozenset[str] | None:
    """Members that were not extracted; None where nothing can be compared."""
    state: dict[str, Any] = read_state(paths.state_dir / MARKER_NAME) or {}
    noted = state.get("oddities")
    if not isinstance(noted, list) or state.get("oddity_count") != len(noted):
        return None
    if state.get("sha256") != digest_file(str(paths.archive), ["sha256"], stop.check)["sha256"]:
        log.warning("%s is not the archive that was unarchived", paths.archive)
        return None
    return frozenset(str(text).rpartition(": not extracted")[0] for text in noted)


def _compare(
    paths: DownloadPaths,
    stream: TarStream,
    left_out: frozenset[str],
    twice: NameSet,
    findings: Findings,
) -> None:
    """Compare files with those of the archive.

    Excused is what comes twice, as it was unarchived last, and a place that an asset took.
    """
    same_place = paths.catalog_dir == paths.asset_dir
    with closing(LedgerReader(paths.ledger_dir)) as ledger:
        for path, member in files_in(stream, paths.dataset_id):
            if shown(member.name) in left_out:
                continue

            def same(descriptor: int) -> bool:
                pieces = stream.pieces()
                return all(_read_exactly(descriptor, len(piece)) == piece for piece in pieces)

            full = f"{paths.catalog_dir}/{path}"
            finding = look_at(full, path, member.size, "in the archive", same)
            if finding is None or twice.holds([path])[0]:
                continue
            if not (same_place and ledger.find([path])):
                place = os.path.relpath(full, paths.asset_dir)
                findings.add(finding._replace(path=place, part=Part.CATALOG))


def _read_exactly(descriptor: int, count: int) -> bytes:
    data = os.read(descriptor, count)
    while len(data) < count and (more := os.read(descriptor, count - len(data))):
        data += more
    return data
