"""Files in a dataset's directory that the ledger does not know: whose are they?

The catalog's, our own, an asset's that was never recorded, or nobody's. The catalog's are told by
the names in its archive; where that is gone, whatever ends in ``.json`` passes for the catalog's.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

from mlhub_core.catalog.members import Placement
from mlhub_core.catalog.tarheader import Kind as MemberKind
from mlhub_core.catalog.tarstream import TarStream
from mlhub_core.exceptions import CatalogError, StorageError
from mlhub_core.layout import (
    ASSET_DB_NAME,
    ERR_REPORT_NAME,
    INDEX_NAME,
    STATE_DIRECTORY,
    DownloadPaths,
)
from mlhub_core.settings import ArchiveLimits
from mlhub_core.stop import StopFlag
from mlhub_core.transfer.findings import Finding, Findings, Kind
from mlhub_core.transfer.ledger import LedgerReader
from mlhub_core.transfer.names import NameSet
from mlhub_core.transfer.storage import storage_error

log = logging.getLogger(__name__)

_OWN = frozenset({STATE_DIRECTORY, INDEX_NAME, ASSET_DB_NAME, ERR_REPORT_NAME})
_BATCH = 2_000
_INDEX_ROWS = 65_536


def find_strays(
    paths: DownloadPaths,
    findings: Findings,
    *,
    limits: ArchiveLimits | None = None,
    stop: StopFlag | None = None,
) -> None:
    """Find the files that the ledger does not know, and say which are nobody's.

    Directories without files, and links to directories, say nothing and are passed over.

    Args:
        paths: The download, its ledger compacted.
        findings: Gets them, as unrecorded or foreign.
        limits: Caps on what is read of the catalog archive.
        stop: Looked at now and then.

    Raises:
        Interrupted: if ``stop`` is set.
        StorageError: if the disk refuses.
    """
    stop = stop or StopFlag()
    ledger = LedgerReader(paths.ledger_dir)
    catalog = _Catalog(paths, limits or ArchiveLimits(), stop)
    index: NameSet | None = None
    try:
        for batch in _batches(_walk(paths.asset_dir)):
            stop.check()
            known = ledger.find([path for path in batch if _is_text(path)])
            unknown = catalog.without_its_own([path for path in batch if path not in known])
            if not unknown:
                continue
            index = _save_paths(paths.index, stop) if index is None else index
            for path, is_asset in zip(unknown, index.holds(unknown), strict=True):
                findings.add(Finding(Kind.UNRECORDED if is_asset else Kind.FOREIGN, path))
    finally:
        ledger.close()


def _is_text(path: str) -> bool:
    """Whether a name is UTF-8, as all of the ledger's are."""
    return path.isascii() or not any("\ud800" <= char <= "\udfff" for char in path)


def _walk(root: Path) -> Iterator[str]:
    """Paths of all files but our own, relative to the root."""
    directories = [""]
    while directories:
        directory = directories.pop()
        try:
            with os.scandir(f"{root}/{directory}") as listed:
                for entry in listed:
                    path = directory + entry.name
                    if path in _OWN:
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        directories.append(path + "/")
                    elif not entry.is_dir():
                        yield path
        except OSError as error:
            raise storage_error(f"look into {root}/{directory}", error) from error


def _batches(paths: Iterator[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    for path in paths:
        batch.append(path)
        if len(batch) >= _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


class _Catalog:
    """The catalog's files among those of the asset directory; read when first asked for."""

    def __init__(self, paths: DownloadPaths, limits: ArchiveLimits, stop: StopFlag) -> None:
        self._paths = paths
        self._limits = limits
        self._stop = stop
        self._names: NameSet | None = None
        self._by_suffix = False

    def without_its_own(self, files: list[str]) -> list[str]:
        """Those of some files that are not the catalog's."""
        if not files or self._paths.catalog_dir != self._paths.asset_dir:
            return files
        if self._names is None:
            self._names = self._read()
        if self._by_suffix:
            return [path for path in files if not path.lower().endswith(".json")]
        own = self._names.holds(files)
        return [path for path, is_own in zip(files, own, strict=True) if not is_own]

    def _read(self) -> NameSet:
        names = NameSet()
        archive = self._paths.archive
        if not archive.is_file():
            self._by_suffix = True
            log.warning("%s is not here: files named .json count as the catalog's", archive)
            return names
        placement = Placement(self._paths.dataset_id)
        try:
            with TarStream(archive, self._limits, stop=self._stop) as stream:
                names.add(
                    path
                    for member in stream
                    if member.kind is MemberKind.FILE and (path := placement.place(member.name)[0])
                )
        except CatalogError as error:
            self._by_suffix = True
            log.warning("%s Files named .json count as the catalog's.", error)
        return names


def _save_paths(index: Path, stop: StopFlag) -> NameSet:
    """Where assets go, by the index; nothing where there is none."""
    import pyarrow.parquet as pq

    names = NameSet()
    if not index.is_file():
        return names
    try:
        with pq.ParquetFile(index) as file:
            for batch in file.iter_batches(batch_size=_INDEX_ROWS, columns=["save_path"]):
                stop.check()
                names.add(batch.column(0).to_pylist())
    except (OSError, ValueError, LookupError) as error:  # Arrow's errors are among these
        raise StorageError(
            f"Cannot read {index}: {error}. Remove it; the next download makes it anew."
        ) from error
    return names
