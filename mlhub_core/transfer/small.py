"""The common answer: a small file, whole, and nothing odd about it. Taken in one go.

What :mod:`~mlhub_core.transfer.fetch` comes to for such an answer, in a third of the time; for any
other it is asked.
"""

from __future__ import annotations

import hashlib

from mlhub_core.selection.partition import Asset
from mlhub_core.transfer.desk import Desk, How, entry_of
from mlhub_core.transfer.head import ResponseHead
from mlhub_core.transfer.ledger import State

_PLAIN_FIELDS = frozenset({"content-length", "content-type", "date", "etag", "last-modified"})
"""Without encodings, digests and parts, of which there is more to say."""


def take_small(asset: Asset, head: ResponseHead, pieces: list[bytes], desk: Desk) -> bool:
    """Put a file into its place and record it, if its answer is as nearly all are.

    Args:
        asset: The asset.
        head: Of the answer to a request for the whole file.
        pieces: The whole body.
        desk: Shared by the partition.

    Returns:
        Whether it was; else nothing has happened.

    Raises:
        StorageError: if the disk refuses.
    """
    status, fields = head
    if status != 200 or not fields.keys() <= _PLAIN_FIELDS:
        return False
    if asset.checksum is not None or desk.partials.any():
        return False
    data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    size = len(data)
    if fields.get("content-length") != str(size) or asset.file_size not in (None, size):
        return False
    if not size or "html" in fields.get("content-type", "").lower():
        return False
    sha256 = hashlib.sha256(data).hexdigest()
    desk.places.put(data, desk.partials.scratch(), asset.save_path)
    desk.moved(size)
    desk.finished(asset, entry_of(asset, size, sha256, State.VERIFIED, head), How.FETCHED)
    return True
