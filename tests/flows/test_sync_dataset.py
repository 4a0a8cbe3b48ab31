"""The flow that keeps a download as the catalog is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter

from flows.command import SYNC, main
from flows.prefect_api import drain
from flows.sync_dataset import sync_dataset
from mlhub_core.options import DownloadOptions
from tests.sync.conftest import ARCHIVE, CATALOG, Publisher, Snapshot, publisher, snapshot

__all__ = ["publisher", "snapshot"]


def parameters(root: Path, **fields: Any) -> DownloadOptions:
    return DownloadOptions.create(dataset="tiny", output_dir=str(root), **fields)


def table_of_changes() -> list[dict[str, str]]:
    drain()
    with get_client(sync_client=True) as client:
        key = ArtifactFilter(key={"any_": ["tiny-changes"]})
        found = client.read_artifacts(artifact_filter=key)
    (artifact,) = found
    rows: list[dict[str, str]] = json.loads(artifact.data)
    return rows


@pytest.mark.usefixtures("prefect_server")
def test_only_what_is_new_or_different(publisher: Publisher, snapshot: Snapshot) -> None:
    sync_dataset(parameters(publisher.root))
    assert publisher.here() == publisher.files

    publisher.server.forget()
    before = snapshot()
    state = sync_dataset(parameters(publisher.root), return_state=True)
    assert publisher.server.paths() == [CATALOG, ARCHIVE]
    assert snapshot() == before
    assert state.is_completed()
    assert "has not changed" in state.message

    publisher.put("i20", b"new")
    publisher.put("i03", b"another size")
    publisher.drop("i05")
    publisher.publish()
    publisher.server.forget()
    state = sync_dataset(parameters(publisher.root), prune=True, return_state=True)
    assert publisher.asked() == ["i03", "i20"]
    assert "1 added, 1 changed, 1 removed" in state.message
    assert publisher.here() == publisher.files
    assert sorted((row["change"], row["item"]) for row in table_of_changes()) == [
        ("added", "i20"),
        ("changed", "i03"),
        ("removed", "i05"),
    ]
    assert sync_dataset(parameters(publisher.root), prune=True).current


def test_as_a_command(
    publisher: Publisher,
    snapshot: Snapshot,
    prefect_server: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", prefect_server)
    words = ["tiny", "--output-dir", str(publisher.root)]
    assert main(words, SYNC) == 0
    assert publisher.here() == publisher.files
    assert "12 fetched" in capsys.readouterr().out

    publisher.server.forget()
    before = snapshot()
    assert main(words, SYNC) == 0
    assert publisher.server.paths() == [CATALOG, ARCHIVE]
    assert snapshot() == before
    assert "has not changed" in capsys.readouterr().out

    publisher.drop("i05")
    publisher.publish()
    assert main([*words, "--prune"], SYNC) == 0
    assert publisher.here() == publisher.files
