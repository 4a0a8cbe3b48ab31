"""What other tools leave in a dataset's directory is named, and not counted as wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlhub_core.exceptions import DownloadIncomplete
from mlhub_core.repair import verify
from tests.acceptance.kit import DATASET, item
from tests.faultserver import FaultServer

BESIDE = [
    "image.tif.aux.xml",
    "image.tif.ovr",
    "image.tif.ovr.aux.xml",
    "image.tif.msk",
    "image.tif.msk.ovr",
    "image.tif.xml",
    "image.tif.vat.dbf",
    "image.tfw",
    "image.aux",
    "image.qml",
]
ANYWHERE = [
    ".DS_Store",
    "._image.tif",
    "Thumbs.db",
    "desktop.ini",
    ".directory",
    ".~lock.table.csv#",
    "notes.txt~",
    ".notes.txt.swp",
    ".nfs000000000001",
    ".ipynb_checkpoints/a-checkpoint.ipynb",
    "__MACOSX/._b.tif",
    "@eaDir/image.tif/x.jpg",
]
FOREIGN = ["other.tif.aux.xml", "other.tfw", "my.tif", "image.tif.bak", "DS_Store"]


def test_sidecars(download: Any, server: FaultServer, tmp_path: Path) -> None:
    download(item("a", {"image": server.put("/a.tif", b"II*\0picture")}))
    root = tmp_path / "out" / DATASET
    for name in [*BESIDE, *ANYWHERE]:
        path = root / "pictures" / "a" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (root / ".DS_Store").write_bytes(b"x")
    report = verify(root)
    assert (report.sidecar, report.wrong) == (len(BESIDE) + len(ANYWHERE) + 1, 0)
    report.raise_for_findings()
    assert "all of them whole" in report.summary()
    assert "sidecar: " in report.summary()
    assert report.listing is not None
    assert "image.tif.aux.xml" in report.listing.read_text("utf-8")
    for name in FOREIGN:
        (root / "pictures" / "a" / name).write_bytes(b"x")
    report = verify(root, repair=True)
    assert (report.foreign, report.wrong) == (len(FOREIGN), len(FOREIGN))
    with pytest.raises(DownloadIncomplete, match=f"{len(FOREIGN)} foreign"):
        report.raise_for_findings()
