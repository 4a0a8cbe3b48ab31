"""The desk of a partition: what its exchanges share, and where they report."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import Enum
from typing import Protocol

from mlhub_core.net.response import ResponseHead
from mlhub_core.selection.partition import Asset
from mlhub_core.settings import TransferSettings
from mlhub_core.stores.local import LocalStore
from mlhub_core.transfer.failures import Failure
from mlhub_core.transfer.fingerprint import fingerprint_of
from mlhub_core.transfer.ledger import Entry, State
from mlhub_core.transfer.partials import Partials


class How(Enum):
    """How a file came to be there."""

    FETCHED = "fetched"
    RESUMED = "continued and fetched"
    ADOPTED = "it lay there"


class Desk(Protocol):
    """What exchanges of one partition share."""

    settings: TransferSettings
    places: LocalStore
    partials: Partials
    check: Callable[[], None]

    def asked(self, *, again: bool) -> None:
        """A request is sent; not the first of its asset where it is another try."""

    def moved(self, count: int) -> None:
        """Bytes of a body have come."""

    def finished(self, asset: Asset, entry: Entry, how: How) -> None:
        """An asset lies at its place."""

    def failed(self, asset: Asset, failure: Failure) -> None:
        """An asset cannot be had."""


def entry_of(
    asset: Asset,
    size: int,
    sha256: str | None,
    state: State,
    head: ResponseHead | None = None,
) -> Entry:
    """What the ledger is told about a finished file.

    Args:
        asset: The asset.
        size: Bytes.
        sha256: Digest, None for a file that was not read.
        state: How sure we are of it.
        head: Of the answer that it came with, None where there was none.
    """
    fields = head.fields if head is not None else {}
    return Entry(
        asset.save_path,
        size,
        sha256,
        fields.get("etag"),
        fields.get("last-modified"),
        fingerprint_of(asset),
        state,
        time.time_ns() // 1_000_000 / 1000,
    )
