"""The common answer: a small file, whole, and nothing odd about it. Taken in one go.

What :mod:`~mlhub_core.transfer.fetch` comes to for such an answer, in a third of the time; for any
other it is asked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from mlhub_core.net.response import ResponseHead
from mlhub_core.selection.partition import Asset
from mlhub_core.transfer.contents import LOOKED_AT, Answer, cause_against
from mlhub_core.transfer.desk import Desk, Taken

_PLAIN_FIELDS = frozenset(
    {"connection", "content-length", "content-type", "date", "etag", "last-modified"}
)
"""Without encodings, digests and parts, of which there is more to say."""


def take_small(asset: Asset, head: ResponseHead, pieces: Sequence[bytes], desk: Desk) -> bool:
    """Put a file into its place and on the desk's list, if its answer is as nearly all are.

    What there is to record is recorded for several files together: between one file's bytes and the
    next one's, the processor's cache has forgotten how.

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
    answer = Answer(data[:LOOKED_AT], size, fields.get("content-type"), fields.get("etag"))
    if not size or cause_against(answer, asset):
        return False
    sha256 = hashlib.sha256(data).hexdigest()
    desk.places.put(data, desk.partials.scratch, asset.save_path)
    desk.taken.append(Taken(asset, size, sha256, head))
    return True
