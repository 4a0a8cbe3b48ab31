"""Short numbers for texts, the same in all processes that index an archive together.

``hash`` would be quicker, but each process has its own. The key is drawn anew for each index:
nobody can make an archive in which two texts share a number.
"""

from __future__ import annotations

import os
from hashlib import blake2b

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
