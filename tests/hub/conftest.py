from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from mlhub_core.hub.server import HubServer


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    """Keeps its connection; a connection for each request would be most of the time."""
    with requests.Session() as client:
        client.trust_env = False  # no proxy, no netrc of the machine
        yield client


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def small_directory(root: Path) -> Path:
    """A directory with a little of everything, for tests that change it."""
    write_json(
        root / "datasets" / "all.json",
        [
            {
                "id": "alpha",
                "title": "Alpha Fields",
                "doi": "10.1/ABC.def",
                "tags": ["crop type", "radar"],
                "collections": [{"id": "alpha_source", "types": ["source_imagery"]}],
                "publications": [{"title": "On Weeds", "author_name": "N. Obody"}],
            },
            {
                "id": "beta",
                "title": "Beta",
                "doi": None,
                "tags": ["crop type"],
                "collections": [],
                "publications": None,
            },
        ],
    )
    write_json(root / "collections" / "one.json", {"id": "alpha_source", "type": "Collection"})
    write_json(root / "collections" / "more.json", {"collections": [{"id": "no_items"}]})
    write_json(root / "models" / "m.json", {"id": "m", "properties": {}})
    lines = [json.dumps({"id": f"item-{number}", "n": number}) for number in range(7)]
    (root / "items").mkdir()
    (root / "items" / "alpha_source.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for folder in ("assets", "catalogs", "archives"):
        (root / folder).mkdir()
    (root / "catalogs" / "alpha.tar.gz").write_bytes(b"catalog of alpha")
    (root / "archives" / "alpha_source.tar.gz").write_bytes(b"archive")
    (root / "assets" / "a.tif").write_bytes(b"0123456789")
    (root / "secret.txt").write_text("not for you", encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def small_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    with HubServer(small_directory(tmp_path_factory.mktemp("small"))) as hub:
        yield hub
