"""Whatever holds STAC, looked into: by Python, ``mlhub index`` and ``mlhub query``."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas
import pytest

import mlhub_core
from mlhub_core import Dataset
from mlhub_core.cli import main
from mlhub_core.exceptions import NothingMatches
from tests.acceptance.kit import catalog_members, collection, item, publish, tar_gz
from tests.faultserver import FaultServer

ITEMS = [
    item("a", {"image": "https://example.org/a.tif"}),
    item("b", {"image": "https://example.org/b.tif"}, bbox=[20.0, 50.0, 21.0, 51.0]),
]
TABLES = Path(__file__).parents[1] / "sources" / "tables"


@pytest.fixture(autouse=True)
def sources(server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLHUB_ROOT_URL", publish(server, collection(), *ITEMS))
    monkeypatch.setenv("MLHUB_PROFILE", "__anonymous__")
    (tmp_path / "found.ndjson").write_text("".join(json.dumps(one) + "\n" for one in ITEMS))
    (tmp_path / "tiny.tar.gz").write_bytes(tar_gz(catalog_members(collection(), *ITEMS)))
    server.put("/found.ndjson", (tmp_path / "found.ndjson").read_bytes())
    return {
        "items": "found.ndjson",
        "archive": "tiny.tar.gz",
        "url": server.url("/found.ndjson"),
    }


@pytest.mark.parametrize("kind", ["items", "archive", "url"])
def test_from_python(kind: str, sources: dict[str, str]) -> None:
    dataset = Dataset.open(sources[kind])
    found = sorted(dataset.items(), key=lambda one: one.id)
    assert [one.id for one in found] == ["a", "b"]
    assert found[0].assets["image"].href == "https://example.org/a.tif"
    frame = dataset.index()
    assert sorted(frame["item_id"]) == ["a", "b"]
    assert frame.geometry.notna().all()
    plan = dataset.plan("out", bbox=[20, 50, 21, 51], progress=False)
    assert plan.files == 1
    assert "1 file of 1 item" in str(plan)
    assert plan.path.is_file()
    with pytest.raises(NothingMatches):
        dataset.plan("out", bbox=[0, 0, 1, 1], progress=False)


def test_items_of_stac_geoparquet_lead_where_they_should() -> None:
    first = next(Dataset.open(TABLES / "rustac-0.9.18.parquet").items())
    assert first.assets["image"].get_absolute_href() == "https://example.org/stac/scene-0.tif"
    assert first.properties["eo:cloud_cover"] == 0.0


def test_items_that_pystac_cannot_read(caplog: pytest.LogCaptureFixture) -> None:
    Path("found.ndjson").write_text(
        json.dumps({**ITEMS[0], "properties": {"datetime": "last week"}})
        + "\n"
        + json.dumps(ITEMS[1])
    )
    assert [one.id for one in Dataset.open("found.ndjson").items()] == ["b"]
    assert "PySTAC cannot read it" in caplog.text


@pytest.mark.parametrize("kind", ["items", "archive", "url"])
def test_the_commands(
    kind: str, sources: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    source = sources[kind]
    assert main(["index", source, "--output", "i/x.parquet", "--no-unarchive"]) == 0
    assert "2 items, 2 assets, written" in capsys.readouterr().out
    assert main(["index", source, "--output", "i/x.parquet", "--no-unarchive"]) == 0
    assert "unchanged" in capsys.readouterr().out
    assert sorted(geopandas.read_parquet("i/x.parquet")["item_id"]) == ["a", "b"]
    for asked in ("i/x.parquet", source):
        assert main(["query", asked, "--bbox=20,50,21,51"]) == 0
        assert "pictures/b/image.tif" in capsys.readouterr().out
    assert main(["query", source, "--output", "part.parquet", "--limit", "1"]) == 0
    assert len(geopandas.read_parquet("part.parquet")) == 1
    left = {"found.ndjson", "tiny.tar.gz", "i", "part.parquet"}
    assert {path.name for path in Path().iterdir()} == left


def test_only_some_collections(sources: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    table = str(TABLES / "rustac-0.9.18.parquet")
    assert main(["index", table, "--output", "x.parquet", "--collection", "north", "-q"]) == 0
    assert set(geopandas.read_parquet("x.parquet")["collection_id"]) == {"north"}
    words = ["index", sources["items"], "--output", "y.parquet", "--collection", "pictures", "-q"]
    assert main(words) == 2
    assert "is read whole: leave --collection out" in capsys.readouterr().err
    assert not Path("y.parquet").exists()


def test_a_dataset_of_a_hub() -> None:
    index = mlhub_core.index_source("tiny", "i/x.parquet")
    assert (index.items, index.assets) == (2, 2)
    assert "1 file of 1 item" in str(mlhub_core.query_index("tiny", bbox=[20, 50, 21, 51]))
    assert [one.id for one in Dataset.fetch("tiny").items()] == ["a", "b"]


def test_an_index_is_not_written_over_its_source(capsys: pytest.CaptureFixture[str]) -> None:
    table = (TABLES / "rustac-0.9.18.parquet").read_bytes()
    Path("scenes.parquet").write_bytes(table)
    assert main(["index", "scenes.parquet", "--output", "scenes.parquet", "-q"]) == 2
    assert "is the source itself" in capsys.readouterr().err
    assert Path("scenes.parquet").read_bytes() == table
