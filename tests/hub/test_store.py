from __future__ import annotations

from pathlib import Path

import pytest

from mlhub_core.exceptions import EntityDoesNotExist, InvalidArgument
from mlhub_core.hub.store import HubStore

from .conftest import small_directory, write_json


@pytest.fixture
def store(tmp_path: Path) -> HubStore:
    return HubStore.load(small_directory(tmp_path))


@pytest.mark.parametrize(
    ("tags", "text", "found"),
    [
        ([], [], ["alpha", "beta"]),
        (["crop type"], [], ["alpha", "beta"]),
        (["crop type", "radar"], [], ["alpha"]),
        (["Radar"], [], []),
        (["crop"], [], []),
        ([], ["FIELDS"], ["alpha"]),
        ([], ["on weeds"], ["alpha"]),
        ([], ["n. obody", "alpha f"], ["alpha"]),
        ([], ["fields", "nowhere"], []),
        ([], ["weeds n. obody"], []),  # a phrase does not run from one text into the next
        ([], ["publications"], []),  # names of fields are not text
        (["radar"], ["beta"], []),
    ],
)
def test_search(store: HubStore, tags: list[str], text: list[str], found: list[str]) -> None:
    assert [dataset["id"] for dataset in store.search(tags, text)] == found


def test_dois_have_no_case(store: HubStore) -> None:
    assert store.dataset_by_doi("10.1/abc.DEF")["id"] == "alpha"
    with pytest.raises(EntityDoesNotExist, match=r"10\.1/none"):
        store.dataset_by_doi("10.1/none")


def test_infos(store: HubStore) -> None:
    assert store.archive_info("alpha_source") == {
        "collection": "alpha_source",
        "dataset": "alpha",
        "size": 7,
        "types": ["source_imagery"],
    }
    assert store.catalog_info("alpha") == {
        "dataset": "alpha",
        "stac_catalog_size": 16,
        "estimated_dataset_size": None,
    }


def test_a_file_says_how_large_a_dataset_is(tmp_path: Path) -> None:
    root = small_directory(tmp_path)
    write_json(root / "catalogs" / "alpha.json", {"estimated_dataset_size": 5})
    assert HubStore.load(root).catalog_info("alpha")["estimated_dataset_size"] == 5
    write_json(root / "catalogs" / "alpha.json", {"size": 5})
    with pytest.raises(InvalidArgument, match=r"alpha\.json"):
        HubStore.load(root)


@pytest.mark.parametrize("name", ["../secret", "nowhere", "beta"])
def test_what_is_not_there_does_not_exist(store: HubStore, name: str) -> None:
    for lookup in (store.catalog_file, store.archive_file, store.collection, store.items_file):
        with pytest.raises(EntityDoesNotExist, match=name):
            lookup(name)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{not json", "is not JSON"),
        ("", "is not JSON"),
        ("3", "does not hold datasets"),
        ("[3]", "does not hold datasets"),
        ('{"title": "no id"}', "does not hold datasets"),
        ('{"id": 7}', "does not hold datasets"),
        ('{"id": "alpha"}', "there already"),
    ],
)
def test_an_unusable_file_is_named(tmp_path: Path, content: str, complaint: str) -> None:
    root = small_directory(tmp_path)
    (root / "datasets" / "zzz.json").write_text(content, encoding="utf-8")
    with pytest.raises(InvalidArgument, match=complaint) as caught:
        HubStore.load(root)
    assert str(root / "datasets" / "zzz.json") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_directory_must_be_one(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="not a directory"):
        HubStore.load(tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(InvalidArgument, match="not a directory"):
        HubStore.load(tmp_path / "file")


def test_an_empty_directory_is_empty(tmp_path: Path) -> None:
    assert HubStore.load(tmp_path).is_empty
    write_json(tmp_path / "models" / "m.json", [])
    assert HubStore.load(tmp_path).is_empty
    write_json(tmp_path / "models" / "n.json", [{"id": "n"}])
    assert not HubStore.load(tmp_path).is_empty
