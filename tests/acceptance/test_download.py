"""``Dataset.download()`` on the demo hub and on catalogs that carry their own files."""

from __future__ import annotations

import hashlib
import io
import json
import sqlite3
import tarfile
from pathlib import Path
from typing import Any

import pytest

from mlhub_core import Dataset
from mlhub_core.exceptions import DirectoryBusy, DownloadIncomplete, NothingMatches
from mlhub_core.hub.server import DemoHub, HubServer
from mlhub_core.paths import DownloadPaths
from mlhub_core.settings import RunSettings
from mlhub_core.state import directory_lock

LABELS, PLOTS = "demo_crops_labels", "demo_crops_plots"


def files_below(directory: Path) -> set[str]:
    return {
        str(path.relative_to(directory))
        for path in directory.rglob("*")
        if path.is_file() and {".mlhub", "stac"}.isdisjoint(path.parts)
    }


def assets_below(directory: Path) -> set[str]:
    """What is neither the catalog's JSON nor one of our own files."""
    own = {
        *("mlhub_stac_assets.parquet", "mlhub_stac_assets.db", "items.parquet", "croissant.json")
    }
    return {
        name
        for name in files_below(directory)
        if name not in own
        and Path(name).name not in ("catalog.json", "collection.json")
        and not name.endswith(f"/{Path(name).parent.name}.json")
    }


@pytest.mark.usefixtures("at_demo_hub")
class TestDemo:
    def test_the_current_directory_at_the_time_of_the_call(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        dataset = Dataset.fetch("demo_crops")
        monkeypatch.chdir(tmp_path)
        report = dataset.download(catalog_only=True, progress=False)
        assert report.catalog_only
        assert files_below(tmp_path) >= {"demo_crops.tar.gz", "demo_crops/catalog.json"}
        assert not assets_below(tmp_path / "demo_crops")

    def test_assets_elsewhere(self, tmp_path: Path) -> None:
        dataset = Dataset.fetch("demo_crops")
        report = dataset.download(
            tmp_path / "catalog",
            asset_output_dir=tmp_path / "assets",
            collection_filter={PLOTS: []},
            progress=False,
        )
        assert not assets_below(tmp_path / "catalog" / "demo_crops")
        assert not (tmp_path / "catalog" / "demo_crops" / ".mlhub").exists()
        got = assets_below(tmp_path / "assets" / "demo_crops")
        assert len(got) == report.files > 90
        assert f"{PLOTS}/readme_plots.csv" in got
        assert (tmp_path / "assets" / "demo_crops" / "mlhub_stac_assets.parquet").is_file()

    def test_common_files_lie_once_and_where_they_always_lie(self, tmp_path: Path) -> None:
        """Their place does not depend on the filters of one run."""
        dataset = Dataset.fetch("demo_crops")
        wanted = {LABELS: ["documentation", "train_split"]}
        report = dataset.download(tmp_path, collection_filter=wanted, progress=False)
        assert report.files == 2
        assert assets_below(tmp_path / "demo_crops") == {
            "_common/documentation.pdf",
            "_common/train_split.csv",
        }

    def test_the_antimeridian(self, tmp_path: Path) -> None:
        dataset = Dataset.fetch("demo_crops")
        across = dataset.download(
            tmp_path,
            bbox=[179.9, -20, -179.9, -15],
            collection_filter={LABELS: ["labels"]},
            progress=False,
        )
        names = {Path(name).parent.name for name in assets_below(tmp_path / "demo_crops")}
        assert across.files == len(names) > 0
        assert all("fiji" in name for name in names)

    def test_a_second_run_asks_for_nothing_and_says_so(self, tmp_path: Path) -> None:
        dataset = Dataset.fetch("demo_crops")
        first = dataset.download(tmp_path, collection_filter={PLOTS: []}, progress=False)
        again = dataset.download(tmp_path, collection_filter={PLOTS: []}, progress=False)
        assert (again.requests, again.fetched, again.kept) == (0, 0, first.files)
        assert "were here already" in again.summary()

    def test_filters_and_their_funnel(self, tmp_path: Path) -> None:
        dataset = Dataset.fetch("demo_crops")
        with pytest.raises(
            NothingMatches, match=r"876 files in.*1 file after.*none of them"
        ) as got:
            dataset.download(tmp_path, datetime="1999", bbox=[0, 0, 1, 1], progress=False)
        # A collection's own files have no time; they alone are no match, and hide nothing.
        assert [left for _, left in got.value.funnel] == [876, 1, 1]

    def test_two_runs_do_not_share_a_directory(self, tmp_path: Path) -> None:
        dataset = Dataset.fetch("demo_crops")
        with (
            directory_lock(DownloadPaths.of("demo_crops", tmp_path)),
            pytest.raises(DirectoryBusy, match="in use by process"),
        ):
            dataset.download(tmp_path, progress=False)

    def test_the_sqlite_table(self, tmp_path: Path) -> None:
        dataset = Dataset.fetch("demo_crops")
        dataset.download(tmp_path, collection_filter={LABELS: ["labels"]}, progress=False)
        with sqlite3.connect(tmp_path / "demo_crops" / "mlhub_stac_assets.db") as table:
            rows = table.execute(
                "SELECT filtered, COUNT(*), COUNT(DISTINCT asset_save_path) FROM assets GROUP BY 1"
            ).fetchall()
            bbox, geometry, moment = table.execute(
                "SELECT bbox_json, geometry_json, single_datetime FROM assets "
                "WHERE item_id IS NOT NULL AND collection_id = ?",
                [LABELS],
            ).fetchone()
        table.close()
        assert rows[0] == (0, 97, 97)
        assert sum(count for _, count, _ in rows) == 1309
        assert len(json.loads(bbox)) == 4
        assert json.loads(geometry)["type"] in ("Polygon", "MultiPolygon")
        assert moment.endswith("Z")

    def test_without_the_sqlite_table(self, tmp_path: Path) -> None:
        settings = RunSettings(asset_db=False)
        wanted = {PLOTS: ["labels"]}
        Dataset.fetch("demo_crops").download(
            tmp_path, collection_filter=wanted, settings=settings, progress=False
        )
        assert not (tmp_path / "demo_crops" / "mlhub_stac_assets.db").exists()


def carrying_hub(root: Path) -> dict[str, bytes]:
    """A hub whose catalog carries its files; what lies where in the end."""
    truth = {
        "c/i/data.tif": b"II*\0" + b"tiff" * 500,
        "c/i/label.geojson": b'{"type": "FeatureCollection", "features": []}',
        "c/table.csv": b"a,b\n1,2\n",
    }
    item = {
        "type": "Feature",
        "id": "i",
        "collection": "c",
        "geometry": {"type": "Point", "coordinates": [1, 2]},
        "bbox": [1, 2, 1, 2],
        "properties": {"datetime": "2020-01-01T00:00:00Z"},
        "assets": {
            "data": {"href": "data.tif"},  # it is extracted to its very save path
            "label": {"href": "../files/x.geojson"},
            "missing": {"href": "./nowhere.tif"},
        },
    }
    members = {
        "ds/catalog.json": json.dumps({"type": "Catalog", "id": "ds"}).encode(),
        "ds/c/collection.json": json.dumps(
            {"type": "Collection", "id": "c", "assets": {"table": {"href": "../t.csv"}}}
        ).encode(),
        "ds/c/i/i.json": json.dumps(item).encode(),
        "ds/c/i/data.tif": truth["c/i/data.tif"],
        "ds/c/files/x.geojson": truth["c/i/label.geojson"],
        "ds/t.csv": truth["c/table.csv"],
    }
    for folder in ("datasets", "catalogs"):
        (root / folder).mkdir(parents=True)
    with tarfile.open(root / "catalogs" / "ds.tar.gz", "w:gz") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    (root / "datasets" / "d.json").write_text(json.dumps({"id": "ds", "collections": []}))
    return truth


def test_files_that_the_catalog_carries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = carrying_hub(tmp_path / "hub")
    monkeypatch.setenv("MLHUB_PROFILE", "__anonymous__")
    with HubServer(tmp_path / "hub") as hub:
        monkeypatch.setenv("MLHUB_ROOT_URL", hub.url)
        dataset = Dataset.fetch("ds")
        with pytest.raises(DownloadIncomplete, match="1 of 4") as caught:
            dataset.download(tmp_path / "out", progress=False)
        report: Any = caught.value.report
        assert (report.failed, report.requests) == (1, 0)
        assert "not in the catalog archive" in (tmp_path / "out/ds/err_report.csv").read_text()
        for name, content in truth.items():
            got = (tmp_path / "out" / "ds" / name).read_bytes()
            assert hashlib.sha256(got).digest() == hashlib.sha256(content).digest(), name
        with pytest.raises(DownloadIncomplete) as second:
            dataset.download(tmp_path / "out", progress=False)
        again: Any = second.value.report
        assert (again.kept, again.failed) == (3, 1)


def test_a_demo_hub_with_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with DemoHub(api_key="k") as hub:
        monkeypatch.setenv("MLHUB_ROOT_URL", hub.url)
        dataset = Dataset.fetch("demo_crops", api_key="k")
        report = dataset.download(tmp_path, collection_filter={PLOTS: ["labels"]}, progress=False)
        assert report.fetched == report.files > 10
