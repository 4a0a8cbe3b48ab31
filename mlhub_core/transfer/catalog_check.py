"""Holds the unarchived catalog against its archive, and learns which names are the catalog's.

Contents are compared only where the archive is, by its digest, the one that was unarchived: else
what differs may be older or newer, and the next download sees to that.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from mlhub_core.exceptions import CatalogError
from mlhub_core.layout import DownloadPaths
from mlhub_core.net.body import digest_file
from mlhub_core.settings import ArchiveLimits
from mlhub_core.sources.members import Placement
from mlhub_core.sources.remarks import shown
from mlhub_core.sources.tarheader import Kind as MemberKind
from mlhub_core.sources.tarstream import Member, TarStream
from mlhub_core.sources.unarchive import MARKER_NAME
from mlhub_core.state import read_state
from mlhub_core.stop import StopFlag
from mlhub_core.transfer.findings import Finding, Findings, Part, read_findings
from mlhub_core.transfer.judge import judge
from mlhub_core.transfer.ledger import LedgerReader
from mlhub_core.transfer.names import NameSet

log = logging.getLogger(__name__)

_SPOOL_NAME = "findings-catalog.csv"
_BATCH = 2_000


class CatalogNames:
    """The names of the catalog's files, relative to its directory.

    Args:
        names: The names; None where they are not known, and ``.json`` has to do.
    """

    def __init__(self, names: NameSet | None = None) -> None:
        self._names = names

    def others(self, files: list[str]) -> list[str]:
        """Those of some files that are not the catalog's."""
        if self._names is None:
            return [path for path in files if not path.lower().endswith(".json")]
        own = self._names.holds(files)
        return [path for path, is_own in zip(files, own, strict=True) if not is_own]


def check_catalog(
    paths: DownloadPaths,
    findings: Findings,
    *,
    limits: ArchiveLimits | None = None,
    stop: StopFlag | None = None,
) -> CatalogNames:
    """Read the archive through, and compare what lies on disk with it.

    Args:
        paths: The download, its journals merged.
        findings: Gets files of the catalog that are missing or not as in the archive.
        limits: Caps on what is read of the archive.
        stop: Looked at now and then.

    Raises:
        Interrupted: if ``stop`` is set.
        StorageError: if the disk refuses.
    """
    if not paths.archive.is_file():
        log.warning("%s is not here: files named .json count as the catalog's", paths.archive)
        return CatalogNames()
    check = _Check(paths, limits or ArchiveLimits(), stop or StopFlag())
    try:
        with Findings(paths.state_dir / _SPOOL_NAME) as spool:
            names = check.run(spool)
        for finding in check.confirmed(read_findings(spool.path)):
            findings.add(finding)
    except CatalogError as error:
        log.warning("%s Files named .json count as the catalog's.", error)
        return CatalogNames()
    finally:
        (paths.state_dir / _SPOOL_NAME).unlink(missing_ok=True)
    return names


class _Check:
    def __init__(self, paths: DownloadPaths, limits: ArchiveLimits, stop: StopFlag) -> None:
        self._paths = paths
        self._limits = limits
        self._stop = stop
        self._names = NameSet()

    def run(self, spool: Findings) -> CatalogNames:
        placement = Placement(self._paths.dataset_id)
        odd = self._odd_members()
        with TarStream(self._paths.archive, self._limits, stop=self._stop) as stream:
            for member in stream:
                path = placement.place(member.name)[0] if member.kind is MemberKind.FILE else ""
                if not path:
                    continue
                self._names.add((path,))
                if odd is not None and shown(member.name) not in odd:
                    finding = self._compare(path, member, stream)
                    if finding is not None:
                        spool.add(finding)
        return CatalogNames(self._names)

    def _odd_members(self) -> frozenset[str] | None:
        """Members that were not extracted; None where nothing can be compared."""
        state: dict[str, Any] = read_state(self._paths.state_dir / MARKER_NAME) or {}
        noted = state.get("oddities")
        if not isinstance(noted, list) or state.get("oddity_count") != len(noted):
            return None
        digest = digest_file(str(self._paths.archive), ["sha256"], self._stop.check)["sha256"]
        if state.get("sha256") != digest:
            log.warning("%s is not the archive that was unarchived", self._paths.archive)
            return None
        return frozenset(str(text).rpartition(": not extracted")[0] for text in noted)

    def _compare(self, path: str, member: Member, stream: TarStream) -> Finding | None:
        def same(descriptor: int) -> bool:
            return all(_read_exactly(descriptor, len(piece)) == piece for piece in stream.pieces())

        full = f"{self._paths.catalog_dir}/{path}"
        finding = judge(full, path, member.size, "in the archive", same)
        return None if finding is None else finding._replace(part=Part.CATALOG)

    def confirmed(self, spooled: Iterable[Finding]) -> Iterator[Finding]:
        """Those that nothing excuses: neither a second member of the name, nor an asset there."""
        twice = self._names.duplicates()
        ledger = LedgerReader(self._paths.ledger_dir)
        same_place = self._paths.catalog_dir == self._paths.asset_dir
        rest = iter(spooled)
        try:
            while batch := list(islice(rest, _BATCH)):
                listed = [finding.path for finding in batch]
                assets = ledger.find(listed) if same_place else {}
                for finding, repeated in zip(batch, twice.holds(listed), strict=True):
                    if not repeated and finding.path not in assets:
                        yield finding._replace(path=self._shown(finding.path))
        finally:
            ledger.close()

    def _shown(self, path: str) -> str:
        return os.path.relpath(self._paths.catalog_dir / path, self._paths.asset_dir)


def _read_exactly(descriptor: int, count: int) -> bytes:
    data = os.read(descriptor, count)
    while len(data) < count and (more := os.read(descriptor, count - len(data))):
        data += more
    return data
