from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlhub_core import Dataset
from mlhub_core.hub.server import DemoHub
from mlhub_core.settings import RunSettings, TransferSettings
from mlhub_core.transfer.report import DownloadReport
from tests.acceptance.kit import DATASET, KEY, publish
from tests.faultserver import FaultServer

Download = Callable[..., DownloadReport]

QUICK = RunSettings(
    transfer=TransferSettings(
        stall_timeout=30.0, backoff_base=0.01, backoff_cap=0.02, retry_after_cap=0.05
    )
)


@pytest.fixture(scope="session")
def keyed_hub() -> Iterator[DemoHub]:
    """The demo hub, for those who have the key."""
    with DemoHub(api_key=KEY) as hub:
        yield hub


@pytest.fixture
def download(server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Download:
    """Publish documents as a dataset and download it; without documents, once more."""
    monkeypatch.setenv("MLHUB_PROFILE", "__anonymous__")

    def run(*documents: Any, members: dict[str, bytes] | None = None, **options: Any) -> Any:
        if documents or members is not None:
            root = publish(server, *documents, members=members)
            monkeypatch.setenv("MLHUB_ROOT_URL", root)
        options = {"settings": QUICK, "progress": False, **options}
        return Dataset.fetch(DATASET).download(tmp_path / "out", **options)

    return run


@pytest.fixture
def files(tmp_path: Path) -> Callable[[], dict[str, bytes]]:
    """The files of the dataset by path, without its documents and what is ours."""
    root = tmp_path / "out" / DATASET

    def found() -> dict[str, bytes]:
        return {
            place.as_posix(): path.read_bytes()
            for path in root.rglob("*")
            if path.is_file()
            and {".mlhub", "stac"}.isdisjoint((place := path.relative_to(root)).parts)
            and not place.name.startswith(
                ("mlhub_stac_assets", "err_report", "items.parquet", "croissant.json")
            )
            and place.name not in ("catalog.json", "collection.json")
            and place.stem != place.parent.name
        }

    return found
