"""Files that are as they were fetched, and not what the catalog says: changed since, or a page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mlhub_core.chores import open_parquet
from mlhub_core.exceptions import StorageError
from mlhub_core.layout import DownloadPaths
from mlhub_core.net.body import digest_file, first_bytes
from mlhub_core.net.checksums import parse_checksum
from mlhub_core.selection.index_reader import telling
from mlhub_core.selection.partition import Asset
from mlhub_core.stop import StopFlag
from mlhub_core.transfer.contents import LOOKED_AT, Answer, cause_against
from mlhub_core.transfer.findings import Finding, Findings, Kind
from mlhub_core.transfer.fingerprint import is_unchanged
from mlhub_core.transfer.ledger import Entry, LedgerReader, State

_BATCH = 2_000
_COLUMNS = ["save_path", "href", "file_size", "checksum", "updated", "media_type", "common_asset"]


class Uncompared(NamedTuple):
    """Files whose checksum in the catalog cannot be read.

    Attributes:
        files: How many.
        example: The first of them, with its checksum.
    """

    files: int = 0
    example: str = ""


def find_outdated(
    paths: DownloadPaths, findings: Findings, *, stop: StopFlag | None = None
) -> Uncompared:
    """Compare what the ledger knows with what the index says.

    Args:
        paths: The download, its journals merged.
        findings: Gets them, as outdated or damaged.
        stop: Looked at now and then.

    Raises:
        Interrupted: if ``stop`` is set.
        StorageError: if the disk refuses.
    """
    if not paths.index.is_file():
        return Uncompared()
    stop = stop or StopFlag()
    ledger = LedgerReader(paths.ledger_dir)
    uncompared = Uncompared()
    common: dict[str, bool] = {}
    try:
        for rows in _rows(paths.index):
            stop.check()
            known = ledger.find([row["save_path"] for row in rows])
            for row in rows:
                path = row["save_path"]
                if path not in known:
                    continue
                asset = _asset(row)
                if asset.checksum is not None and parse_checksum(asset.checksum) is None:
                    example = uncompared.example or f"{asset.checksum[:80]!r} of {path}"
                    uncompared = Uncompared(uncompared.files + 1, example)
                outdated = _is_outdated(paths, known[path], asset, stop)
                if row["common_asset"]:  # of many items, which may describe it differently
                    common[path] = common.get(path, True) and outdated
                elif outdated:
                    findings.add(_finding(path))
                elif cause := _page_in_place(paths, known[path], asset):
                    findings.add(Finding(Kind.DAMAGED, path, cause))
    finally:
        ledger.close()
    for path, outdated in common.items():
        if outdated:
            findings.add(_finding(path))
    return uncompared


def _is_outdated(paths: DownloadPaths, entry: Entry, asset: Asset, stop: StopFlag) -> bool:
    """Whether a file is another one by now; where the catalog has a checksum, its bytes tell."""
    if entry.state is not State.OUTDATED and is_unchanged(entry, asset) is not False:
        return False
    place = paths.asset_dir / asset.save_path
    if not place.exists():  # what is missing is told of already
        return False
    checksum = parse_checksum(asset.checksum)
    if checksum is None or asset.file_size not in (None, entry.size):
        return True
    algorithm, digest = checksum
    try:
        return digest_file(str(place), [algorithm], stop.check)[algorithm] != digest
    except StorageError:  # what cannot be read is told of already
        return False


def _page_in_place(paths: DownloadPaths, entry: Entry, asset: Asset) -> str:
    """What lies there instead of the file: earlier versions took pages for some formats."""
    if "://" not in asset.href or parse_checksum(asset.checksum) is not None:
        return ""
    place = paths.asset_dir / asset.save_path
    try:
        if place.stat().st_size != entry.size:
            return ""  # what is wrong with it is told already
        answer = Answer(first_bytes(str(place), LOOKED_AT), entry.size, None, entry.etag)
    except OSError:  # likewise
        return ""
    return cause_against(answer, asset)


def _finding(path: str) -> Finding:
    return Finding(Kind.OUTDATED, path, "the catalog has changed since it was fetched")


def _asset(row: dict[str, Any]) -> Asset:
    return Asset(
        row["save_path"],
        row["href"],
        "",
        None,
        "",
        row["file_size"],
        row["checksum"],
        row["media_type"],
        row.get("updated"),
    )


def _rows(index: Path) -> Iterator[list[dict[str, Any]]]:
    with telling(index, f"{index} cannot be read"), open_parquet(index) as file:
        there = set(file.schema_arrow.names)
        columns = [name for name in _COLUMNS if name in there or name != "updated"]
        for batch in file.iter_batches(batch_size=_BATCH, columns=columns, use_threads=False):
            yield batch.to_pylist()
