"""A whole download of a tiny dataset from a hub on a fault server, and what lies in it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mlhub_core.paths import DownloadPaths
from mlhub_core.pipeline import download
from mlhub_core.request import DownloadRequest
from mlhub_core.settings import RunSettings
from mlhub_core.transfer.report import DownloadReport
from tests.acceptance.kit import DATASET, Json, catalog_members, collection, item, publish
from tests.faultserver import FaultServer
from tests.transfer.kit import content, quick

SETTINGS = RunSettings(transfer=quick(stall_timeout=30.0))
CARRIED = b'{"type": "FeatureCollection", "features": []}'


@cache
def truth(number: int) -> bytes:
    return content(number, 3_000_000 if number == 0 else 50 + 37 * number)


@dataclass
class Tiny:
    """The dataset: an item for each file, and one whose file lies in the catalog archive.

    That file is the catalog's own and, at the same place, the asset's.
    """

    root: Path
    server: FaultServer
    files: int

    @property
    def paths(self) -> DownloadPaths:
        return DownloadPaths.of(DATASET, self.root)

    @property
    def directory(self) -> Path:
        return self.paths.asset_dir

    def save_path(self, number: int) -> str:
        return f"pictures/i{number:03d}/data.tif"

    def final(self, number: int) -> Path:
        return self.directory / self.save_path(number)

    @property
    def carried(self) -> Path:
        return self.directory / "pictures/labels/labels.geojson"

    def truth(self, number: int) -> bytes:
        return truth(number)

    def url_path(self, number: int) -> str:
        return f"/assets/{number}.tif"

    def publish(self) -> str:
        documents: list[Json] = [collection()]
        for number in range(self.files):
            url = self.server.put(self.url_path(number), self.truth(number))
            documents.append(item(f"i{number:03d}", {"data": url}))
        labels = item("labels", {"labels": "./labels.geojson"})
        members = catalog_members(*documents, labels)
        # The item of the labels lies where their file is saved.
        inner = next(name for name in members if name.endswith(f"n{len(documents)}.json"))
        members[f"{DATASET}/pictures/labels/labels.json"] = members.pop(inner)
        members[f"{DATASET}/pictures/labels/labels.geojson"] = CARRIED
        return publish(self.server, members=members)

    def download(self, **how: object) -> DownloadReport:
        settings = how.pop("settings", SETTINGS)
        request = DownloadRequest(DATASET, self.root, settings=settings, **how)  # type: ignore[arg-type]
        return download(request)

    def assets_asked_for(self) -> list[str]:
        return [path for path in self.server.paths() if path.startswith("/assets/")]

    def is_whole(self) -> bool:
        """Whether every file is as the server has it."""
        pictures = all(self.final(n).read_bytes() == self.truth(n) for n in range(self.files))
        return pictures and self.carried.read_bytes() == CARRIED
