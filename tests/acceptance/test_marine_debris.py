"""The recorded catalog of nasa_marine_debris, from its name to verified files.

The catalog is the real one; its files are generated from their URLs and served here. What should
come out is worked out anew from the archive, with nothing of ours but the URLs' mirror.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import tarfile
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import geopandas
import pystac
import pytest
import shapely
from pystac.validation.stac_validator import JsonSchemaSTACValidator

from mlhub_core import Dataset, open_local
from mlhub_core.hub.server import HubServer
from mlhub_core.settings import RunSettings, TransferSettings
from mlhub_core.transfer.report import DownloadReport
from tests.faultserver import FaultServer

DATASET = "nasa_marine_debris"
PREFIX = "https://radiantearth.blob.core.windows.net/mlhub/"
ARCHIVE_MD5 = b"80VHL7Gf663iVhNqFJoP3A=="  # as the real host gave it
BOX = (-88.2, 15.7, -85.0, 16.5)
TRIANGLE = {"type": "Polygon", "coordinates": [[[-89, 15], [-86, 15], [-87, 17], [-89, 15]]]}

OURS = {".mlhub", "stac", "items.parquet", "croissant.json"}

Json = dict[str, Any]


@dataclass
class Truth:
    """What the archive says, read with the standard library."""

    members: dict[str, bytes] = field(default_factory=dict)
    items: list[Json] = field(default_factory=list)

    @classmethod
    def read(cls, archive: Path) -> Truth:
        truth = cls()
        with tarfile.open(archive) as tar:
            for member in tar:
                if (stream := tar.extractfile(member)) is not None:
                    truth.members[member.name] = stream.read()
        documents = map(json.loads, truth.members.values())
        truth.items = [document for document in documents if document["type"] == "Feature"]
        return truth

    def files(self, items: list[Json] | None = None, key: str | None = None) -> dict[str, str]:
        """URLs by the path of the design."""
        return {
            _place(item, name, asset["href"]): asset["href"]
            for item in (self.items if items is None else items)
            for name, asset in item["assets"].items()
            if key in (None, name)
        }

    def touching(self, shape: Any) -> list[Json]:
        return [item for item in self.items if shapely.box(*item["bbox"]).intersects(shape)]


def _place(item: Json, key: str, href: str) -> str:
    name = key + PurePosixPath(href).suffix
    # Its URL is the same in all items; the test of the numbers would notice if it were not.
    if key == "documentation":
        return f"_common/{name}"
    return f"{item['collection']}/{item['id']}/{name}"


def _content(url: str) -> bytes:
    seed = hashlib.sha256(url.encode()).digest()
    return hashlib.shake_256(seed).digest(1 + int.from_bytes(seed[:2]) % 3000)


@pytest.fixture(scope="module")
def truth(recorded: Path) -> Truth:
    return Truth.read(recorded / f"{DATASET}.tar.gz")


@pytest.fixture(scope="module")
def hub(recorded: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    root = tmp_path_factory.mktemp("hub")
    for name in ("datasets", "collections", "catalogs"):
        (root / name).mkdir()
    shutil.copy(recorded / "datasets.json", root / "datasets" / "all.json")
    shutil.copy(recorded / "collections.json", root / "collections" / "all.json")
    shutil.copy(recorded / f"{DATASET}.tar.gz", root / "catalogs")
    with HubServer(root) as running:
        yield running


@pytest.fixture(scope="module")
def assets(truth: Truth) -> Iterator[FaultServer]:
    """The asset host, with every request on record."""
    with FaultServer() as running:
        for url in set(truth.files().values()):
            running.put("/copy/" + url.removeprefix(PREFIX), _content(url))
        yield running


@pytest.fixture(autouse=True)
def at_hub(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLHUB_ROOT_URL", hub.url)
    monkeypatch.setenv("MLHUB_PROFILE", "__anonymous__")


def _download(assets: FaultServer, where: Path, **filters: Any) -> DownloadReport:
    transfer = TransferSettings(mirrors=((PREFIX, assets.url("/copy/")),))
    settings = RunSettings(transfer=transfer)
    return Dataset.fetch(DATASET).download(where, settings=settings, progress=False, **filters)


def _tree(root: Path) -> dict[str, bytes]:
    """All files but those of our state, and what is made of the download."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and OURS.isdisjoint(path.relative_to(root).parts)
    }


def _expected(truth: Truth, files: dict[str, str]) -> dict[str, bytes]:
    return {
        **truth.members,
        **{f"{DATASET}/{place}": _content(url) for place, url in files.items()},
    }


def _check(report: DownloadReport, where: Path, truth: Truth, files: dict[str, str]) -> None:
    """Exactly these files, every byte of them, beside the catalog and the index."""
    tree = _tree(where)
    archive = tree.pop(f"{DATASET}.tar.gz")
    assert b64encode(hashlib.md5(archive).digest()) == ARCHIVE_MD5
    assert tree.pop(f"{DATASET}/mlhub_stac_assets.parquet")[:4] == b"PAR1"
    assert tree.pop(f"{DATASET}/mlhub_stac_assets.db")[:6] == b"SQLite"
    assert tree == _expected(truth, files)
    assert (report.files, report.fetched, report.failed) == (len(files), len(files), 0)


@pytest.fixture(scope="module")
def everything(
    hub: HubServer, assets: FaultServer, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, DownloadReport]:
    where = tmp_path_factory.mktemp("everything")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLHUB_ROOT_URL", hub.url)
        patch.setenv("MLHUB_PROFILE", "__anonymous__")
        return where, _download(assets, where)


def test_everything(everything: tuple[Path, DownloadReport], truth: Truth) -> None:
    where, report = everything
    assert len(truth.files()) == 2825
    _check(report, where, truth, truth.files())
    assert (report.requests, report.retries, report.remark_count) == (2825, 0, 0)


def test_a_second_run_asks_the_asset_host_for_nothing(
    everything: tuple[Path, DownloadReport], truth: Truth, assets: FaultServer
) -> None:
    where, _ = everything
    before = _tree(where)
    assets.forget()
    again = _download(assets, where)
    part = _download(assets, where, datetime="2016")
    assert (again.kept, again.fetched, part.kept, part.fetched) == (2825, 0, 325, 0)
    assert (assets.requests, assets.connections) == ([], 0)
    after = _tree(where)
    database = f"{DATASET}/mlhub_stac_assets.db"  # it tells which rows the last filter left
    assert before.pop(database) != after.pop(database)
    assert after == before


def test_labels_and_their_images_are_paired_in_one_line(
    everything: tuple[Path, DownloadReport],
) -> None:
    where, _ = everything
    pairs = open_local(where / DATASET).pairs("labels", ["image_geotiff", "image_jpeg"])
    assert len(pairs) == 706
    assert set(pairs["by"]) == {"link"}
    assert list(pairs["item"].str.replace("_labels_", "_source_")) == list(pairs["source_item"])
    for column in ("label", "image_geotiff", "image_jpeg"):
        assert len({path for path in pairs[column] if Path(path).is_file()}) == 706


def test_the_local_stac_has_every_item_and_the_sources_of_labels(
    everything: tuple[Path, DownloadReport], truth: Truth
) -> None:
    _, report = everything
    assert report.stac is not None
    documents = {}
    for path in report.stac.parent.glob("*/*/*.json"):
        item = json.loads(path.read_bytes())
        documents[item["id"]] = (path.resolve(), item)
    assert set(documents) == {item["id"] for item in truth.items}
    validator = JsonSchemaSTACValidator()
    for number, (path, item) in enumerate(documents.values()):
        if number % 20 == 0:
            validator.validate_core(item, pystac.STACObjectType.ITEM, "1.1.0")
        hrefs = [link["href"] for link in item["links"] if link["rel"] == "source"]
        source = item["id"].replace("_labels_", "_source_")
        expected = [] if source == item["id"] else [documents[source][0]]
        assert [(path.parent / href).resolve() for href in hrefs] == expected


def test_the_index_is_a_map_layer(everything: tuple[Path, DownloadReport], truth: Truth) -> None:
    where, report = everything
    assert report.index_path == where / DATASET / "mlhub_stac_assets.parquet"
    layer = geopandas.read_parquet(report.index_path)
    assert layer.crs.to_epsg() == 4326
    assert len(layer) == sum(len(item["assets"]) for item in truth.items) == 3530
    assert dict(zip(layer["save_path"], layer["href"], strict=True)) == truth.files()
    own = {item["id"]: shapely.geometry.shape(item["geometry"]) for item in truth.items}
    assert all(
        shape.equals(own[item_id])
        for item_id, shape in zip(layer["item_id"], layer.geometry, strict=True)
    )
    near = geopandas.read_parquet(report.index_path, bbox=BOX)
    inside = layer[layer.geometry.intersects(shapely.box(*BOX))]
    assert set(near["save_path"]) >= set(inside["save_path"])
    assert len(near) < len(layer)


def test_the_reference_clients_table(
    everything: tuple[Path, DownloadReport], truth: Truth, assets: FaultServer
) -> None:
    where, _ = everything
    _download(assets, where, collection_filter={"nasa_marine_debris_labels": ["labels"]})
    connection = sqlite3.connect(where / DATASET / "mlhub_stac_assets.db")
    try:
        wanted = "SELECT asset_save_path, asset_url FROM assets WHERE filtered = 0"
        left = dict(connection.execute(wanted))
        (rows,) = connection.execute("SELECT COUNT(*) FROM assets").fetchone()
    finally:
        connection.close()
    assert left == truth.files(key="labels")
    assert rows == 3530


@pytest.mark.slow  # all filters together show it in short, as for a place and a year
def test_one_asset_of_one_collection(truth: Truth, assets: FaultServer, tmp_path: Path) -> None:
    wanted = {"nasa_marine_debris_labels": ["labels"]}
    report = _download(assets, tmp_path, collection_filter=wanted)
    files = truth.files(key="labels")
    assert len(files) == 706
    _check(report, tmp_path, truth, files)


@pytest.mark.slow
@pytest.mark.parametrize(
    "when", ["2016", (datetime(2016, 1, 1), datetime(2016, 12, 31, tzinfo=UTC))]
)
def test_one_year(when: Any, truth: Truth, assets: FaultServer, tmp_path: Path) -> None:
    report = _download(assets, tmp_path, datetime=when)
    items = [item for item in truth.items if item["properties"]["datetime"].startswith("2016")]
    files = truth.files(items)
    assert len(files) == 325
    _check(report, tmp_path, truth, files)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("filters", "shape"),
    [
        ({"bbox": BOX}, shapely.box(*BOX)),
        ({"intersects": TRIANGLE}, shapely.geometry.shape(TRIANGLE)),
    ],
)
def test_a_place(
    filters: Json, shape: Any, truth: Truth, assets: FaultServer, tmp_path: Path
) -> None:
    files = truth.files(truth.touching(shape))
    assert 100 < len(files) < 2700
    _check(_download(assets, tmp_path, **filters), tmp_path, truth, files)


def test_all_filters_together(truth: Truth, assets: FaultServer, tmp_path: Path) -> None:
    report = _download(
        assets,
        tmp_path,
        bbox=BOX,
        datetime="2018/..",
        collection_filter={"nasa_marine_debris_labels": ["labels"]},
    )
    items = [
        item
        for item in truth.touching(shapely.box(*BOX))
        if item["properties"]["datetime"] >= "2018"
        and item["collection"] == "nasa_marine_debris_labels"
    ]
    files = truth.files(items, "labels")
    assert 0 < len(files) < 706
    _check(report, tmp_path, truth, files)
    assert [count for _, count in report.funnel] == sorted(
        (count for _, count in report.funnel), reverse=True
    )
    assert report.funnel[0][1] == 2825
    assert report.funnel[-1][1] == len(files)
