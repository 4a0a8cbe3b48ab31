"""What other tools make of a download, with nothing to ask: no server is running."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from mlhub_core import Dataset, open_local
from mlhub_core.exceptions import InvalidArgument
from mlhub_core.hub.server import DemoHub
from mlhub_core.products.local import LocalDataset

pytestmark = [
    pytest.mark.slow,
    # They are others', and each warns of what it will.
    pytest.mark.filterwarnings("ignore"),
]
IMAGERY = "demo_crops_source_sentinel_2"


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> LocalDataset:
    """A part of the demo, from a hub that is stopped by the time it is opened."""
    where = tmp_path_factory.mktemp("stopped")
    with pytest.MonkeyPatch.context() as patch, DemoHub() as hub:
        patch.setenv("MLHUB_ROOT_URL", hub.url)
        patch.setenv("MLHUB_PROFILE", "__anonymous__")
        Dataset.fetch("demo_crops").download(where, datetime="2021-03/2021-04", progress=False)
    return open_local(where / "demo_crops")


def _kenya(opened: LocalDataset) -> list[Any]:
    return [item for item in opened.stac_items(IMAGERY) if "kenya_01" in item.id]


def test_geopandas_plots_footprints(opened: LocalDataset) -> None:
    pytest.importorskip("matplotlib").use("agg")
    pytest.importorskip("folium")
    axes = opened.plot()
    assert sum(len(drawn.get_paths()) for drawn in axes.collections) == len(opened.items)
    assert type(opened.explore(tiles=None)).__name__ == "Map"
    evil = "<img src=x onerror=alert(1)>"
    marked = LocalDataset(opened.paths)
    marked.__dict__["items"] = opened.items.assign(id=evil, collection=evil)
    assert "<img" not in marked.explore(tiles=None).get_root().render().replace("\\u003c", "<")
    with pytest.raises(InvalidArgument, match="did you mean 'collection'"):
        opened.plot("colection")


def test_odc_stac_loads_pixels(opened: LocalDataset) -> None:
    odc = pytest.importorskip("odc.stac")
    pixels = odc.load(_kenya(opened), bands=["B04", "B08"], crs="EPSG:4326", resolution=1e-4)
    assert pixels.sizes["time"] == 2
    assert float(pixels.B04.mean()) > 100


def test_stackstac_loads_pixels(opened: LocalDataset) -> None:
    stackstac = pytest.importorskip("stackstac")
    pixels = stackstac.stack(_kenya(opened), assets=["B04", "B08"], epsg=4326, resolution=1e-4)
    assert pixels.shape[:2] == (2, 2)
    assert float(pixels.mean()) > 100


def test_rustac_reads_the_catalog_and_the_table(opened: LocalDataset) -> None:
    rustac = pytest.importorskip("rustac")

    async def read(path: Path) -> Any:
        return await rustac.read(str(path))

    assert asyncio.run(read(opened.stac))["id"] == "demo_crops"
    table = asyncio.run(read(opened.directory / "items.parquet"))
    assert len(table["features"]) == len(opened.items)


def test_stac_geoparquet_gives_the_items_back(opened: LocalDataset) -> None:
    arrow = pytest.importorskip("stac_geoparquet.arrow")
    import pyarrow.parquet as pq

    table = pq.read_table(opened.directory / "items.parquet")
    items = {item["id"]: item for item in arrow.stac_table_to_items(table)}
    assert len(items) == len(opened.items)
    for item in opened.stac_items(IMAGERY):
        assert items[item.id]["properties"]["eo:cloud_cover"] == item.properties["eo:cloud_cover"]
        assert items[item.id]["assets"].keys() == item.assets.keys()
