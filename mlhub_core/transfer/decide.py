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

And files that the catalog archive holds: they are taken from there.
"""

from __future__ import annotations

import os
import time
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.net.body import OTHER_BYTES, Body, digest_file
from mlhub_core.net.checksums import parse_checksum
from mlhub_core.net.resume import Asked
from mlhub_core.paths import DownloadPaths
from mlhub_core.selection.partition import Asset
from mlhub_core.stores.local import is_safe
from mlhub_core.transfer.download import AssetDownload, How, Run, entry_of
from mlhub_core.transfer.failures import Failure
from mlhub_core.transfer.ledger import Entry, State
from mlhub_core.transfer.sources import (
    PREFIX,
    InCatalog,
    Remote,
    Unusable,
    fingerprint_of,
    hrefs_of,
    is_prefix,
    is_unchanged,
    locate,
)


class Action(Enum):
    """What is done about one asset."""

    KEEP = "it is here: nothing"
    ADOPT = "take what lies there, unchecked"
    COMPARE = "compare what lies there with the catalog's digest"
    PROBE = "ask for what is missing of what lies there"
    CONTINUE = "ask for what is missing of our partial file"
    FETCH = "fetch the whole file"


_ASKED = {Action.PROBE: Asked.PROBE, Action.CONTINUE: Asked.CONTINUE}
"""What a host is asked for; for all other actions the whole file."""


class Situation(NamedTuple):
    """What is known about an asset before anybody is asked.

    Attributes:
        if_exists: The user's choice.
        local_size: Bytes of the file at the final place, None where there is none.
        entry: What the ledger says, None where nothing.
        unchanged: What :func:`~mlhub_core.transfer.sources.is_unchanged` says of it.
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


class Decider:
    """Decides about the assets of a partition, and does what needs no network.

    Args:
        run: Told of what is done; it knows what lies here.
        paths: Where everything goes.
        if_exists: What to do about files that lie there already.
    """

    def __init__(self, run: Run, paths: DownloadPaths, if_exists: DownloadIfExistsOpts) -> None:
        self._run = run
        self._places, self._origin = (paths.output_dir, paths.catalog_dir), paths.origin
        self._if_exists = if_exists

    def download_of(self, asset: Asset, entry: Entry | None) -> AssetDownload | None:
        """What is to be fetched for an asset; None where that was not needed, or cannot be.

        Args:
            asset: The asset.
            entry: What the ledger says of it, None where nothing.

        Raises:
            StorageError: if the disk refuses.
        """
        asset = self._expected(asset)
        if entry is not None:
            asset = asset._replace(fingerprint=fingerprint_of(asset))  # once, for all who ask
        if not is_safe(asset.save_path):
            self._run.failed(asset, Failure("save path leads out of the directory"))
            return None
        local = self._run.places.stat(asset.save_path)
        if local is None and not self._run.partials.any():
            # As the table says for every choice, only sooner.
            return self._fetch(asset, Asked.WHOLE, None)
        action = decide(self._situation(asset, entry, local))
        if action is Action.KEEP:
            assert entry is not None
            if not self._is_taken_anew(asset, entry):
                self._keep(asset, entry)
            return None
        if action is Action.ADOPT:
            assert local is not None
            self._adopt(asset, local[0], None, State.UNCHECKED)
            return None
        if action is Action.COMPARE:
            if self._compares(asset):
                return None
            partial = self._run.partials.read_note(asset.save_path) is not None
            action = Action.CONTINUE if partial else Action.FETCH
        if action is Action.PROBE and self._run.places.leads_out(asset.save_path):
            action = Action.FETCH  # what a link out of the directory leads to is not copied
        return self._fetch(asset, _ASKED.get(action, Asked.WHOLE), local)

    def _expected(self, asset: Asset) -> Asset:
        """An asset without what of the catalog is not to be compared."""
        settings = self._run.settings
        if not (settings.ignore_file_size or settings.ignore_checksum):
            return asset
        return asset._replace(
            fingerprint=fingerprint_of(asset),
            file_size=None if settings.ignore_file_size else asset.file_size,
            checksum=None if settings.ignore_checksum else asset.checksum,
        )

    def _is_taken_anew(self, asset: Asset, entry: Entry) -> bool:
        """Take an asset out of the catalog again, if that has other bytes for it by now."""
        if "://" in asset.href:
            return False
        source = self._locate(asset)
        if not isinstance(source, InCatalog) or not _is_newer(source.path, entry):
            return False
        if digest_file(str(source.path), ["sha256"], self._run.check)["sha256"] == entry.sha256:
            os.utime(self._run.places.path(asset.save_path))
            self._run.record(entry._replace(time=time.time()))
            return False
        _take_from_catalog(asset, source, self._run)
        return True

    def _keep(self, asset: Asset, entry: Entry) -> None:
        self._run.kept(asset, entry)
        found = fingerprint_of(asset)
        if entry.source != found and is_unchanged(entry, asset):
            # What the first edition recorded says less: from now on, changes will be seen.
            self._run.record(entry._replace(source=found))

    def _situation(
        self, asset: Asset, entry: Entry | None, local: tuple[int, float] | None
    ) -> Situation:
        return Situation(
            if_exists=self._if_exists,
            local_size=None if local is None else local[0],
            entry=entry,
            unchanged=None if entry is None else is_unchanged(entry, asset),
            partial=self._run.partials.read_note(asset.save_path) is not None,
            size=asset.file_size,
            checksum=parse_checksum(asset.checksum),
        )

    def _compares(self, asset: Asset) -> bool:
        """Whether the file that lies there has the digest of the catalog; then it is recorded."""
        checksum = parse_checksum(asset.checksum)
        assert checksum is not None
        path = self._run.places.path(asset.save_path)
        digests = digest_file(path, {"sha256", checksum[0]}, self._run.check)
        if digests[checksum[0]] != checksum[1]:
            return False
        local = self._run.places.stat(asset.save_path)
        if local is None:
            return False
        self._adopt(asset, local[0], digests["sha256"], State.ADOPTED)
        return True

    def _adopt(self, asset: Asset, size: int, sha256: str | None, state: State) -> None:
        entry = entry_of(asset, size, sha256, state)
        self._run.finished(asset, entry, How.ADOPTED)

    def _fetch(
        self, asset: Asset, asked: Asked, local: tuple[int, float] | None
    ) -> AssetDownload | None:
        hrefs = hrefs_of(asset, self._run.settings.alternates)
        found = [self._located(asset, href) for href in hrefs]
        source, *others = [one for one in found if not isinstance(one, Unusable)] or found
        if isinstance(source, Remote):
            remotes = [one for one in others if isinstance(one, Remote)]
            return AssetDownload(asset, source, asked, self._run, local, remotes)
        if isinstance(source, InCatalog):
            _take_from_catalog(asset, source, self._run)
        elif isinstance(source, Unusable):
            self._run.failed(asset, Failure(source.cause))
        return None

    def _located(self, asset: Asset, href: str) -> Remote | InCatalog | Unusable:
        source = self._locate(asset if href == asset.href else asset._replace(href=href))
        if not isinstance(source, Unusable) and is_prefix(href, asset.media_type):
            return Unusable(PREFIX)
        return source

    def _locate(self, asset: Asset) -> Remote | InCatalog | Unusable:
        return locate(asset.href, *self._places, self._run.settings, self._origin)


def _take_from_catalog(asset: Asset, source: InCatalog, run: Run) -> None:
    """Copy an asset out of the unarchived catalog, or record why that cannot be.

    It is not linked: a later unarchive that rewrites the catalog's file must not change the asset
    behind the ledger's back.

    Args:
        asset: The asset.
        source: The file, as a rule in the unarchived catalog.
        run: Told of the outcome.

    Raises:
        StorageError: if the disk refuses.
    """
    path = source.path
    if not path.is_file():
        run.failed(asset, Failure(f"not {source.where}"))
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


def _is_newer(path: Path, entry: Entry) -> bool:
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
