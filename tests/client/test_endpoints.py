"""The endpoint functions and the objects over them, against the demo hub and recorded answers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pystac
import pytest

from mlhub_core import Collection, Dataset, MLModel, client
from mlhub_core.exceptions import EntityDoesNotExist, InvalidArgument
from mlhub_core.hub.server import DemoHub, HubServer

SOURCE, LABELS, PLOTS = "demo_crops_source_sentinel_2", "demo_crops_labels", "demo_crops_plots"


@pytest.mark.usefixtures("at_demo_hub")
class TestDemo:
    def test_list_by_tags_and_text(self) -> None:
        (dataset,) = Dataset.list()
        assert str(dataset) == f"{dataset.id}: {dataset.title}"
        (tag, *_) = dataset.extra_fields["tags"]
        assert [d.id for d in Dataset.list(tags=tag)] == ["demo_crops"]
        assert Dataset.list(tags=[tag, "no such tag"]) == []
        assert Dataset.list(tags=tag[:-1]) == [], "tags are exact"
        assert dataset.title
        assert [d.id for d in Dataset.list(text=dataset.title[2:-2].upper())] == ["demo_crops"]
        assert Dataset.list(text=[dataset.title, "no such phrase"]) == []

    @pytest.mark.parametrize("words", ["", [""], [3]])
    def test_empty_words_are_refused(self, words: object) -> None:
        with pytest.raises(InvalidArgument, match="tags"):
            Dataset.list(tags=words)  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        "name",
        ["demo_crops", "10.12345/demo.crops", "https://doi.org/10.12345/demo.crops"],
    )
    def test_fetch_by_either(self, name: str) -> None:
        dataset = Dataset.fetch(name)
        assert (dataset.id, dataset.doi) == ("demo_crops", "10.12345/demo.crops")
        assert dataset.citation
        assert Dataset.fetch_by_id("demo_crops").title == dataset.title
        assert Dataset.fetch_by_doi("10.12345/demo.crops").id == "demo_crops"

    def test_sizes(self) -> None:
        dataset = Dataset.fetch("demo_crops")
        assert dataset.stac_catalog_size
        assert dataset.estimated_dataset_size
        assert dataset.estimated_dataset_size > dataset.stac_catalog_size

    def test_collections_by_type(self) -> None:
        collections = Dataset.fetch("demo_crops").collections
        assert sorted(c.id for c in collections) == sorted([SOURCE, LABELS, PLOTS])
        assert {c.id for c in collections.source_imagery} == {SOURCE, PLOTS}
        assert {c.id for c in collections.labels} == {LABELS, PLOTS}
        assert len(collections) == 3
        assert collections[0] in collections
        assert len(collections[:2]) == 2

    def test_collections_and_items(self) -> None:
        assert {c.id for c in Collection.list()} == {SOURCE, LABELS, PLOTS}
        collection = Collection.fetch(LABELS)
        assert isinstance(collection, pystac.Collection)
        assert str(collection).startswith(LABELS)
        some = list(client.list_collection_items(LABELS, limit=7, page_size=3))
        assert len({item["id"] for item in some}) == 7
        item = collection.fetch_item(some[0]["id"])
        assert isinstance(item, pystac.Item)
        assert item.id == some[0]["id"]
        with pytest.raises(NotImplementedError, match="list_collection_items"):
            collection.get_items()
        everything = list(client.list_collection_items(LABELS, limit=None))
        assert len({item["id"] for item in everything}) == len(everything) > 30

    def test_models(self) -> None:
        (model,) = MLModel.list()
        assert isinstance(model, pystac.Item)
        assert str(MLModel.fetch(model.id)) == str(model)

    def test_collection_archive(self, tmp_path: Path) -> None:
        collection = Collection.fetch(PLOTS)
        path = collection.download(tmp_path / "new")
        assert path == tmp_path / "new" / f"{PLOTS}.tar.gz"
        assert path.stat().st_size == collection.archive_size
        assert Collection.fetch(LABELS).archive_size is None
        with pytest.raises(EntityDoesNotExist, match=LABELS):
            client.download_collection_archive(LABELS, tmp_path)

    def test_output_directory_defaults_to_the_current_one_at_the_call(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert client.download_collection_archive(PLOTS).parent == tmp_path

    @pytest.mark.parametrize(
        ("ask", "name"),
        [
            (client.get_dataset, "no-such"),
            (client.get_dataset, "10.1/no-such"),
            (client.get_catalog_info, "no-such"),
            (client.get_collection, "no-such"),
            (client.get_collection_archive_info, "no-such"),
            (client.get_model_by_id, "no-such"),
        ],
    )
    def test_what_does_not_exist_is_named(self, ask: object, name: str) -> None:
        with pytest.raises(EntityDoesNotExist, match=name) as caught:
            ask(name)  # type: ignore[operator]
        assert caught.value.status == 404

    def test_items_of_no_collection(self) -> None:
        with pytest.raises(EntityDoesNotExist, match="no-such"):
            list(client.list_collection_items("no-such"))

    @pytest.mark.parametrize("name", ["", "..", ".", "a/../b"])
    def test_ids_that_lead_elsewhere(self, name: str) -> None:
        with pytest.raises(InvalidArgument):
            client.get_dataset(name)


def test_a_key_given_to_fetch_holds_for_all_that_follows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with DemoHub(api_key="the-key") as hub:
        monkeypatch.setenv("MLHUB_ROOT_URL", hub.url)
        for dataset in (
            Dataset.fetch("demo_crops", api_key="the-key"),
            Dataset.fetch_by_id("demo_crops", api_key="the-key"),
            Dataset.fetch_by_doi("10.12345/demo.crops", api_key="the-key"),
            Dataset.list(api_key="the-key")[0],
        ):
            assert dataset.stac_catalog_size
            assert len(dataset.collections) == 3
        plots = Collection.fetch(PLOTS, api_key="the-key")
        assert plots.archive_size
        assert plots.download(tmp_path).exists()
        report = dataset.download(tmp_path, catalog_only=True, progress=False)
        assert report.catalog_only


@pytest.fixture(scope="module")
def recorded_hub(recorded: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    root = tmp_path_factory.mktemp("recorded")
    for name in ("datasets", "collections", "models"):
        (root / name).mkdir()
        shutil.copy(recorded / f"{name}.json", root / name)
    with HubServer(root) as hub:
        yield hub


class TestRecorded:
    @pytest.fixture(autouse=True)
    def _point(self, recorded_hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MLHUB_ROOT_URL", recorded_hub.url)
        monkeypatch.setenv("MLHUB_PROFILE", "__anonymous__")

    def test_all_datasets(self) -> None:
        datasets = Dataset.list()
        assert len(datasets) == 30
        assert len({d.id for d in datasets}) == 30

    def test_by_tags_and_text(self, recorded: Path) -> None:
        truth = json.loads((recorded / "datasets.json").read_text())
        tagged = {d["id"] for d in truth if {"segmentation", "crop type"} <= set(d["tags"] or ())}
        assert {d.id for d in Dataset.list(tags=["segmentation", "crop type"])} == tagged != set()
        assert "nasa_marine_debris" in {d.id for d in Dataset.list(text="Marine DEBRIS detection")}

    def test_every_collection_is_a_pystac_one(self) -> None:
        collections = Collection.list()
        assert len(collections) == 103
        assert all(isinstance(c, pystac.Collection) and c.extent for c in collections)

    def test_by_doi(self) -> None:
        dataset = Dataset.fetch("10.6084/m9.figshare.12047478.v2")
        assert dataset.id == "idiv_asia_crop_type"
        assert [c["id"] for c in dataset.collection_descriptions] == ["idiv_asia_crop_type_labels"]

    def test_registry_url_of_a_collection(self) -> None:
        collection = Collection.fetch("bigearthnet_v1_source")
        assert collection.registry_url == "https://mlhub.earth/10.14279/depositonce-10149"

    def test_models(self) -> None:
        assert {m.id for m in MLModel.list()} >= {"model-cv4a-crop-detection-v1"}
