"""What to do about an asset, given what lies at its place: the table of ``if_exists``, pure.

========================  ====================  ==================  ============
at the final place lies   resume                skip                overwrite
========================  ====================  ==================  ============
a file the ledger knows   KEEP                  KEEP                FETCH
one it calls damaged      CONTINUE, FETCH       CONTINUE, FETCH     FETCH
one it calls outdated     CONTINUE, FETCH       CONTINUE, FETCH     FETCH
one it does not know      PROBE (see below)     ADOPT               FETCH
nothing, but a partial    CONTINUE              CONTINUE            FETCH
nothing                   FETCH                 FETCH               FETCH
========================  ====================  ==================  ============

Known is what was fetched or adopted here, still has the size of then, and neither the catalog's
size nor its digest nor the path of its URL has changed since. What ``skip`` took unchecked is
known to ``skip`` only, or half a file would stay one for ever.

A file that contradicts the catalog's size, or is empty, is not worth a question: FETCH. One whose
digest the catalog gives is compared on the spot: COMPARE.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from mlhub_core.if_exists import DownloadIfExistsOpts
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
        source: :func:`~mlhub_core.transfer.ledger.source_digest` of its href today.
        partial: Whether a partial file that can be continued is here.
        size: Bytes as the catalog gives them.
        checksum: ``(algorithm, hexadecimal)`` as the catalog gives it.
    """

    if_exists: DownloadIfExistsOpts
    local_size: int | None = None
    entry: Entry | None = None
    source: str = ""
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
    if now.entry is not None and now.entry.state in (State.DAMAGED, State.OUTDATED):
        return fetch  # its size may fit all the same: no question about it would tell
    if _known(now):
        return Action.KEEP
    if now.if_exists is DownloadIfExistsOpts.skip:
        return Action.ADOPT
    if now.local_size == 0 or (now.size is not None and now.size < now.local_size):
        return fetch
    if now.entry is not None and now.entry.state is not State.UNCHECKED:
        return fetch  # it was whole once and no longer is: what is left of it proves nothing
    if now.checksum is not None and now.size in (None, now.local_size):
        return Action.COMPARE
    return Action.PROBE


def _known(now: Situation) -> bool:
    entry = now.entry
    if entry is None or entry.size != now.local_size:
        return False
    if now.if_exists is DownloadIfExistsOpts.skip:
        return True
    return entry.state is not State.UNCHECKED and not _outdated(now)


def _outdated(now: Situation) -> bool:
    """Whether the ledger's file is, by the catalog of today, another one."""
    entry = now.entry
    if entry is None:
        return False
    if now.size is not None and entry.size != now.size:
        return True
    if now.checksum is not None and now.checksum[0] == "sha256" and entry.sha256:
        return entry.sha256 != now.checksum[1]
    return bool(entry.source and now.source and entry.source != now.source)
