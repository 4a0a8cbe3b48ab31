"""A dataset on a fault server that is hub and asset host at once, and can be published anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mlhub_core.options import DownloadOptions
from mlhub_core.paths import DownloadPaths
from mlhub_core.pipeline import sync
from mlhub_core.request import DownloadRequest
from mlhub_core.sync.changes import SyncReport
from tests.acceptance.kit import DATASET, ROOT, item, publish
from tests.faultserver import FaultServer

CATALOG = f"{ROOT}catalog/{DATASET}"
ARCHIVE = "/archives/tiny.tar.gz"


@dataclass
class Publisher:
    """A dataset of items with one asset each, and its download."""

    server: FaultServer
    root: Path
    files: dict[str, bytes] = field(default_factory=dict)
    properties: dict[str, dict[str, Any]] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)

    def put(self, name: str, content: bytes, **properties: Any) -> None:
        """Have an item with these bytes; its size goes into the catalog."""
        self.files[name] = content
        self.properties[name] = properties
        self.server.put(f"/f/{name}.tif{self.query.get(name, '')}", content)

    def drop(self, name: str) -> None:
        del self.files[name]

    def publish(self) -> None:
        documents = []
        for name, content in self.files.items():
            href = self.server.url(f"/f/{name}.tif{self.query.get(name, '')}")
            asset = {"href": href, "file:size": len(content)}
            properties = {"datetime": "2020-06-01T12:00:00Z", **self.properties[name]}
            documents.append(item(name, {"data": asset}, properties=properties))
        publish(self.server, *documents)

    @property
    def paths(self) -> DownloadPaths:
        return DownloadPaths.of(DATASET, self.root)

    def request(self, **fields: Any) -> DownloadRequest:
        return DownloadOptions.create(
            dataset=DATASET, output_dir=str(self.root), **fields
        ).request()

    def sync(self, *, prune: bool = False, **fields: Any) -> SyncReport:
        self.server.forget()
        return sync(self.request(**fields), prune=prune)

    def asked(self) -> list[str]:
        """Items whose file was asked for, in order of their names."""
        paths = self.server.paths()
        return sorted(path[3:].partition(".")[0] for path in paths if path.startswith("/f/"))

    def place(self, name: str) -> Path:
        return self.paths.asset_dir / "pictures" / name / "data.tif"

    def here(self) -> dict[str, bytes]:
        """The files of items that lie on disk."""
        root = self.paths.asset_dir / "pictures"
        return {path.parent.name: path.read_bytes() for path in root.glob("*/data.tif")}


@pytest.fixture
def publisher(server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Publisher:
    monkeypatch.setenv("MLHUB_ROOT_URL", server.url(ROOT))
    monkeypatch.setenv("MLHUB_API_KEY", "")
    monkeypatch.setenv("MLHUB_PROFILE", "__anonymous__")
    made = Publisher(server, tmp_path / "data")
    for number in range(12):
        made.put(f"i{number:02d}", f"content {number}".encode(), updated="2021-01-01T00:00:00Z")
    made.publish()
    return made


Snapshot = Callable[[], dict[str, tuple[int, int, int]]]


@pytest.fixture
def snapshot(publisher: Publisher) -> Snapshot:
    def take() -> dict[str, tuple[int, int, int]]:
        """Everything below the directory, ours included, with what a write would change."""
        return {
            str(path): (status.st_mtime_ns, status.st_ino, status.st_size)
            for path in [publisher.root, *publisher.root.rglob("*")]
            if (status := path.lstat())
        }

    return take
