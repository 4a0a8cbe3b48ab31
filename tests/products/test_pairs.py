"""A download, open: its tables, the pairs to train with, its splits."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlhub_core import open_local
from mlhub_core.exceptions import InvalidArgument
from mlhub_core.hub.server import DemoHub
from mlhub_core.products.local import LocalDataset
from mlhub_core.products.torch_data import read_file
from tests.acceptance.kit import item
from tests.faultserver import FaultServer


@pytest.fixture(scope="module")
def opened(demo: Path) -> LocalDataset:
    return open_local(demo)


def test_pairs_by_the_links_of_labels(opened: LocalDataset) -> None:
    pairs = opened.pairs("labels", ["B04", "B03", "B02"])
    assert [*pairs.columns[:7]] == [
        *("label", "B04", "B03", "B02", "collection", "item", "source_item"),
    ]
    assert set(pairs["by"]) == {"link"}
    assert len(pairs) == 12
    for row in pairs.itertuples():
        assert row.item.replace("labels", "source_sentinel_2") == row.source_item
        assert Path(row.B02).parent.name == row.source_item
        assert all(Path(path).is_file() for path in (row.label, row.B04, row.B03, row.B02))
        assert row.time.strftime("%Y-%m") == "2021-03"
        assert row.geometry.area > 0


def test_labels_without_a_pair_are_counted(
    opened: LocalDataset, caplog: pytest.LogCaptureFixture
) -> None:
    opened.pairs("labels", ["B04"])
    assert "demo_crops_plots" in caplog.text
    assert "in no pair by link" in caplog.text


def test_pairs_of_one_item_and_by_place(opened: LocalDataset) -> None:
    plots = opened.pairs("labels", collection="demo_crops_plots")
    assert set(plots["by"]) == {"item"}
    assert list(plots["item"]) == list(plots["source_item"])
    assert [*plots.columns[:2]] == ["label", "image"]
    by_link = opened.pairs("raster_labels", ["B04"])
    by_place = opened.pairs("raster_labels", ["B04"], by="place")
    assert list(by_place["source_item"]) == list(by_link["source_item"])
    assert set(by_place["by"]) == {"place"}


def test_splits(opened: LocalDataset) -> None:
    splits = opened.splits()
    assert set(splits) == {"train", "test"}
    assert not set(splits["train"]) & set(splits["test"])
    train = opened.pairs("labels", ["B04"], split="train")
    assert 0 < len(train) < 12
    assert set(train["item"]) <= set(splits["train"])
    with pytest.raises(InvalidArgument, match=r"split 'tran' is not here: did you mean 'train'\?"):
        opened.pairs("labels", split="tran")


def test_items_and_assets(opened: LocalDataset, demo: Path) -> None:
    assert set(opened.items["id"]) == set(opened.assets["item"].dropna()) & set(opened.items["id"])
    assert opened.items.crs.to_epsg() == opened.assets.crs.to_epsg() == 4326
    assert all(Path(path).is_relative_to(demo) for path in opened.assets["path"])
    assert opened.keys["demo_crops_source_sentinel_2"][:4] == ["B02", "B03", "B04", "B08"]
    assert opened.stac == demo / "stac" / "catalog.json"
    imagery = list(opened.stac_items("demo_crops_source_sentinel_2"))
    assert len(imagery) == 12
    assert all(Path(one.assets["B04"].href).is_file() for one in imagery)
    with pytest.raises(InvalidArgument, match="did you mean 'demo_crops_plots'"):
        opened.stac_items("demo_crops_plot")
    assert repr(opened) == f"<LocalDataset demo_crops in {demo}>"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"label": "lables"}, "label 'lables' is not among what is here: did you mean 'labels'?"),
        ({"sources": ["B4"]}, "source 'B4' is not among what is here: did you mean 'B04'?"),
        ({"collection": "demo_crops_plot"}, "did you mean 'demo_crops_plots'"),
        ({"by": "links"}, "by is 'links': use one of link, item, place."),
    ],
)
def test_a_name_that_does_not_exist(
    opened: LocalDataset, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        opened.pairs(**arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_directory_that_is_no_download_and_one_without_products(
    at_demo_hub: DemoHub, tmp_path: Path
) -> None:
    with pytest.raises(InvalidArgument, match="is not the directory of a downloaded dataset"):
        open_local(tmp_path)
    with pytest.raises(InvalidArgument, match="is not the directory of a downloaded dataset"):
        open_local(tmp_path / "nowhere")


def test_labels_without_links_are_paired_by_place_and_time(
    download: Callable[..., Any], server: FaultServer, tmp_path: Path
) -> None:
    server.put("/x.tif", b"x")
    href = server.url("/x.tif")
    square = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]]}
    beside = {"type": "Polygon", "coordinates": [[[9, 0], [10, 0], [10, 1], [9, 1], [9, 0]]]}

    def one(name: str, key: str, shape: Any, day: str) -> Any:
        bounds = [shape["coordinates"][0][0][0], 0, shape["coordinates"][0][1][0], 1]
        time = {"datetime": f"2020-06-{day}T12:00:00Z"}
        kind = "marks" if key == "mark" else "pictures"
        return item(name, {key: href}, kind, geometry=shape, bbox=bounds, properties=time)

    download(
        one("label", "mark", square, "01"),
        one("there", "image", square, "01"),
        one("later", "image", square, "09"),
        one("away", "image", beside, "01"),
    )
    opened = open_local(tmp_path / "out" / "tiny")
    pairs = opened.pairs("mark", ["image"])
    assert list(pairs["source_item"]) == ["there"]
    assert list(pairs["by"]) == ["place"]
    both = opened.pairs("mark", ["image"], within="10D")
    assert sorted(both["source_item"]) == ["later", "there"]


def test_files_are_read_by_their_kind(demo: Path, tmp_path: Path) -> None:
    label = demo / "demo_crops_labels" / "demo_crops_labels_kenya_01_202103"
    assert read_file(label / "mask.npy").ndim == 2
    assert "crop" in read_file(label / "labels.geojson").columns
    source = next(demo.glob("demo_crops_source_sentinel_2/*/thumbnail.png"))
    assert read_file(source).shape[0] in (1, 3, 4)


def test_a_dataset_of_pytorch(opened: LocalDataset) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("rasterio")
    samples = opened.to_torch("raster_labels", ["B04", "B03", "B02"])
    assert isinstance(samples, torch.utils.data.Dataset)
    assert len(samples) == 12
    sample = samples[0]
    assert sample["image"].shape[0] == 3
    assert sample["image"].dtype == torch.float32
    assert sample["image"].shape[1:] == sample["label"].shape[-2:]
    (batch,) = torch.utils.data.DataLoader(samples, batch_size=12)
    assert batch["image"].shape[0] == 12
    assert len(pickle.loads(pickle.dumps(samples))) == 12


def test_a_dataset_of_torchgeo(opened: LocalDataset) -> None:
    torch = pytest.importorskip("torch")
    datasets = pytest.importorskip("torchgeo.datasets")
    samples = opened.to_torchgeo("raster_labels", ["B04", "B03", "B02"])
    assert isinstance(samples, datasets.NonGeoDataset)
    sample = samples[0]
    assert sample["mask"].dtype == torch.int64
    assert sample["mask"].shape == sample["image"].shape[1:]


def test_without_pytorch_one_line_says_what_to_install(opened: LocalDataset) -> None:
    try:
        import torch  # noqa: F401
    except ImportError:
        with pytest.raises(InvalidArgument, match=r"pip install 'mlhub-flows\[torch\]'"):
            opened.to_torch("labels")
    else:
        pytest.skip("PyTorch is installed")
