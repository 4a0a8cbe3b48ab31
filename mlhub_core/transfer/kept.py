"""Files that are as they were: all that there is to a complete re-run, so done with little ado."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from mlhub_core.selection.partition import Asset
from mlhub_core.transfer.entry import State
from mlhub_core.transfer.fingerprint import fingerprint
from mlhub_core.transfer.ledger import LedgerReader


class Sifted(NamedTuple):
    """A batch without the files that are as they were.

    Attributes:
        left: The others, in order.
        known: Paths of those that the ledger knows something about.
        kept: How many are as they were.
        size: Bytes of those.
    """

    left: list[Asset]
    known: list[str]
    kept: int
    size: int


def sift(batch: Sequence[Asset], root: str, ledger: LedgerReader) -> Sifted:
    """Take out of a batch the verified files that nothing is to be done about.

    What is left is for :func:`~mlhub_core.transfer.decide.decide` to weigh. It would keep what is
    taken out here as well, but takes three times as long.

    Args:
        batch: Assets.
        root: The dataset's asset directory.
        ledger: What was fetched.

    Raises:
        StorageError: if the ledger cannot be read.
    """
    marks = ledger.marks([asset.save_path for asset in batch])
    if not marks:
        return Sifted(list(batch), [], 0, 0)
    left: list[Asset] = []
    kept = total = 0
    for asset in batch:
        path, href, _, _, _, file_size, checksum, _, updated, _ = asset
        size, source, state = marks.get(path, _NOTHING)
        if (
            state in _WHOLE
            and "://" in href  # what the catalog carries may have changed with it
            and fingerprint(href, file_size, checksum, updated) == source
            and _size(f"{root}/{path}") == size
        ):
            kept += 1
            total += size
        else:
            left.append(asset)
    return Sifted(left, [asset[0] for asset in left if asset[0] in marks], kept, total)


_NOTHING = (0, "", "")
_WHOLE = frozenset({State.VERIFIED, State.ADOPTED})


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size
    except OSError:
        return None  # whoever looks closer says what is wrong
