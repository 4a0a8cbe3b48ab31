"""One pass over the archive: what lies where, and who reads it."""

from __future__ import annotations

from array import array

from mlhub_core.exceptions import ArchiveLimitExceeded
from mlhub_core.index.collecting import Rows
from mlhub_core.index.dealing import ALONE, Dealing
from mlhub_core.index.findings import Findings
from mlhub_core.index.hrefs import BEYOND
from mlhub_core.index.reader import Reader
from mlhub_core.index.save_paths import Plan
from mlhub_core.index.second import Chunk, Second
from mlhub_core.settings import MIB, ArchiveLimits
from mlhub_core.sources.members import Placement
from mlhub_core.sources.remarks import shown
from mlhub_core.sources.tarheader import Kind
from mlhub_core.sources.tarstream import Member, TarStream

_LARGE = 4 * MIB
"""Larger files are read here: sending them would take several times their size in memory."""


class Scan:
    """Collects what one pass finds.

    Args:
        dataset_id: The dataset's id.
        plan: What earlier passes found out.
        rows: Where rows go.
        limits: Caps.
        second: A second process that reads along.
        dealing: How files are dealt out to it.

    Attributes:
        files: Hashes of the paths of all files, those of ``hash``; of those that the archive has
            beside the dataset's directory, also by which they are called from within it.
    """

    def __init__(
        self,
        dataset_id: str,
        plan: Plan,
        rows: Rows,
        limits: ArchiveLimits,
        second: Second | None = None,
        dealing: Dealing = ALONE,
    ) -> None:
        self._rows = rows
        self._limits = limits
        self._second = second
        self._dealing = dealing
        self._chunks = 0
        self._placement = Placement(dataset_id)
        self._reader = Reader(plan, rows)
        self._chunk: Chunk = []
        self._chunk_bytes = 0
        self._number = 0
        self._has_root = False
        self._beside = array("q")
        self.files = array("q")

    @property
    def findings(self) -> Findings:
        """What has been found."""
        return self._reader.findings

    @property
    def assets(self) -> int:
        """Assets read so far."""
        return self.findings.assets + (self._second.assets if self._second is not None else 0)

    def member(self, stream: TarStream, member: Member) -> None:
        """Take one member of the archive."""
        if member.kind is not Kind.FILE:
            return
        path, why = self._placement.place(member.name)
        if why:
            return  # unarchive names it
        self.files.append(hash(path))
        if self._placement.is_below:
            self._has_root = True
        else:
            self._beside.append(hash(f"{BEYOND}/{path}"))
        self._number += 1
        lower = path[-8:].lower()
        if lower.endswith((".json", ".geojson")) and self._fits_in_memory(member, path, lower):
            self._take(stream.read(), path)
        else:
            self._reader.hold(path)

    def finish(self) -> None:
        """Have the rest read, and gather what others found."""
        self._deal()
        if self._second is not None:
            self._second.finish()
        self._rows.flush()
        if self._second is not None:
            self.findings.merge(self._second.outcome())
        self.findings.begin(self._number + 1)
        if self._has_root:
            self.files.extend(self._beside)

    def _deal(self) -> None:
        """Have what has been gathered read: by the other process if it has nothing to do."""
        chunk = self._chunk
        self._chunk = []
        self._chunk_bytes = 0
        if self._second is not None and chunk:
            wanted = self._dealing.to_second(self._chunks)
            self._chunks += 1
            if wanted is not False and self._second.take(chunk, wait=wanted is True):
                return
        read = self._reader.read
        for data, path, number in chunk:
            read(data, path, number)

    def _take(self, data: bytes, path: str) -> None:
        if len(data) > _LARGE:
            self._deal()  # a process reads its files in order of the archive
            self._reader.read(data, path, self._number)
            return
        self._chunk.append((data, path, self._number))
        self._chunk_bytes += len(data)
        if self._is_full():
            self._deal()

    def _is_full(self) -> bool:
        return (
            self._chunk_bytes >= self._dealing.chunk_bytes
            or len(self._chunk) >= self._dealing.chunk_files
        )

    def _fits_in_memory(self, member: Member, path: str, lower: str) -> bool:
        if member.size <= self._limits.max_json_bytes:
            return True
        if lower.endswith(".geojson"):
            self._deal()  # so that oddities stay in order
            self.findings.begin(self._number)
            self.findings.lack(path, f"not read: {member.size:,} bytes are too many for an item")
            return False
        raise ArchiveLimitExceeded(
            f"{shown(path)} of the archive has {member.size:,} bytes of JSON: if you trust it, "
            "raise ArchiveLimits.max_json_bytes (--max-json-bytes)."
        )
