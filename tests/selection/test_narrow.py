"""Samples, limits and sources: of items, whose assets stay together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlhub_core.exceptions import InvalidArgument
from mlhub_core.index.build import index_assets
from mlhub_core.selection.filters import AssetFilter
from mlhub_core.selection.partition import Asset, read_assets
from mlhub_core.selection.query import plan_assets
from tests.index.kit import item, paths_in, tree, write_archive
from tests.selection.test_query import regroup

Json = dict[str, Any]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("narrow")
    made = []
    for number in range(20):
        bands = {
            band: {"href": f"https://files.test/{number}/{band}.tif"} for band in ("B02", "B03")
        }
        bands["documentation"] = {"href": "https://files.test/read.pdf"}
        made.append(item(f"image{number}", "images", assets=bands))
        label = {"labels": {"href": f"https://files.test/{number}.json", "roles": ["labels"]}}
        link = {"rel": "source", "href": f"../../images/image{number}/image{number}.json"}
        made.append(item(f"label{number}", "labels", assets=label, links=[link]))
    paths = paths_in(where)
    return index_assets(write_archive(where, tree(*made)), paths).path


def _assets(index: Path, where: Path, **wanted: Any) -> list[Asset]:
    plan = plan_assets("demo", index, AssetFilter.create(**wanted), where / "plan")
    assets = [asset for part in plan.partitions for asset in read_assets(part.path)]
    assert plan.files == len(assets) == plan.funnel[-1][1]
    return assets


def test_a_sample_is_of_whole_items_and_the_same_however_the_index_is_cut(
    index: Path, tmp_path: Path
) -> None:
    wanted: Json = {"collection_filter": {"images": ["B02", "B03"]}, "sample": 5, "seed": 3}
    first = _assets(index, tmp_path, **wanted)
    assert len(first) == 10
    assert len({asset.item_id for asset in first}) == 5
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(index.read_bytes())
    regroup(cut, 3)
    assert _assets(cut, tmp_path, **wanted) == first
    other = _assets(index, tmp_path, **{**wanted, "seed": 4})
    assert {asset.item_id for asset in other} != {asset.item_id for asset in first}


def test_a_limit_takes_the_first_items(index: Path, tmp_path: Path) -> None:
    everything = _assets(index, tmp_path, collection_filter={"images": ["B02", "B03"]})
    few = _assets(index, tmp_path, collection_filter={"images": ["B02", "B03"]}, limit=4)
    assert few == everything[:8]
    many = _assets(index, tmp_path, collection_filter={"images": ["B02", "B03"]}, limit=1000)
    assert many == everything


def test_labels_bring_their_sources(index: Path, tmp_path: Path) -> None:
    wanted: Json = {"role": "labels", "sample": 3}
    labels = _assets(index, tmp_path, **wanted)
    assert {asset.collection_id for asset in labels} == {"labels"}
    pairs = _assets(index, tmp_path, **wanted, with_sources=True)
    numbers = {asset.item_id.removeprefix("label") for asset in labels if asset.item_id}
    assert {asset.item_id for asset in pairs if asset.collection_id == "images"} == {
        f"image{number}" for number in numbers
    }
    # two bands of each, and the documentation, which is one file
    assert len(pairs) == 3 + 3 * 2 + 1
    bands = _assets(
        index,
        tmp_path,
        collection_filter={"labels": [], "images": ["B02"]},
        role="labels",
        with_sources=True,
    )
    assert {asset.asset_key for asset in bands} == {"labels", "B02"}


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"limit": 0}, "limit is 0"),
        ({"sample": True}, "sample is True"),
        ({"sample": 2, "seed": "x"}, "seed is 'x'"),
        ({"media_type": "tiff"}, "media_type holds 'tiff'"),
        ({"role": [""]}, "role is"),
        ({"role": 5}, "role is 5"),
    ],
)
def test_what_cannot_be_asked(wanted: Json, said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        AssetFilter.create(**wanted)


def test_filters_travel(index: Path) -> None:
    made = AssetFilter.create(
        media_type=["image/TIFF", "image/*"], role="data", where="a = 1", sample=2, seed=9, limit=1
    )
    assert AssetFilter.create(**made.to_dict()) == made
    assert AssetFilter.create(**AssetFilter().to_dict()) == AssetFilter()
    assert not made.is_everything
