"""An archive that came from nowhere: what it is, and where its index goes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from mlhub_core.exceptions import StorageError
from mlhub_core.layout import STATE_DIRECTORY, DownloadPaths
from mlhub_core.settings import MIB, ArchiveLimits
from mlhub_core.sources.archive import CatalogArchive
from mlhub_core.sources.members import relative_name
from mlhub_core.sources.tarheader import Kind
from mlhub_core.sources.tarstream import TarStream
from mlhub_core.stop import StopFlag

_LOOKED_AT = 1000
"""Files whose names say whether the archive has one directory at its top."""


@dataclass(frozen=True, slots=True)
class StandalonePaths(DownloadPaths):
    """Paths where the index has a name of its own.

    Attributes:
        output: The index.
    """

    output: Path

    @classmethod
    def beside(cls, output: Path, archive: CatalogArchive) -> StandalonePaths:
        """Everything goes beside the index."""
        return cls(output.parent, output.parent, archive.dataset_id, output)

    @property
    def index(self) -> Path:
        """The asset index."""
        return self.output

    @property
    def state_dir(self) -> Path:
        """What the index was made from, and the files while it is made."""
        return self.output.parent / STATE_DIRECTORY / self.output.name


def describe(path: Path, dataset_id: str | None, stop: StopFlag | None = None) -> CatalogArchive:
    """Describe an archive that is on disk.

    Args:
        path: The file.
        dataset_id: Its dataset; None for the directory that its first member lies in.
        stop: Ends the work early.

    Raises:
        ArchiveCorrupt: if it is no archive.
        StorageError: if it cannot be read.
        Interrupted: if ``stop`` is set.
    """
    hasher = hashlib.sha256()
    try:
        size = path.stat().st_size
        with path.open("rb", buffering=0) as file:
            while piece := file.read(MIB):
                hasher.update(piece)
                if stop is not None:
                    stop.check()
    except OSError as error:
        raise StorageError(f"Cannot read {path}: {error.strerror or error}.") from error
    return CatalogArchive(path, dataset_id or _root(path), size, hasher.hexdigest())


def _root(path: Path) -> str:
    """The directory that all of a catalog lies in is called as its dataset is, else the archive."""
    roots: set[str] = set()
    with TarStream(path, ArchiveLimits()) as stream:
        files = (member.name for member in stream if member.kind is Kind.FILE)
        for raw in islice(files, _LOOKED_AT):
            name, _ = relative_name(raw)
            if name:
                roots.add(name.partition("/")[0] if "/" in name else "")
    whole = roots.pop() if len(roots) == 1 else ""
    return whole or path.name.partition(".")[0] or "catalog"
