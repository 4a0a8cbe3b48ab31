"""Assets that the catalog archive carries: taken from there, no host is asked.

They are copied, not linked: a later unarchive that rewrites the catalog's file must not change the
asset behind the ledger's back.
"""

from __future__ import annotations

import os
from pathlib import Path

from mlhub_core.net.body import OTHER_BYTES, Body
from mlhub_core.net.checksums import parse_checksum
from mlhub_core.selection.partition import Asset
from mlhub_core.transfer.desk import Desk, How, entry_of
from mlhub_core.transfer.failures import Failure
from mlhub_core.transfer.ledger import Entry, State


def take_carried(asset: Asset, path: Path, desk: Desk) -> None:
    """Copy an asset out of the unarchived catalog, or record why that cannot be.

    Args:
        asset: The asset.
        path: The file in the unarchived catalog.
        desk: Told of the outcome.

    Raises:
        StorageError: if the disk refuses.
    """
    if not path.is_file():
        desk.failed(asset, Failure("not in the catalog archive"))
        return
    catalog = parse_checksum(asset.checksum)
    body = Body(desk.partials.path(asset.save_path), [catalog[0]] if catalog else [])
    try:
        body.copy_from(str(path), desk.check)
    except BaseException:
        body.discard()
        raise
    failure = _mismatch(asset, body, catalog)
    if failure is not None:
        body.discard()
        desk.failed(asset, failure)
        return
    entry = entry_of(asset, body.size, body.digest("sha256"), State.VERIFIED)
    if _same_file(str(path), desk.places.path(asset.save_path)):
        body.discard()
        desk.finished(asset, entry, How.ADOPTED)
        return
    body.close()
    desk.places.put(body.path, asset.save_path)
    desk.finished(asset, entry, How.FETCHED)


def is_newer(path: Path, entry: Entry) -> bool:
    """Whether a file of the unarchived catalog was written after an asset was taken from it."""
    try:
        status = path.stat()
    except OSError:
        return False  # not taken out of the archive this time: nobody has seen that it changed
    return status.st_size != entry.size or status.st_mtime > entry.time


def _mismatch(asset: Asset, body: Body, catalog: tuple[str, str] | None) -> Failure | None:
    if asset.file_size is not None and body.size != asset.file_size:
        detail = f"{asset.file_size} bytes in the catalog, {body.size} in the archive"
        return Failure("another size than in the catalog", detail)
    if catalog is not None and body.digest(catalog[0]) != catalog[1]:
        return Failure(OTHER_BYTES, f"{catalog[0]} {catalog[1]} expected")
    return None


def _same_file(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:  # there is nothing at the final place
        return False
