"""Short numbers for texts, the same in all processes that index an archive together.

``hash`` would be quicker, but each process has its own. The key is drawn anew for each index:
nobody can make an archive in which two texts share a number.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from hashlib import blake2b

import orjson

_BYTES = 8
_KEY_BYTES = 16


def new_key() -> bytes:
    """A key for one index."""
    return os.urandom(_KEY_BYTES)


def number_of(data: bytes, key: bytes) -> int:
    """A number of 64 bits, sign included, for a text."""
    return int.from_bytes(
        blake2b(data, digest_size=_BYTES, key=key).digest(), "little", signed=True
    )


def claims_text(claims: Iterable[tuple[str, str]]) -> bytes:
    """Keys and extensions of an item's assets, in order of their keys, as one text."""
    return orjson.dumps(list(claims))


def content_text(item_id: str, claims: bytes, files: Sequence[str]) -> bytes:
    """What tells an item from another one that wants the same directory, as one text.

    Args:
        item_id: Its id.
        claims: Its claims, by :func:`claims_text`.
        files: What each asset shares with others exactly when they are one file, in the same order.
    """
    return claims + orjson.dumps((item_id, files))
