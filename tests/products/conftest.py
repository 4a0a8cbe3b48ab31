from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlhub_core import Dataset
from mlhub_core.hub.server import DemoHub
from mlhub_core.transfer.report import DownloadReport
from tests.acceptance.conftest import QUICK
from tests.acceptance.kit import DATASET, publish
from tests.faultserver import FaultServer

Download = Callable[..., DownloadReport]


@pytest.fixture(scope="session")
def demo(demo_hub: DemoHub, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A part of the demo, downloaded; tests only read it."""
    where = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLHUB_ROOT_URL", demo_hub.url)
        patch.setenv("MLHUB_PROFILE", "__anonymous__")
        dataset = Dataset.fetch("demo_crops")
        dataset.download(where, datetime="2021-03", with_sources=True, progress=False)
    return where / "demo_crops"


@pytest.fixture
def download(server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Download:
    """Publish documents as a dataset and download it; without documents, once more."""
    monkeypatch.setenv("MLHUB_PROFILE", "__anonymous__")

    def run(*documents: Any, **options: Any) -> DownloadReport:
        if documents:
            monkeypatch.setenv("MLHUB_ROOT_URL", publish(server, *documents))
        options = {"settings": QUICK, "progress": False, **options}
        return Dataset.fetch(DATASET).download(tmp_path / "out", **options)

    return run
