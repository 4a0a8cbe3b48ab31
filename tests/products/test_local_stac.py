"""The local STAC: what is here, with links to the files here, as other tools open it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import geopandas
import pystac
import pytest
import shapely
from pystac.validation.stac_validator import JsonSchemaSTACValidator

from mlhub_core.cli import main
from mlhub_core.exceptions import DownloadIncomplete
from mlhub_core.hub.server import DemoHub
from mlhub_core.transfer.report import DownloadReport
from tests.acceptance.kit import DATASET, collection, item
from tests.faultserver import FaultServer, status
from tests.stac_extensions import problems

Download = Callable[..., DownloadReport]


def _read(path: Path) -> Any:
    return json.loads(path.read_bytes())


def _files(root: Path) -> dict[Path, tuple[int, int]]:
    return {
        path: (path.stat().st_mtime_ns, path.stat().st_ino)
        for path in root.rglob("*")
        if path.is_file()
    }


def test_pystac_walks_it_and_every_link_and_asset_leads_to_a_file(demo: Path) -> None:
    catalog = pystac.Catalog.from_file(str(demo / "stac" / "catalog.json"))
    assert {child.id for child in catalog.get_children()} == {
        *("demo_crops_labels", "demo_crops_plots", "demo_crops_source_sentinel_2"),
    }
    items = list(catalog.get_items(recursive=True))
    assert len(items) > 30
    for one in items:
        place = Path(one.get_self_href() or "").parent
        hrefs = [asset.href for asset in one.assets.values()]
        hrefs += [link["href"] for link in _read(Path(one.get_self_href() or ""))["links"]]
        assert hrefs
        assert not [href for href in hrefs if not (place / href).is_file()]
        assert one.get_collection() is not None


def test_it_passes_the_schemas_of_stac(demo: Path) -> None:
    validator = JsonSchemaSTACValidator()
    kinds = {
        "Catalog": pystac.STACObjectType.CATALOG,
        "Collection": pystac.STACObjectType.COLLECTION,
        "Feature": pystac.STACObjectType.ITEM,
    }
    documents = [_read(path) for path in (demo / "stac").rglob("*.json")]
    assert {one["stac_version"] for one in documents} == {"1.1.0"}
    for one in documents:
        validator.validate_core(one, kinds[one["type"]], "1.1.0")
        assert list(problems(one)) == []
    named = {url for one in documents for url in one.get("stac_extensions", [])}
    assert {url.split("/")[3] for url in named} == {
        *("file", "alternate-assets", "label", "eo", "scientific"),
    }


def test_an_asset_has_what_the_ledger_knows_and_where_it_came_from(
    download: Download, server: FaultServer, tmp_path: Path
) -> None:
    server.put("/a.tif", b"a" * 10)
    signed = server.url("/a.tif") + "?id=7&X-Amz-Signature=0123456789abcdef&X-Amz-Expires=60"
    server.put("/a.tif?id=7&X-Amz-Signature=0123456789abcdef&X-Amz-Expires=60", b"a" * 10)
    via = {"rel": "license", "href": signed}
    download(collection(), item("one", {"image": {"href": signed, "bands": []}}, links=[via]))
    stac = tmp_path / "out" / DATASET / "stac"
    text = (stac / "pictures/one/one.json").read_text()
    assert "0123456789abcdef" not in text
    (asset,) = json.loads(text)["assets"].values()
    assert asset == {
        "href": "../../../pictures/one/image.tif",
        "bands": [],
        "file:size": 10,
        "file:checksum": "1220bf2cb58a68f684d95a3b78ef8f661c9a4e5b09e82cc8f9cc88cce90528caeb27",
        "file:local_path": "pictures/one/image.tif",
        "alternate": {"origin": {"href": server.url("/a.tif") + "?id=7"}},
    }


def test_a_run_that_changes_nothing_writes_nothing_and_one_that_does_writes_it_anew(
    download: Download, server: FaultServer, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        server.put(f"/{name}.tif", name.encode())
    documents = [item(name, {"image": server.url(f"/{name}.tif")}) for name in ("a", "b")]
    first = download(*documents, limit=1)
    root = tmp_path / "out" / DATASET
    assert first.stac == root / "stac" / "catalog.json"
    assert _items(root) == {"a"}
    before = _files(root / "stac")
    download(limit=1)
    assert _files(root / "stac") == before
    assert main(["stac", str(root)]) == 0
    assert _files(root / "stac") == before
    download()
    assert _items(root) == {"a", "b"}
    (root / "pictures/a/image.tif").unlink()
    server.always("/a.tif", status(404))
    with pytest.raises(DownloadIncomplete):
        download()
    assert _items(root) == {"b"}


def test_none_is_written_unless_asked_for_and_the_command_writes_it(
    at_demo_hub: DemoHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--output-dir", str(tmp_path), "--limit", "3", "--stac", "none", "--quiet"]
    assert main(["download", "demo_crops", *arguments]) == 0
    root = tmp_path / "demo_crops"
    assert not (root / "stac").exists()
    capsys.readouterr()
    assert main(["stac", str(root)]) == 0
    assert capsys.readouterr().out == f"{root}/stac/catalog.json: 3 items, written\n"
    assert main(["verify", str(root), "--quiet"]) == 0


def test_what_is_not_ours_is_not_touched(
    download: Download, server: FaultServer, tmp_path: Path
) -> None:
    server.put("/a.tif", b"a")
    place = tmp_path / "out" / DATASET / "stac"
    place.mkdir(parents=True)
    (place / "mine.txt").write_text("mine")
    report = download(item("a", {"image": server.url("/a.tif")}))
    assert (place / "mine.txt").read_text() == "mine"
    assert os.listdir(place) == ["mine.txt"]
    assert report.stac == place.with_name("_stac") / "catalog.json"
    assert report.stac.is_file()


def test_a_directory_that_is_no_download(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["stac", str(tmp_path)]) == 2
    assert "is not the directory of a downloaded dataset" in capsys.readouterr().err


def test_the_table_has_the_items_and_geopandas_and_duckdb_read_it(demo: Path) -> None:
    table = demo / "items.parquet"
    catalog = pystac.Catalog.from_file(str(demo / "stac" / "catalog.json"))
    items = {one.id: one for one in catalog.get_items(recursive=True)}
    layer = geopandas.read_parquet(table)
    assert layer.crs.to_epsg() == 4326
    assert set(layer["id"]) == set(items)
    for row in layer.to_dict("records"):
        one = items[row["id"]]
        assert row["geometry"].equals_exact(shapely.geometry.shape(one.geometry), 1e-9)
        hrefs = {key: asset["href"] for key, asset in row["assets"].items() if asset is not None}
        assert hrefs.keys() == one.assets.keys()
        assert [href for href in hrefs.values() if not (demo / href).is_file()] == []
    found = duckdb.sql(
        f'SELECT id, assets.B04."file:size" FROM \'{table}\' WHERE "eo:cloud_cover" < 10'
    ).fetchall()
    clear = [one for one in items.values() if one.properties.get("eo:cloud_cover", 99) < 10]
    assert len(found) == len(clear) > 0
    assert all(size > 1000 for _, size in found)


def test_a_field_that_is_a_number_in_one_item_and_a_text_in_another_loses_nothing(
    download: Download, server: FaultServer, tmp_path: Path
) -> None:
    server.put("/a.tif", b"a")
    values: list[Any] = [1, "two", {"three": 3}, None, [4, "5"], 2**70, {}, []]
    download(
        collection(),
        *(
            item(
                str(number),
                {"image": {"href": server.url("/a.tif"), "odd": value}},
                properties={"datetime": "2020-06-01T12:00:00Z", "mixed": value, f"own{number}": 1},
            )
            for number, value in enumerate(values)
        ),
    )
    layer = geopandas.read_parquet(tmp_path / "out" / DATASET / "items.parquet").set_index("id")
    told = [
        json.loads(one) if isinstance(one, str) else None for one in layer["mixed"].sort_index()
    ]
    assert told == [*values[:5], pytest.approx(2**70), *values[6:]]
    assert layer["own3"]["3"] == 1


def test_a_collection_that_is_called_as_a_product_lies_elsewhere(
    download: Download, server: FaultServer, tmp_path: Path
) -> None:
    server.put("/a.tif", b"a")
    names = ("stac", "STAC", "items.parquet", "pictures")
    href = server.url("/a.tif")
    report = download(*(item(f"of {name}", {"image": href}, name) for name in names))
    root = tmp_path / "out" / DATASET
    layer = geopandas.read_parquet(root / "mlhub_stac_assets.parquet")
    places = dict(zip(layer["collection_id"], layer["save_path"], strict=True))
    assert places["stac"].startswith("%73tac/")
    assert places["items.parquet"].startswith("%69tems.parquet/")
    assert places["pictures"].startswith("pictures/")
    assert all((root / path).is_file() for path in places.values())
    assert report.stac is not None
    assert _items(report.stac.parent.parent, report.stac.parent.name) == {
        f"of {name}" for name in names
    }
    assert (root / "items.parquet").is_file() or (root / "_items.parquet").is_file()


def _items(root: Path, directory: str = "stac") -> set[str]:
    catalog = pystac.Catalog.from_file(str(root / directory / "catalog.json"))
    return {one.id for one in catalog.get_items(recursive=True)}


def test_it_lies_beside_the_files_where_no_other_catalog_does(
    at_demo_hub: DemoHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["demo_crops", "--output-dir", str(tmp_path), "-q", "--stac", "inplace"]
    assert main(["download", *arguments, "--limit", "3"]) == 2
    assert "--no-unarchive" in capsys.readouterr().err
    assert main(["download", *arguments, "--limit", "3", "--no-unarchive"]) == 0
    root = tmp_path / "demo_crops"
    assert len(_items(root, ".")) == 3
    catalog = pystac.Catalog.from_file(str(root / "catalog.json"))
    for one in catalog.get_items(recursive=True):
        assert Path(one.get_self_href() or "").is_relative_to(root)
        one.make_asset_hrefs_absolute()
        assert all(Path(asset.href).is_file() for asset in one.assets.values())
    before = _documents(root)
    assert main(["stac", str(root), "-q"]) == 0
    assert main(["verify", str(root), "-q"]) == 0
    assert _documents(root) == before
    assert main(["download", *arguments, "--limit", "5", "--no-unarchive"]) == 0
    assert len(_items(root, ".")) == 5
    assert main(["stac", str(root), "-q", "--stac", "copy"]) == 0
    assert not (root / "catalog.json").exists()
    assert len(_items(root)) == 5
    (root / "catalog.json").write_text("mine")
    capsys.readouterr()
    assert main(["stac", str(root), "-q", "--stac", "inplace"]) == 2
    assert f"{root}/catalog.json is not of our local STAC" in capsys.readouterr().err
    assert (root / "catalog.json").read_text() == "mine"
    assert len(_items(root)) == 5


def _documents(root: Path) -> dict[Path, tuple[int, int]]:
    return {
        path: found
        for path, found in _files(root).items()
        if path.suffix == ".json" and ".mlhub" not in path.parts
    }


def test_what_a_kill_left_is_put_right(
    download: Download, server: FaultServer, tmp_path: Path
) -> None:
    """Of the two renames only the first was done; and a part of the next one lies there."""
    server.put("/a.tif", b"a")
    download(item("a", {"image": server.url("/a.tif")}))
    root = tmp_path / "out" / DATASET
    before = (root / "stac/pictures/a/a.json").read_bytes()
    state = json.loads((root / ".mlhub/products.json").read_text())
    del state["digest"]
    (root / ".mlhub/products.json").write_text(json.dumps(state))
    (root / "stac").rename(root / ".mlhub/stac.old")
    (root / ".mlhub/stac.part/pictures").mkdir(parents=True)
    (root / ".mlhub/stac.sqlite").write_bytes(b"torn")
    assert main(["stac", "-q", str(root)]) == 0
    assert (root / "stac/pictures/a/a.json").read_bytes() == before
    assert {path.name for path in (root / ".mlhub").iterdir() if "stac" in path.name} == set()


_KILLED = """
import os, signal, sys
from mlhub_core.cli import main

left = int(sys.argv[1])

def kill(event, arguments):
    global left
    if event == "os.rename":
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(kill)
sys.exit(main(["stac", "-q", sys.argv[2]]))
"""


@pytest.mark.parametrize(
    "renames", [pytest.param(n, marks=[] if n == 2 else [pytest.mark.slow]) for n in range(7)]
)
def test_a_run_that_was_killed_at_any_rename_is_put_right_by_the_next(
    download: Download, server: FaultServer, tmp_path: Path, renames: int
) -> None:
    """Killed by the system, before the state, both of the two directories, the table, …"""
    for name in ("a", "b"):
        server.put(f"/{name}.tif", name.encode())
    download(*(item(name, {"image": server.url(f"/{name}.tif")}) for name in ("a", "b")), limit=1)
    root = tmp_path / "out" / DATASET
    old = (root / "stac/pictures/a/a.json").read_bytes()
    download(stac="none")
    words = [sys.executable, "-c", _KILLED, str(renames), str(root)]
    ended = subprocess.run(words, capture_output=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert main(["stac", "-q", str(root)]) == 0
    assert _items(root) == {"a", "b"}
    assert (root / "stac/pictures/a/a.json").read_bytes() == old
    layer = geopandas.read_parquet(root / "items.parquet")
    assert set(layer["id"]) == {"a", "b"}
    described = _read(root / "croissant.json")["distribution"][0]
    assert described["contentSize"] == f"{(root / 'items.parquet').stat().st_size} B"
    left = [path.name for path in (root / ".mlhub").iterdir()]
    assert not [name for name in left if "stac" in name or "items" in name or ".part" in name]
    assert main(["verify", "-q", str(root)]) == 0
    before = _files(root)
    assert main(["stac", "-q", str(root)]) == 0
    after = _files(root)
    assert {path for path in before if before[path] != after.get(path)} <= {root / ".mlhub/lock"}
