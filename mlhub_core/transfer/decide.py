"""What to do about an asset without asking any host: the table of ``if_exists``.

========================  ====================  ==================  ============
at the final place lies   resume                skip                overwrite
========================  ====================  ==================  ============
a file the ledger knows   KEEP                  KEEP                FETCH
one it calls damaged      CONTINUE, FETCH       CONTINUE, FETCH     FETCH
one it calls outdated     COMPARE, else as      COMPARE, else as    FETCH
                          if nothing were       if nothing were
one it does not know      PROBE (see below)     ADOPT               FETCH
nothing, but a partial    CONTINUE              CONTINUE            FETCH
nothing                   FETCH                 FETCH               FETCH
========================  ====================  ==================  ============

Known is what was fetched or adopted here, still has the size of then, and of which the catalog says
today what it said then. What ``skip`` took unchecked is known to ``skip`` only, or half a file
would stay one for ever.

A file whose digest the catalog gives is compared on the spot, however much else has changed:
COMPARE. One that contradicts the catalog's size, or is empty, is not worth that or a question:
FETCH.

And files that the catalog archive carries: they are taken from there.
"""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.net.body import OTHER_BYTES, Body
from mlhub_core.net.checksums import parse_checksum
from mlhub_core.selection.partition import Asset
from mlhub_core.transfer.download import How, Run, entry_of
from mlhub_core.transfer.failures import Failure
from mlhub_core.transfer.ledger import Entry, State


class Action(Enum):
    """What is done about one asset."""

    KEEP = "it is here: nothing"
    ADOPT = "take what lies there, unchecked"
    COMPARE = "compare what lies there with the catalog's digest"
    PROBE = "ask for what is missing of what lies there"
    CONTINUE = "ask for what is missing of our partial file"
    FETCH = "fetch the whole file"


class Situation(NamedTuple):
    """What is known about an asset before anybody is asked.

    Attributes:
        if_exists: The user's choice.
        local_size: Bytes of the file at the final place, None where there is none.
        entry: What the ledger says, None where nothing.
        unchanged: What :func:`~mlhub_core.transfer.fingerprint.is_unchanged` says of it.
        partial: Whether a partial file that can be continued is here.
        size: Bytes as the catalog gives them.
        checksum: ``(algorithm, hexadecimal)`` as the catalog gives it.
    """

    if_exists: DownloadIfExistsOpts
    local_size: int | None = None
    entry: Entry | None = None
    unchanged: bool | None = True
    partial: bool = False
    size: int | None = None
    checksum: tuple[str, str] | None = None


def decide(now: Situation) -> Action:
    """Look up the table in the module's description."""
    if now.if_exists is DownloadIfExistsOpts.overwrite:
        return Action.FETCH
    fetch = Action.CONTINUE if now.partial else Action.FETCH
    if now.local_size is None:
        return fetch
    state = None if now.entry is None else now.entry.state
    if state is State.DAMAGED:
        return fetch  # its size may fit all the same: no question about it would tell
    if state is not State.OUTDATED:
        if _known(now):
            return Action.KEEP
        if now.if_exists is DownloadIfExistsOpts.skip:
            return Action.ADOPT
    return _ask(now, state, fetch)


def _ask(now: Situation, state: State | None, fetch: Action) -> Action:
    """What to do about a file that may be the right one, and may not."""
    assert now.local_size is not None
    if now.local_size == 0 or (now.size is not None and now.size < now.local_size):
        return fetch
    if now.checksum is not None and now.size in (None, now.local_size):
        return Action.COMPARE
    # A file that was whole once is another one now, on either side: no question about it tells.
    return Action.PROBE if state in (None, State.UNCHECKED) else fetch


def _known(now: Situation) -> bool:
    entry = now.entry
    if entry is None or entry.size != now.local_size:
        return False
    if now.if_exists is DownloadIfExistsOpts.skip:
        return True
    return entry.state is not State.UNCHECKED and now.unchanged is True


def take_from_catalog(asset: Asset, path: Path, run: Run) -> None:
    """Copy an asset out of the unarchived catalog, or record why that cannot be.

    It is not linked: a later unarchive that rewrites the catalog's file must not change the asset
    behind the ledger's back.

    Args:
        asset: The asset.
        path: The file in the unarchived catalog.
        run: Told of the outcome.

    Raises:
        StorageError: if the disk refuses.
    """
    if not path.is_file():
        run.failed(asset, Failure("not in the catalog archive"))
        return
    catalog = parse_checksum(asset.checksum)
    body = Body(run.partials.path(asset.save_path), [catalog[0]] if catalog else [])
    try:
        body.copy_from(str(path), run.check)
    except BaseException:
        body.discard()
        raise
    failure = _mismatch(asset, body, catalog)
    if failure is not None:
        body.discard()
        run.failed(asset, failure)
        return
    entry = entry_of(asset, body.size, body.digest("sha256"), State.VERIFIED)
    if _same_file(str(path), run.places.path(asset.save_path)):
        body.discard()
        run.finished(asset, entry, How.ADOPTED)
        return
    body.close()
    run.places.put(body.path, asset.save_path)
    run.finished(asset, entry, How.FETCHED)


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
