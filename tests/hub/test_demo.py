from __future__ import annotations

import csv
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import shapely
from PIL import Image
from shapely.geometry import shape

from mlhub_core.exceptions import StorageError
from mlhub_core.hub.demo import write_demo
from mlhub_core.hub.store import HubStore
from mlhub_core.net.checksums import parse_checksum

BASE = "http://hub.invalid/files/assets"
SOURCE, LABELS, PLOTS = "demo_crops_source_sentinel_2", "demo_crops_labels", "demo_crops_plots"
Json = dict[str, Any]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("demo")
    write_demo(directory, BASE + "/")
    return directory


@pytest.fixture(scope="module")
def members(root: Path) -> dict[str, Json]:
    with tarfile.open(root / "catalogs" / "demo_crops.tar.gz") as archive:
        return {
            entry.name: json.load(archive.extractfile(entry))  # type: ignore[arg-type]
            for entry in archive
            if entry.isfile()
        }


@pytest.fixture(scope="module")
def items(members: dict[str, Json]) -> list[Json]:
    return [member for member in members.values() if member["type"] == "Feature"]


def local(root: Path, asset: Json) -> Path:
    assert asset["href"].startswith(BASE + "/demo_crops/")
    return root / "assets" / asset["href"].removeprefix(BASE + "/")


def tree(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


@pytest.mark.slow
def test_it_is_the_same_every_time(root: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}
    write_demo(tmp_path, BASE)
    assert tree(tmp_path) == tree(root)
    write_demo(root, BASE)  # once more in the same place: nothing is touched
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_another_address_changes_the_descriptions_only(root: Path, tmp_path: Path) -> None:
    write_demo(tmp_path, "http://elsewhere.invalid/a")
    ours, theirs = tree(root), tree(tmp_path)
    assert ours.keys() == theirs.keys()
    differing = {name.split("/")[0] for name in ours if ours[name] != theirs[name]}
    assert differing == {"archives", "catalogs", "collections", "datasets", "items", "models"}


def test_its_extent(root: Path, items: list[Json]) -> None:
    assert 230 <= len(items) <= 250
    store = HubStore.load(root)
    assert list(store.datasets) == ["demo_crops"]
    assert set(store.collections) == {SOURCE, LABELS, PLOTS}
    assert len(store.models) == 1
    files = [path for path in (root / "assets").rglob("*") if path.is_file()]
    total = sum(path.stat().st_size for path in files if "demo_crops_model" not in str(path))
    assert store.catalog_info("demo_crops")["estimated_dataset_size"] == total
    assert 2_000_000 < total < 6_000_000
    assert max(path.stat().st_size for path in files) <= 10_000
    months = {item["properties"]["datetime"][:7] for item in items if item["collection"] == LABELS}
    assert months == {f"2021-{month:02d}" for month in range(3, 11)}


def test_the_shape_of_the_dataset(root: Path, recorded: Path) -> None:
    real = json.loads((recorded / "dataset_nasa_marine_debris.json").read_text(encoding="utf-8"))
    assert list(HubStore.load(root).dataset("demo_crops")) == list(real)


def test_pystac_walks_the_archive(root: Path, tmp_path: Path, items: list[Json]) -> None:
    with tarfile.open(root / "catalogs" / "demo_crops.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    catalog = pystac.Catalog.from_file(str(tmp_path / "demo_crops" / "catalog.json"))
    found = list(catalog.get_items(recursive=True))
    assert {item.id for item in found} == {item["id"] for item in items}
    for item in found:
        links = item.get_links("source")
        assert len(links) == (1 if item.collection_id == LABELS else 0)
        for link in links:
            link.resolve_stac_object()
            assert isinstance(link.target, pystac.Item)
            assert link.target.collection_id == SOURCE
            assert link.target.bbox == item.bbox
            assert link.target.datetime == item.datetime


def test_every_asset_is_there_and_as_described(root: Path, items: list[Json]) -> None:
    checked = unchecked = 0
    for item in items:
        for asset in item["assets"].values():
            data = local(root, asset).read_bytes()
            if "file:checksum" in asset:
                algorithm, digest = parse_checksum(asset["file:checksum"]) or ("", "")
                assert hashlib.new(algorithm, data).hexdigest() == digest
                assert asset["file:size"] == len(data)
                checked += 1
            else:
                unchecked += 1
    assert checked > 400
    assert unchecked > 400


def test_images_lie_where_their_items_do(root: Path, items: list[Json]) -> None:
    count = 0
    for item in items:
        west, south, east, north = item["bbox"]
        east += 360 if east < west else 0
        for asset in item["assets"].values():
            if not asset["href"].endswith(".tif"):
                continue
            with Image.open(local(root, asset)) as image:
                scale, tie = image.tag_v2[33550], image.tag_v2[33922]
                assert tie[3:5] == pytest.approx((west, north), abs=1e-9)
                assert tie[3] + scale[0] * image.width == pytest.approx(east, abs=1e-9)
                assert tie[4] - scale[1] * image.height == pytest.approx(south, abs=1e-9)
                assert np.asarray(image).dtype.kind == "u"
            count += 1
    assert count > 500


def test_labels_agree_with_each_other(root: Path, items: list[Json]) -> None:
    for item in items:
        if item["collection"] != LABELS:
            continue
        with Image.open(local(root, item["assets"]["raster_labels"])) as image:
            classes = np.asarray(image)
        mask = np.load(local(root, item["assets"]["mask"]), allow_pickle=False)
        assert np.array_equal(mask, classes > 0)
        vector = json.loads(local(root, item["assets"]["labels"]).read_bytes())
        tile = shape(item["geometry"])
        assert len(vector["features"]) == (classes[::12, ::12] > 0).sum()
        for field in vector["features"]:
            assert tile.buffer(1e-6).covers(shape(field["geometry"]))
            row, column = divmod(field["properties"]["field"] - 1, 4)
            assert classes[row * 12 + 5, column * 12 + 5] == field["properties"]["class"]


def test_the_antimeridian(items: list[Json]) -> None:
    crossing = [item for item in items if item["bbox"][0] > item["bbox"][2]]
    assert [item["collection"] for item in crossing] == [SOURCE, LABELS]
    for item in crossing:
        geometry = shape(item["geometry"])
        assert geometry.geom_type == "MultiPolygon"
        assert shapely.bounds(geometry).tolist()[::2] == [-180.0, 180.0]
    for item in items:
        if item not in crossing:
            assert shape(item["geometry"]).bounds == pytest.approx(item["bbox"])


def test_times(items: list[Json]) -> None:
    for item in items:
        properties = item["properties"]
        interval = "start_datetime" in properties
        assert interval == (item["collection"] == PLOTS)
        assert (properties["datetime"] is None) == interval
        if interval:
            assert properties["start_datetime"] < properties["end_datetime"]
        if item["collection"] == SOURCE:
            assert 0 <= properties["eo:cloud_cover"] <= 80


def test_common_assets(root: Path, members: dict[str, Json], items: list[Json]) -> None:
    hrefs: dict[str, set[str]] = {}
    for item in items:
        assert local(root, item["assets"]["documentation"]).read_bytes().startswith(b"%PDF-")
        for key in {"documentation", "train_split", "test_split"} & set(item["assets"]):
            hrefs.setdefault(key, set()).add(item["assets"][key]["href"])
    assert {key: len(found) for key, found in hrefs.items()} == {
        "documentation": 1,
        "train_split": 1,
        "test_split": 1,
    }
    splits = []
    for key in ("train_split", "test_split"):
        path = local(root, {"href": hrefs[key].pop()})
        splits.append([row["item_id"] for row in csv.DictReader(io.StringIO(path.read_text()))])
    labels = {item["id"] for item in items if item["collection"] == LABELS}
    assert sorted(splits[0] + splits[1]) == sorted(labels)
    assert len(splits[0]) > len(splits[1]) > 0
    own = {
        name.split("/")[1]: list(member["assets"])
        for name, member in members.items()
        if member["type"] == "Collection"
    }
    assert own == {SOURCE: [], LABELS: [], PLOTS: ["readme_plots"]}


def test_the_api_and_the_archive_tell_the_same(root: Path, items: list[Json]) -> None:
    served: list[Json] = []
    for collection_id in (SOURCE, LABELS, PLOTS):
        lines = (root / "items" / f"{collection_id}.jsonl").read_text(encoding="utf-8")
        served += [json.loads(line) for line in lines.splitlines()]
    for one, other in zip(served, items, strict=True):
        assert {**one, "links": None} == {**other, "links": None}


def test_the_plots_archive(root: Path, items: list[Json]) -> None:
    with tarfile.open(root / "archives" / f"{PLOTS}.tar.gz") as archive:
        names = set(archive.getnames())
    for item in items:
        if item["collection"] == PLOTS:
            place = f"{PLOTS}/{item['id']}"
            wanted = {f"{item['id']}.json", "image.tif", "labels.geojson"}
            assert {f"{place}/{name}" for name in wanted} <= names


def test_a_disk_that_refuses(tmp_path: Path) -> None:
    (tmp_path / "assets").write_text("in the way", encoding="utf-8")
    with pytest.raises(StorageError, match="cannot be written"):
        write_demo(tmp_path, BASE)
