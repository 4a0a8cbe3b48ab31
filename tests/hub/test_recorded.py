"""The recorded answers of the real API, served again."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from mlhub_core.hub.server import HubServer


@pytest.fixture
def hub(recorded: Path, tmp_path: Path) -> Iterator[HubServer]:
    for target, source in {
        "datasets/all.json": "datasets.json",
        "datasets/debris.json": "dataset_nasa_marine_debris.json",
        "collections/all.json": "collections.json",
        "models/all.json": "models.json",
        "catalogs/nasa_marine_debris.tar.gz": "nasa_marine_debris.tar.gz",
        "catalogs/nasa_marine_debris.json": "catalog_info_nasa_marine_debris.json",
    }.items():
        if target == "datasets/debris.json" and "nasa_marine_debris" in _ids(recorded):
            continue
        (tmp_path / target).parent.mkdir(exist_ok=True)
        shutil.copy(recorded / source, tmp_path / target)
    with HubServer(tmp_path, api_key="k") as server:
        yield server


def _ids(recorded: Path) -> set[str]:
    return {dataset["id"] for dataset in _load(recorded, "datasets.json")}


def _load(recorded: Path, name: str) -> Any:
    return json.loads((recorded / name).read_text(encoding="utf-8"))


def _without_links(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != "links"}


def test_the_answers_are_the_recorded_ones(
    hub: HubServer, recorded: Path, session: requests.Session
) -> None:
    def get(path: str) -> Any:
        return session.get(f"{hub.url}{path}", params={"key": "k"}).json()

    served = {dataset["id"]: dataset for dataset in get("datasets")}
    for dataset in _load(recorded, "datasets.json"):
        assert served[dataset["id"]] == dataset
    assert get("datasets/nasa_marine_debris") == _load(recorded, "dataset_nasa_marine_debris.json")
    doi = "10.6084/m9.figshare.12047478.v2"
    by_doi = _load(recorded, "dataset_by_doi_10.6084_m9.figshare.12047478.v2.json")
    assert get(f"datasets/doi/{doi}") == by_doi
    info = _load(recorded, "catalog_info_nasa_marine_debris.json")
    assert get("catalog/nasa_marine_debris/info") == info
    wanted = _load(recorded, "collections.json")
    found = get("collections")
    assert list(found) == list(wanted)
    assert [link["rel"] for link in found["links"]] == [link["rel"] for link in wanted["links"]]
    assert list(map(_without_links, found["collections"])) == list(
        map(_without_links, wanted["collections"])
    )
    assert list(map(_without_links, get("models"))) == list(
        map(_without_links, _load(recorded, "models.json"))
    )
    missing = session.get(f"{hub.url}collections/no_collection", params={"key": "k"})
    assert (missing.status_code, missing.json()) == (404, _load(recorded, "error_404.json"))
    refused = session.get(f"{hub.url}collections/bigearthnet_v1_labels/items")
    assert (refused.status_code, refused.json()) == (401, _load(recorded, "error_401.json"))


def test_links_are_those_of_the_hub(hub: HubServer, session: requests.Session) -> None:
    entry = session.get(f"{hub.url}collections/bigearthnet_v1_labels", params={"key": "k"}).json()
    assert {link["rel"]: link["href"] for link in entry["links"]} == {
        "items": f"{hub.url}collections/bigearthnet_v1_labels/items",
        "parent": hub.url,
        "root": hub.url,
        "self": f"{hub.url}collections/bigearthnet_v1_labels",
    }


def test_the_archive_is_the_recorded_one(
    hub: HubServer, recorded: Path, session: requests.Session
) -> None:
    response = session.get(f"{hub.url}catalog/nasa_marine_debris", params={"key": "k"})
    original = (recorded / "nasa_marine_debris.tar.gz").read_bytes()
    assert hashlib.sha256(response.content).digest() == hashlib.sha256(original).digest()
    assert response.headers["Content-MD5"] == "80VHL7Gf663iVhNqFJoP3A=="
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert response.headers["Content-Length"] == "263582"
