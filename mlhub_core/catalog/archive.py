"""The catalog archive of a dataset, and what identifies it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class CatalogArchive:
    """A complete, verified ``{dataset_id}.tar.gz`` on disk.

    Attributes:
        path: The file.
        dataset_id: The dataset it describes.
        size: Bytes.
        sha256: Hexadecimal digest of the file: what tells one state of a catalog from the next.
        etag: As the server gave it, None when unknown.
        fetched: Bytes that this run moved for it; 0 where it was already there.
    """

    path: Path
    dataset_id: str
    size: int
    sha256: str
    etag: str | None = None
    fetched: int = 0
