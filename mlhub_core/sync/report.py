"""What a sync came to, in numbers and in words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mlhub_core.sync.changes import Changes
from mlhub_core.transfer.report import DownloadReport


@dataclass(frozen=True)
class SyncReport:
    """What a sync did.

    Attributes:
        dataset_id: The dataset.
        directory: Where its assets lie.
        current: Whether there was nothing to do: one question, and no write.
        changes: What the new catalog changed; None where there was no other one to compare with.
        download: What was fetched; None where there was nothing to do.
        pruned: Files moved into the trash; None where that was not asked for.
    """

    dataset_id: str
    directory: Path
    current: bool = False
    changes: Changes | None = None
    download: DownloadReport | None = None
    pruned: int | None = None

    def summary(self) -> str:
        """A few lines for people."""
        if self.current:
            return f"{self.dataset_id}: the catalog has not changed, and everything is here."
        lines = []
        if self.changes is not None:
            lines.append(f"Assets in the catalog: {self.changes}.")
            if self.changes.added or self.changes.changed or self.changes.removed:
                lines.append(f"They are listed in {self.changes.table}")
        if self.download is not None:
            lines.append(self.download.summary())
        if self.pruned:
            lines.append(f"{self.pruned:,} files that are gone were moved into .mlhub/trash.")
        elif self.pruned is None and self.changes is not None and self.changes.removed:
            lines.append("What is gone was left where it is; --prune moves it away.")
        return "\n".join(lines)

    def raise_for_failures(self, *, strict: bool = False) -> None:
        """Raise if any asset could not be had.

        Args:
            strict: Raise also if the catalog itself lacks something that it names.

        Raises:
            DownloadIncomplete: with the report of the download.
        """
        if self.download is not None:
            self.download.raise_for_failures(strict=strict)
