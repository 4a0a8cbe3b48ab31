"""Exports beside shards: CSV, and the description as Croissant."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
import shapely

from mlhub_core import open_local
from mlhub_core.cli import main
from mlhub_core.transfer.ledger import mark_damaged
from tests.acceptance.kit import DATASET, collection, item
from tests.faultserver import FaultServer
from tests.products.conftest import Download


def _rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_row_for_each_pair(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    opened = open_local(demo)
    pairs = opened.pairs("raster_labels", ["B04"], split="train")
    how = ["--label", "raster_labels", "--sources", "B04", "--split", "train", "-q"]
    assert main(["export", str(demo), "--format", "csv", "--output", "-", *how]) == 0
    rows = _rows(capsys.readouterr().out)
    assert sorted(row["label"] for row in rows) == sorted(pairs["label"])
    by_label = pairs.set_index("label")
    for row in rows:
        pair = by_label.loc[row["label"]]
        assert (row["B04"], row["split"], row["by"]) == (pair["B04"], "train", "link")
        assert row["datetime"] == pair["time"].isoformat().replace("+00:00", "Z")
        assert shapely.equals(shapely.from_wkt(row["geometry"]), pair["geometry"])


def test_a_row_for_each_file(demo: Path, tmp_path: Path) -> None:
    found = open_local(demo).export(tmp_path / "new/files.csv", format="csv")
    rows = _rows((tmp_path / "new/files.csv").read_text("utf-8"))
    assert found.samples == len(rows)
    assets = open_local(demo).assets
    own = assets[~assets["common_asset"] & assets["item"].notna()]
    assert sorted(row["path"] for row in rows) == sorted(own["path"])
    for row in rows:
        content = Path(row["path"]).read_bytes()
        assert (int(row["size"]), row["sha256"]) == (
            len(content),
            hashlib.sha256(content).hexdigest(),
        )


def test_a_table_is_text_for_spreadsheets_and_replaces_nothing_else(
    download: Download,
    server: FaultServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("a", "b"):
        server.put(f"/{name}.tif", name.encode())
    evil = '=HYPERLINK("http://x.test")'
    download(*(item(i, {"@key": server.url(f"/{n}.tif")}) for i, n in ((evil, "a"), ("i", "b"))))
    root, table = tmp_path / "out" / DATASET, tmp_path / "t.csv"
    monkeypatch.chdir(tmp_path)
    words = ["export", str(root), "--format", "csv", "--output"]
    for _ in range(2):  # its own table it replaces
        assert main([*words, "t.csv"]) == 0
    rows = _rows(table.read_text("utf-8"))
    assert {(row["item"], row["asset"]) for row in rows} == {(f"'{evil}", "'@key"), ("i", "'@key")}
    for name in ("mine.csv", "t.csv.part"):
        (tmp_path / name).write_text("mine")
    assert main([*words, "mine.csv"]) == 2
    assert "mine.csv is no table that an export wrote: name a new file" in capsys.readouterr().err
    assert main([*words, "t.csv"]) == 0
    assert {(tmp_path / name).read_text() for name in ("mine.csv", "t.csv.part")} == {"mine"}
    (tmp_path / "link").symlink_to(root)
    for place in (["link/x.csv"], ["link/x", "--format", "webdataset"]):
        assert main([*words, *place]) == 2
        assert "among the files of" in capsys.readouterr().err
    damaged = next(Path(row["path"]) for row in rows if row["item"] == "i")
    mark_damaged(root / ".mlhub" / "ledger", [str(damaged.relative_to(root))])
    for how in (["t.csv", "-q"], ["-"]):  # what is left out is told, not on standard output
        capsys.readouterr()
        assert main([*words, *how]) == 0
        told = capsys.readouterr()
        assert "1 damaged file left out" in told.err
        assert "damaged" not in told.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "csv"], "name a file, or - for standard output"),
        (["--format", "csv", "--output", "x.tif"], "name a file that ends in .csv"),
        (["--format", "csv", "--output", "{demo}/x.csv"], "among the files of"),
        (["--format", "croissant", "--output", "x"], "output is given, but croissant.json"),
        (["--format", "croissant", "--split", "train"], "split is given, but croissant.json"),
        ([], "output (--output) is not given: name a directory of its own"),
    ],
)
def test_where_an_export_cannot_go(
    demo: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    words = [word.replace("{demo}", str(demo)) for word in arguments]
    assert main(["export", str(demo), "-q", *words]) == 2
    assert message in capsys.readouterr().err


def test_every_download_is_described(demo: Path) -> None:
    told = json.loads((demo / "croissant.json").read_bytes())
    assert told["name"] == "Demo Crops: fields that never were"
    assert told["license"] == "https://spdx.org/licenses/CC-BY-4.0.html"
    assert told["url"] == "https://doi.org/10.12345/demo.crops"
    assert told["creator"] == [{"@type": "sc:Organization", "name": "mlhub-flows"}]
    assert told["temporalCoverage"].startswith("2021-03-")
    objects = [one for one in told["distribution"] if one["@type"] == "cr:FileObject"]
    assert objects[0]["contentUrl"] == "items.parquet"
    named = [demo / one["contentUrl"] for one in objects]
    for one, path in zip(objects, named, strict=True):
        content = path.read_bytes()
        assert one["sha256"] == hashlib.sha256(content).hexdigest()
        assert one["contentSize"] == f"{len(content)} B"
    sets = [one for one in told["distribution"] if one["@type"] == "cr:FileSet"]
    found = {path for one in sets for pattern in one["includes"] for path in demo.glob(pattern)}
    assert found | set(named[1:]) == {Path(path) for path in open_local(demo).assets["path"]}
    (records,) = told["recordSet"]
    assert "items/assets/B04/sha256" in {field["@id"] for field in records["field"]}


def test_it_is_written_with_what_it_is_made_of_and_left_alone_else(
    download: Download, server: FaultServer, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        server.put(f"/{name}.tif", name.encode())
    facts: dict[str, Any] = {"datetime": "2020-06-01T12:00:00Z", "proj:code": "EPSG:32633"}
    band = {"name": "red", "eo:center_wavelength": 0.665, "eo:full_width_half_max": 0.038}
    image: dict[str, Any] = {"type": "image/tiff", "bands": [band]}
    documents = [
        item(
            name,
            {"image": {**image, "href": server.url(f"/{name}.tif")}},
            properties={**facts, "gsd": 10},
        )
        for name in ("a", "b")
    ]
    link = {"rel": "license", "href": "https://example.com/terms"}
    licensed = {**collection(), "license": "proprietary", "links": [link], "version": "3"}
    download(licensed, *documents, limit=1)
    root = tmp_path / "out" / DATASET
    file = root / "croissant.json"
    first, before = json.loads(file.read_bytes()), file.stat()
    assert first["license"] == "https://example.com/terms"
    assert first["version"] == "3"
    assert first["geocr:coordinateReferenceSystem"] == "EPSG:32633"
    assert first["geocr:spatialResolution"]["value"] == 10
    fields = {field["@id"]: field for field in first["recordSet"][0]["field"]}
    bands = fields["items/assets/image"]["geocr:bandConfiguration"]
    assert bands["geocr:bandNameList"] == ["red"]
    (spectral,) = fields["items/assets/image"]["geocr:spectralBandMetadata"]
    assert spectral["geocr:centerWavelength"]["value"] == 665
    assert spectral["geocr:bandwidth"]["value"] == 38
    download(limit=1)
    assert main(["export", str(root), "--format", "croissant", "-q"]) == 0
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    download()
    second = json.loads(file.read_bytes())
    assert second["distribution"][0]["sha256"] != first["distribution"][0]["sha256"]
    assert main(["verify", str(root), "-q"]) == 0
    file.unlink()
    assert main(["export", str(root), "--format", "croissant", "-q"]) == 0
    assert json.loads(file.read_bytes()) == second


def test_a_file_of_that_name_that_is_not_ours_stays(
    download: Download, server: FaultServer, tmp_path: Path
) -> None:
    server.put("/a.tif", b"a")
    root = tmp_path / "out" / DATASET
    root.mkdir(parents=True)
    (root / "croissant.json").write_text("mine")
    download(item("a", {"image": server.url("/a.tif")}))
    assert (root / "croissant.json").read_text() == "mine"
    assert json.loads((root / "_croissant.json").read_bytes())["@type"] == "sc:Dataset"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_mlcroissant_validates_it_and_loads_its_records(demo: Path) -> None:
    mlcroissant = pytest.importorskip("mlcroissant")
    described = mlcroissant.Dataset(jsonld=str(demo / "croissant.json"))
    assert not described.metadata.issues.errors
    records = list(described.records("items"))
    opened = open_local(demo)
    assert {one["items/id"].decode() for one in records} == set(opened.items["id"])
    with_band = [one for one in records if one["items/assets/B04"]]
    assert with_band
    for one in with_band:
        content = (demo / one["items/assets/B04"].decode()).read_bytes()
        assert hashlib.sha256(content).hexdigest() == one["items/assets/B04/sha256"].decode()
