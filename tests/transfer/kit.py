"""What the tests of the transfer share: a dataset on a fault server, and runs over it."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.net.limits import ConnectionLimits
from mlhub_core.paths import DownloadPaths
from mlhub_core.progress import ProgressSink, ignore
from mlhub_core.selection.partition import Asset, Partition, write_assets
from mlhub_core.settings import TransferSettings
from mlhub_core.threads import StopFlag
from mlhub_core.transfer.failures import merge_failures
from mlhub_core.transfer.ledger import Entry, LedgerReader
from mlhub_core.transfer.report import PartitionResult
from mlhub_core.transfer.run import download_partitions
from tests.faultserver import FaultServer

QUICK = {
    "connect_timeout": 30.0,
    "stall_timeout": 30.0,  # on a busy machine what is late would come twice
    "max_attempts": 3,
    "backoff_base": 0.01,
    "backoff_cap": 0.02,
    "retry_after_cap": 0.05,
    "resume_threshold": 1000,
}


OVERLAP = 4096
"""Bytes of a partial file that are asked for once more, and compared."""

IMPATIENT = 1.0
"""Seconds without a byte, for a server that is silent on purpose.

On a busy machine a good answer may be as late, and be asked for once more: no exact counts.
"""


def quick(**changes: object) -> TransferSettings:
    """Settings with which no test waits."""
    return TransferSettings(**{**QUICK, **changes})  # type: ignore[arg-type]


@dataclass
class Kit:
    """One download directory and its assets."""

    root: Path
    server: FaultServer
    assets: list[Asset] = field(default_factory=list)
    settings: TransferSettings = field(default_factory=quick)
    limits: ConnectionLimits | None = None

    @property
    def paths(self) -> DownloadPaths:
        return DownloadPaths.of("ds", self.root)

    def want(self, path: str, **about: object) -> Asset:
        """Ask for a path of the server, saved under the same path."""
        href = about.pop("href", self.server.url(path))
        asset = Asset(f"c{path}", href, "c", path.strip("/"), "data", **about)  # type: ignore[arg-type]
        self.assets.append(asset)
        return asset

    def final(self, path: str) -> Path:
        return self.paths.asset_dir / f"c{path}"

    def lay(self, path: str, content: bytes) -> Path:
        """Put a file where an asset goes."""
        final = self.final(path)
        final.parent.mkdir(parents=True, exist_ok=True)
        final.write_bytes(content)
        return final

    def partition(self, number: int = 1, assets: list[Asset] | None = None) -> Partition:
        listed = self.assets if assets is None else assets
        path = self.paths.plan_dir / f"{number}.parquet"
        return Partition(number, number, path, write_assets(path, listed))

    def run(
        self,
        if_exists: str = "resume",
        stop: StopFlag | None = None,
        on_progress: ProgressSink = ignore,
    ) -> PartitionResult:
        (result,) = download_partitions(
            [self.partition()],
            self.paths,
            if_exists=DownloadIfExistsOpts.of(if_exists),
            settings=self.settings,
            limits=self.limits or ConnectionLimits(self.settings.concurrency),
            stop=stop,
            on_progress=on_progress,
        )
        return result

    def errors(self, *results: PartitionResult) -> dict[str, str]:
        """The errors of ``err_report.csv`` by item id."""
        merge_failures(results, self.paths.err_report)
        if not self.paths.err_report.exists():
            return {}
        with self.paths.err_report.open(encoding="utf-8", newline="") as file:
            return {row["item"]: row["error"] for row in csv.DictReader(file)}

    def entries(self) -> dict[str, Entry]:
        reader = LedgerReader(self.paths.ledger_dir)
        found = reader.find([asset.save_path for asset in self.assets])
        reader.close()
        return found

    def partials(self) -> list[str]:
        """Names of partial files and notes."""
        return sorted(path.name for path in self.paths.partial_dir.iterdir())

    def files(self) -> Iterator[Path]:
        """All files outside our state."""
        for path in self.paths.asset_dir.rglob("*"):
            if path.is_file() and ".mlhub" not in path.parts and path.name != "err_report.csv":
                yield path


def content(seed: object, size: int) -> bytes:
    """Bytes that differ everywhere from those of another seed."""
    block = hashlib.sha256(repr(seed).encode()).digest()
    out = bytearray()
    while len(out) < size:
        out += block
        block = hashlib.sha256(block).digest()
    return bytes(out[:size])
