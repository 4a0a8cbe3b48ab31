"""Checks a download offline: what is recorded, what the catalog says, and what else lies there."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlhub_core.exceptions import DownloadIncomplete
from mlhub_core.paths import DownloadPaths
from mlhub_core.progress import ProgressSink, ignore
from mlhub_core.selection.plan import counted, format_bytes
from mlhub_core.settings import ArchiveLimits
from mlhub_core.threads import StopFlag
from mlhub_core.transfer.catalog_files import check_catalog
from mlhub_core.transfer.findings import Finding, Findings, Kind
from mlhub_core.transfer.recorded import check_outdated, check_recorded
from mlhub_core.transfer.report import DownloadReport, uncompared_text
from mlhub_core.transfer.unrecorded import check_unrecorded

FINDINGS_NAME = "findings.csv"

_SHOWN = 5
"""Names of each kind in the summary."""


@dataclass(frozen=True)
class VerifyReport:
    """What was found.

    Attributes:
        dataset_id: The dataset.
        directory: Where its assets lie.
        files: Files that the ledger knows, each of them looked at.
        bytes: Their sizes together.
        sizes_only: Those of which only the size could be compared: they were taken over unread.
        missing: Files that are not there.
        truncated: Files that are too short.
        damaged: Files whose digest is another one, that are too long, or cannot be read.
        outdated: Files of which the catalog says something else today.
        unrecorded: Files of the dataset that the ledger does not know.
        foreign: Files that nothing of the dataset explains.
        sidecar: Files that other tools left beside the data; nothing is wrong with them.
        uncompared: Files whose checksum in the catalog cannot be read.
        uncompared_example: The first of them, with its checksum.
        catalog: Those of the missing, truncated and damaged that are files of the catalog.
        first: The first findings of each kind.
        listing: A file that lists all of them, None when there are none.
        err_report: What the last download could not have, None when nothing.
        repaired: What the repair did, None where there was none.
        seconds: From start to end.
    """

    dataset_id: str
    directory: Path
    files: int = 0
    bytes: int = 0
    sizes_only: int = 0
    missing: int = 0
    truncated: int = 0
    damaged: int = 0
    outdated: int = 0
    unrecorded: int = 0
    foreign: int = 0
    sidecar: int = 0
    uncompared: int = 0
    uncompared_example: str = ""
    catalog: int = 0
    first: tuple[Finding, ...] = ()
    listing: Path | None = None
    err_report: Path | None = None
    repaired: DownloadReport | None = None
    seconds: float = 0.0

    @property
    def repairable(self) -> int:
        """Files that a repair can do something about: all but what no download brought."""
        return self.missing + self.truncated + self.damaged + self.outdated + self.unrecorded

    @property
    def wrong(self) -> int:
        """Files that are not as they should be now, after the repair if there was one."""
        left = self.repairable if self.repaired is None else self.repaired.failed
        return left + self.foreign

    def summary(self) -> str:
        """A few lines for people."""
        checked = f"{counted(self.files, 'file')} checked ({format_bytes(self.bytes)})"
        lines = [
            f"{self.dataset_id}: {checked} in {self.seconds:.1f} s, {self._headline()}",
            f"In {self.directory}",
        ]
        for kind in Kind:
            lines += self._lines_of(kind)
        if self.listing is not None:
            lines.append(f"They are listed in {self.listing}")
        if self.uncompared:
            lines.append(uncompared_text(self.uncompared, self.uncompared_example))
        if self.sizes_only:
            lines.append(
                f"{self.sizes_only:,} files were taken over unread: only their size was compared."
            )
        if self.repaired is not None:
            lines += self._repair_lines(self.repaired)
        if self.err_report is not None:
            lines.append(
                f"Some files were never had, see {self.err_report}: `mlhub retry` asks for them."
            )
        return "\n".join(lines)

    def _headline(self) -> str:
        found = {kind: getattr(self, kind.value) for kind in Kind if kind is not Kind.SIDECAR}
        told = [f"{count:,} {kind.value}" for kind, count in found.items() if count]
        left = f" Other tools left {counted(self.sidecar, 'file')}." if self.sidecar else ""
        return (f"{', '.join(told)}." if told else "all of them whole.") + left

    def _lines_of(self, kind: Kind) -> list[str]:
        named = [finding for finding in self.first if finding.kind is kind][:_SHOWN]
        lines = [f"  {escaped(str(finding))}" for finding in named]
        hidden = getattr(self, kind.value) - len(named)
        return [*lines, f"  and {hidden:,} more {kind.value}"] if hidden else lines

    @staticmethod
    def _repair_lines(repaired: DownloadReport) -> list[str]:
        good = repaired.files - repaired.failed
        lines = [f"{good:,} of {repaired.files:,} repaired."]
        for cause, host, count in repaired.causes:
            lines.append(f"  {count:,} x {cause}" + (f" ({host})" if host else ""))
        return lines

    def raise_for_findings(self) -> None:
        """Raise if anything is not as it should be.

        Raises:
            DownloadIncomplete: with this report as its ``report``.
        """
        if not self.wrong:
            return
        left = self.wrong - self.foreign
        told = []
        if left and self.repaired is None:
            told.append(f"`mlhub verify --repair {self.directory}` fetches {left:,} of them again")
        elif left:
            told.append(f"{left:,} could not be repaired")
        if self.foreign:
            told.append(f"{self.foreign:,} foreign to the dataset, left to you")
        raise DownloadIncomplete(
            f"{counted(self.wrong, 'file')} of {self.dataset_id} not as it should be: "
            f"{'; '.join(told)}. They are listed in {self.listing}.",
            report=self,
        )


def check_download(
    paths: DownloadPaths,
    *,
    limits: ArchiveLimits | None = None,
    stop: StopFlag | None = None,
    on_progress: ProgressSink = ignore,
) -> VerifyReport:
    """Check every file that the ledger knows, and every file that it does not.

    Args:
        paths: The download, its lock held and its journals merged.
        limits: Caps on what is read of the catalog archive.
        stop: Stops the work when set.
        on_progress: Gets ``Stage.VERIFY``.

    Raises:
        StorageError: if the disk refuses.
        Interrupted: if stopped.
    """
    started = time.monotonic()
    with Findings(paths.state_dir / FINDINGS_NAME) as findings:
        files, size, sizes_only = check_recorded(
            paths, findings, stop=stop, on_progress=on_progress
        )
        catalog = check_catalog(paths, findings, limits=limits, stop=stop)
        uncompared, example = check_outdated(paths, findings, stop=stop)
        check_unrecorded(paths, catalog, findings, stop=stop)
    counts: dict[str, Any] = {kind.value: findings.counts[kind] for kind in Kind}
    return VerifyReport(
        dataset_id=paths.dataset_id,
        directory=paths.asset_dir,
        files=files,
        bytes=size,
        sizes_only=sizes_only,
        **counts,
        uncompared=uncompared,
        uncompared_example=example,
        catalog=findings.of_catalog,
        first=tuple(findings.first),
        listing=findings.path if findings.counts else None,
        err_report=paths.err_report if paths.err_report.exists() else None,
        seconds=time.monotonic() - started,
    )


def escaped(text: str) -> str:
    """Names of foreign files for a terminal: what is no text, or would control it, is escaped."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode()
        for char in text
    )
