"""Files in a dataset's directory that the ledger does not know: whose are they?

The catalog's, our own, an asset's that was never recorded, or nobody's.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path

from mlhub_core.chores import open_parquet
from mlhub_core.layout import (
    ASSET_DB_NAME,
    ERR_REPORT_NAME,
    INDEX_NAME,
    STATE_DIRECTORY,
    DownloadPaths,
)
from mlhub_core.selection.index_reader import telling
from mlhub_core.stop import StopFlag
from mlhub_core.transfer.catalog_check import CatalogNames
from mlhub_core.transfer.findings import Finding, Findings, Kind
from mlhub_core.transfer.ledger import LedgerReader
from mlhub_core.transfer.names import NameSet
from mlhub_core.transfer.sidecars import is_sidecar
from mlhub_core.transfer.storage import storage_error

_OWN = frozenset({STATE_DIRECTORY, INDEX_NAME, ASSET_DB_NAME, ERR_REPORT_NAME})
_BATCH = 2_000
_INDEX_ROWS = 65_536
_DEEP = 16
"""Levels of directories from which on a directory is listed at once."""


def find_strays(
    paths: DownloadPaths,
    catalog: CatalogNames,
    findings: Findings,
    *,
    stop: StopFlag | None = None,
) -> None:
    """Find the files that the ledger does not know, and say which are nobody's.

    Directories without files, and links to directories, say nothing and are passed over.

    Args:
        paths: The download, its journals merged.
        catalog: The names of the catalog's files.
        findings: Gets them, as unrecorded, foreign, or left by other tools.
        stop: Looked at now and then.

    Raises:
        Interrupted: if ``stop`` is set.
        StorageError: if the disk refuses.
    """
    stop = stop or StopFlag()
    ledger = LedgerReader(paths.ledger_dir)
    same_place = paths.catalog_dir == paths.asset_dir
    index: NameSet | None = None
    root = str(paths.asset_dir)
    try:
        for batch in _batches(_walk(paths.asset_dir)):
            stop.check()
            known = ledger.find([path for path in batch if _is_text(path)])
            unknown = [path for path in batch if path not in known]
            unknown = catalog.others(unknown) if same_place else unknown
            if not unknown:
                continue
            index = _save_paths(paths.index, stop) if index is None else index
            for path, is_asset in zip(unknown, index.holds(unknown), strict=True):
                findings.add(Finding(_kind_of(root, path, is_asset), path))
    finally:
        ledger.close()


def _kind_of(root: str, path: str, is_asset: bool) -> Kind:
    if is_asset:
        return Kind.UNRECORDED
    return Kind.SIDECAR if is_sidecar(root, path) else Kind.FOREIGN


def _is_text(path: str) -> bool:
    """Whether a name is UTF-8, as all of the ledger's are."""
    return path.isascii() or not any("\ud800" <= char <= "\udfff" for char in path)


def _walk(root: Path) -> Iterator[str]:
    """Paths of all files but our own, relative to the root.

    A directory is read on only when what it holds so far has been walked: a collection has as many
    directories as items, and they are not to be held in memory.
    """
    open_ones = [_listed(root, "", 0)]
    try:
        while open_ones:
            found = next(open_ones[-1], None)
            if found is None:
                open_ones.pop()
                continue
            path, is_directory = found
            if is_directory:
                open_ones.append(_listed(root, path + "/", len(open_ones)))
            else:
                yield path
    finally:
        for listed in reversed(open_ones):
            listed.close()


def _listed(root: Path, directory: str, depth: int) -> Generator[tuple[str, bool], None, None]:
    """Paths in one directory, and whether each is a directory."""
    try:
        with os.scandir(f"{root}/{directory}") as entries:
            # Each level that is read bit by bit holds a descriptor, of which there are not many.
            for entry in entries if depth < _DEEP else list(entries):
                path = directory + entry.name
                if path in _OWN:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    yield path, True
                elif not entry.is_dir():
                    yield path, False
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


def _save_paths(index: Path, stop: StopFlag) -> NameSet:
    """Where assets go, by the index; nothing where there is none."""
    names = NameSet()
    if not index.is_file():
        return names
    with telling(index, f"{index} cannot be read"), open_parquet(index) as file:
        for batch in file.iter_batches(
            batch_size=_INDEX_ROWS, columns=["save_path"], use_threads=False
        ):
            stop.check()
            names.add(batch.column(0).to_pylist())
    return names
