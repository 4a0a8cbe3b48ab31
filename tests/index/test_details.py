"""What the index keeps of assets besides what a download needs: bands, details, licenses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import mlhub_core
from mlhub_core.cli import main
from mlhub_core.exceptions import NothingMatches
from mlhub_core.index.details import bands_of, details_of
from tests.acceptance.kit import catalog_members, collection, item, tar_gz
from tests.faultserver import FaultServer

RED = {"name": "B04", "common_name": "red"}


@pytest.mark.parametrize(
    ("asset", "bands"),
    [
        ({"bands": [{"name": "B04", "eo:common_name": "red"}, {"gsd": 10}]}, [RED]),
        ({"eo:bands": [{"name": "B04", "common_name": "red"}]}, [RED]),
        ({"eo:bands": [1, 7]}, [{"name": "B08", "common_name": "nir"}]),
        ({"raster:bands": [{"name": "dem"}]}, [{"name": "dem", "common_name": None}]),
        ({"raster:bands": [{"nodata": 0}]}, None),
        ({"bands": "red"}, None),
        ({"bands": [None, 3, {"name": 5}]}, None),
        ({}, None),
    ],
)
def test_bands(asset: dict[str, Any], bands: Any) -> None:
    listed = [RED, {"name": "B08", "common_name": "nir"}]
    assert bands_of(asset, {"eo:bands": listed}) == bands


def test_details() -> None:
    asset = {
        "href": "x",
        "title": "X",
        "alternate": {"s3": {"href": "s3://bucket/x"}},
        "storage:refs": ["aws"],
        "auth:refs": ["login"],
        "file:local_path": "a/b",
        "file:size": 5,
        "raster:bands": [{"nodata": 0, "statistics": {"mean": 1}, "spatial_resolution": 10}],
        "proj:shape": [1, 2],
    }
    found = json.loads(details_of(asset) or "")
    assert set(found) == {
        *("storage:refs", "auth:refs", "file:local_path", "raster:bands"),
    }
    assert found["raster:bands"] == [{"nodata": 0, "spatial_resolution": 10}]
    assert details_of({"href": "x", "title": "X"}) is None
    assert details_of({"storage:refs": ["x" * 5000]}) is None


@pytest.fixture
def archive(server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLHUB_ROOT_URL", "http://127.0.0.1:9/mlhub/v1/")
    for name in ("red", "nir", "old", "plain"):
        server.put(f"/{name}.tif", name.encode())
    url = {name: server.url(f"/{name}.tif") for name in ("red", "nir", "old", "plain")}
    new = item(
        "new",
        {
            "r": {"href": url["red"], "title": "Red", "bands": [RED], "auth:refs": ["a"]},
            "n": {"href": url["nir"], "description": "Near", "bands": [{"name": "B08"}]},
            "plain": url["plain"],
        },
        "north",
    )
    new["links"] = [{"rel": "self", "href": "https://example.org/new.json"}]
    old = item("old", {"o": {"href": url["old"], "eo:bands": [{"common_name": "red"}]}}, "south")
    old["properties"]["license"] = "MIT"
    members = catalog_members(
        {**collection("north"), "license": "CC-BY-4.0"}, collection("south"), new, old
    )
    path = tmp_path / "mine.tar.gz"
    path.write_bytes(tar_gz(members))
    return path


def test_columns(archive: Path) -> None:
    index = mlhub_core.index_source(archive, "i.parquet")
    rows = {row["asset_key"]: row for row in pq.read_table(index.path).to_pylist()}
    assert rows["r"]["bands"] == [RED]
    assert (rows["r"]["title"], rows["n"]["description"]) == ("Red", "Near")
    assert json.loads(rows["r"]["details"]) == {"auth:refs": ["a"]}
    assert rows["plain"]["bands"] is None
    assert rows["r"]["item_url"] == "https://example.org/new.json"
    assert {key: row["license"] for key, row in rows.items()} == {
        **dict.fromkeys(("r", "n", "plain"), "CC-BY-4.0"),
        "o": "MIT",
    }


def test_assets_by_band(archive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["download", str(archive), "--output-dir", "out"]
    assert main([*words, "--band", "RED", "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "2 files: after the band filter" in " ".join(told.split())
    assert "north: 1 item, license CC-BY-4.0" in told
    assert main([*words, "--band", "red"]) == 0
    assert "License: CC-BY-4.0 (north); MIT (south)" in capsys.readouterr().out
    found = {path.read_bytes() for path in Path("out").rglob("*.tif")}
    assert found == {b"red", b"old"}
    assert main([*words, "--band", "B08", "--band", "red"]) == 0
    assert len(list(Path("out/tiny").glob("*/*/*.tif"))) == 3


def test_a_band_that_is_not_there(archive: Path) -> None:
    with pytest.raises(NothingMatches, match=r"Its bands are called B04, B08, red\."):
        mlhub_core.query_index(archive, band="blue")
    with pytest.raises(NothingMatches, match="No asset that the other filters leave says"):
        mlhub_core.query_index(archive, band="blue", collection_filter={"north": ["plain"]})
