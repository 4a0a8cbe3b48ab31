"""What a Parquet file says of itself, kept: a run opens its index several times."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq


def footer(path: Path) -> Any:
    """The metadata of a Parquet file, read again only when it is another file.

    Raises:
        OSError: if it cannot be read.
        pyarrow.ArrowInvalid: if it is no Parquet file.
    """
    status = path.stat()
    return _read(path, (status.st_ino, status.st_size, status.st_mtime_ns))


@lru_cache(maxsize=1)
def _read(path: Path, _stamp: tuple[int, int, int]) -> Any:
    return pq.read_metadata(path)
