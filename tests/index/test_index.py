from __future__ import annotations

import json
import logging
import os
import pickle
import tarfile
from pathlib import Path
from typing import Any

import geopandas
import pyarrow.parquet as pq
import pytest
import shapely

from mlhub_core.exceptions import (
    ArchiveCorrupt,
    ArchiveLimitExceeded,
    Interrupted,
    StorageError,
)
from mlhub_core.index.build import INDEX_VERSION, index_assets
from mlhub_core.index.schema import index_schema
from mlhub_core.paths import INDEX_STATE_NAME
from mlhub_core.progress import Progress, Stage
from mlhub_core.settings import ArchiveLimits
from mlhub_core.sources.unarchive import unarchive
from mlhub_core.threads import StopFlag
from mlhub_core.work import Work
from tests.index.kit import (
    DATASET,
    asset,
    described,
    index_of,
    item,
    paths_in,
    place,
    rows_of,
    tree,
    write_archive,
)


def paths_by_key(rows: list[dict[str, Any]]) -> dict[tuple[str | None, str], str]:
    return {(row["item_id"], row["asset_key"]): row["save_path"] for row in rows}


def test_a_row(tmp_path: Path) -> None:
    one = item("i1", links=[{"rel": "source", "href": "../s1/s1.json"}])
    one["assets"]["image"] |= {"roles": ["data"], "file:size": 9, "file:checksum": "1220ab"}
    one["assets"]["image"]["updated"] = "2021"
    one["properties"]["updated"] = "2022"
    index, (row,) = index_of(tmp_path, tree(one))
    geometry = row.pop("geometry")
    assert shapely.from_wkb(geometry).equals(shapely.box(10, 50, 11, 51))
    box = {"xmin": 10.0, "ymin": 50.0, "xmax": 11.0, "ymax": 51.0}
    assert row.pop("datetime").isoformat() == "2021-05-01T10:00:00+00:00"
    assert row == {
        "collection_id": "coll",
        "item_id": "i1",
        "asset_key": "image",
        "href": "https://files.test/i1.tif",
        "media_type": "image/tiff",
        "roles": ["data"],
        "save_path": "coll/i1/image.tif",
        "common_asset": False,
        "start_datetime": None,
        "end_datetime": None,
        "file_size": 9,
        "checksum": "1220ab",
        "updated": "2021 2022",
        "alternates": None,
        **dict.fromkeys(("title", "description", "bands", "details", "license", "item_url")),
        "item_bbox": box,
        "bbox": box,
        "properties": '{"datetime":"2021-05-01T10:00:00Z","updated":"2022"}',
        "source_items": ["s1"],
        "item_path": "coll/i1/i1.json",
        "source_paths": ["coll/s1/s1.json"],
    }
    assert (index.assets, index.files, index.items) == (1, 1, 1)
    assert index.collections == (("coll", 1, 1),)
    assert index.asset_keys == (("coll", ("image",)),)
    assert pickle.loads(pickle.dumps(index)) == index


def test_it_opens_as_a_map(tmp_path: Path) -> None:
    crossing = item("x", bbox=[175, -5, -175, 5], geometry=None)
    nowhere = item("n", bbox=None, geometry=None)
    point = item("p", bbox=None, geometry={"type": "Point", "coordinates": [100, 10, 5]})
    index, _ = index_of(tmp_path, tree(item("a"), crossing, nowhere, point))
    frame = geopandas.read_parquet(index.path).set_index("item_id")
    assert frame.crs == "EPSG:4326"
    assert frame.geometry["a"].bounds == (10, 50, 11, 51)
    assert frame.geometry["p"].z == 5
    assert frame.geometry[["x", "n"]].isna().all()
    assert "bbox" not in frame.columns
    for window, found in [
        ((178, -1, 179, 1), {"x"}),
        ((-179, -1, -178, 1), {"x"}),
        ((10.5, 50.5, 10.6, 50.6), {"a"}),
        ((99, 9, 101, 11), {"p"}),
    ]:
        here = geopandas.read_parquet(index.path, bbox=window).item_id
        assert found <= set(here) <= found | {"x"}
    geo = json.loads(pq.read_metadata(index.path).metadata[b"geo"])
    column = geo["columns"]["geometry"]
    assert geo["version"] == "1.1.0"
    assert column["geometry_types"] == ["Point Z", "Polygon"]
    assert column["bbox"] == [-180, -5, 180, 51]
    assert column["covering"]["bbox"]["xmin"] == ["bbox", "xmin"]


def test_columns_and_types_are_the_documented_ones(tmp_path: Path) -> None:
    index, _ = index_of(tmp_path, tree(item("a")))
    got = pq.read_schema(index.path)
    assert got.names == index_schema().names
    assert [str(field.type) for field in got] == [str(field.type) for field in index_schema()]
    metadata = pq.read_metadata(index.path)
    assert metadata.row_group(0).column(0).compression == "ZSTD"


def test_duckdb_reads_it(tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    index, _ = index_of(tmp_path, tree(item("a"), item("b")))
    with duckdb.connect() as connection:
        connection.execute("SET autoinstall_known_extensions = false")
        found = connection.execute(
            "SELECT item_id, bbox.xmin, year(datetime) FROM read_parquet(?) ORDER BY 1",
            [str(index.path)],
        ).fetchall()
    assert found == [("a", 10.0, 2021), ("b", 10.0, 2021)]


def test_an_empty_catalog(tmp_path: Path) -> None:
    index, rows = index_of(tmp_path, tree())
    assert (rows, index.assets, index.files, index.items) == ([], 0, 0, 0)
    assert geopandas.read_parquet(index.path).empty


def test_an_index_is_used_again_as_long_as_the_archive_is_the_same(tmp_path: Path) -> None:
    archive, paths = write_archive(tmp_path, tree(item("a"))), paths_in(tmp_path)
    first = index_assets(archive, paths)
    archive.path.unlink()
    second = index_assets(archive, paths)
    assert (first.reused, second.reused) == (False, True)
    assert second.collections == first.collections
    assert second.asset_keys == first.asset_keys
    other = write_archive(tmp_path, tree(item("a"), item("b")))
    assert not (third := index_assets(other, paths)).reused
    assert third.items == 2


@pytest.mark.parametrize("broken", ["parquet", "state", "gone", "older"])
def test_a_broken_index_is_built_anew(tmp_path: Path, broken: str) -> None:
    archive, paths = write_archive(tmp_path, tree(item("a"))), paths_in(tmp_path)
    first = index_assets(archive, paths)
    state = paths.state_dir / INDEX_STATE_NAME
    if broken == "parquet":
        paths.index.write_bytes(paths.index.read_bytes()[:-20])
    elif broken == "state":
        state.write_bytes(b"{}")
    elif broken == "older":
        text = state.read_text()
        assert f'"version": {INDEX_VERSION}' in text
        state.write_text(text.replace(f'"version": {INDEX_VERSION}', '"version": 0'))
    else:
        paths.index.unlink()
    again = index_assets(archive, paths)
    assert again == first
    assert len(rows_of(again)) == 1


def test_common_assets(tmp_path: Path) -> None:
    def documented(item_id: str, collection: str, **hrefs: str) -> dict[str, Any]:
        return item(item_id, collection, assets={key: asset(url) for key, url in hrefs.items()})

    _, rows = index_of(
        tmp_path,
        tree(
            documented("a1", "a", documentation="https://x/d.pdf", readme="https://x/a.md"),
            documented("a2", "a", documentation="https://x/d.pdf", readme="https://x/a.md"),
            documented("b1", "b", documentation="https://x/d.pdf", readme="https://x/b.md"),
            documented("b2", "b", train_split="https://x/1.csv", overview="https://x/o"),
            documented("b3", "b", train_split="https://x/2.csv", overview="https://x/o"),
        ),
    )
    assert paths_by_key(rows) == {
        ("a1", "documentation"): "_common/documentation.pdf",
        ("a2", "documentation"): "_common/documentation.pdf",
        ("b1", "documentation"): "_common/documentation.pdf",
        ("a1", "readme"): "a/_common/readme.md",
        ("a2", "readme"): "a/_common/readme.md",
        ("b1", "readme"): "b/_common/readme.md",
        ("b2", "train_split"): "b/b2/train_split.csv",
        ("b3", "train_split"): "b/b3/train_split.csv",
        ("b2", "overview"): "b/b2/overview",
        ("b3", "overview"): "b/b3/overview",
    }
    common = {row["save_path"] for row in rows if row["common_asset"]}
    assert all("_common/" in path for path in common)
    assert len(common) == 3


def test_files_counts_save_paths(tmp_path: Path) -> None:
    shared = {"documentation": asset("https://x/d.pdf")}
    one, two = (item(name, assets=shared | {"m": asset(f"https://x/{name}")}) for name in "ab")
    index, rows = index_of(tmp_path, tree(one, two))
    assert (index.assets, index.files) == (4, 3)
    index, rows = index_of(tmp_path / "twice", [*tree(one, two).items(), *tree(one).items()])
    assert index.assets == 6
    assert index.files == len({row["save_path"] for row in rows}) == 3


def test_collection_assets(tmp_path: Path) -> None:
    collection = {
        "type": "Collection",
        "id": "coll",
        "assets": {
            "notes": asset("https://x/n.csv"),
            "collection": asset("https://x/c.json"),
            "_common": asset("https://x/c"),
            "i1": asset("https://x/i"),
            "readme": asset("https://x/r.md"),
        },
    }
    index, rows = index_of(
        tmp_path, tree(item("i1")) | {f"{DATASET}/coll/collection.json": collection}
    )
    paths = paths_by_key(rows)
    assert paths[None, "notes"] == "coll/notes.csv"
    assert paths[None, "readme"] == "coll/readme.md"
    assert paths[None, "collection"] == "coll/%63ollection.json"
    assert paths[None, "_common"] == "coll/%5Fcommon"
    assert paths[None, "i1"] == "coll/%691"
    row = next(row for row in rows if row["asset_key"] == "notes")
    for name in ("datetime", "bbox", "item_bbox", "geometry", "properties", "source_items"):
        assert row[name] is None
    assert index.collections == (("coll", 1, 6),)
    assert "notes" in dict(index.asset_keys)["coll"]


def test_clashes_within_an_item(tmp_path: Path) -> None:
    assets = {
        "B8A": asset("https://x/1.tif"),
        "B8a": asset("https://x/2.tif"),
        "a": asset("https://x/3.tif"),
        "a.tif": asset("https://x/4"),
        "i1": asset("https://x/5.json"),
        "same": asset("https://x/6.tif"),
        "same.tif": asset("https://x/6.tif#", type="x"),
    }
    index, rows = index_of(tmp_path, tree(item("i1", assets=assets)))
    paths = paths_by_key(rows)
    assert paths["i1", "B8A"] == "coll/i1/%428%41.tif"
    assert paths["i1", "B8a"] == "coll/i1/%428a.tif"
    assert paths["i1", "i1"] == "coll/i1/%691.json"
    assert len({path.lower() for path in paths.values()}) == len(assets) == index.files
    assert any("B8A" in remark for remark in index.remarks)


def test_clashes_between_items_do_not_depend_on_the_order(tmp_path: Path) -> None:
    one = item("x", assets={"m": asset("https://x/1.tif"), "n": asset("https://x/n.tif")})
    two = item("x", assets={"m": asset("https://x/2.tif"), "n": asset("https://x/n.tif")})
    upper = item("X", assets={"m": asset("https://x/3.tif")})
    alone = item("y")
    files = [
        (f"{DATASET}/coll/x/x.json", one),
        (f"{DATASET}/coll/x/x-again.json", two),
        (f"{DATASET}/coll/X/X.json", upper),
        (place("y"), alone),
        (f"{DATASET}/catalog.json", {"type": "Catalog"}),
    ]
    index, rows = index_of(tmp_path / "1", files)
    _, backwards = index_of(tmp_path / "2", files[::-1])
    found = {(row["href"], row["save_path"]) for row in rows}
    assert found == {(row["href"], row["save_path"]) for row in backwards}
    by_href = dict(sorted(found))
    assert len(by_href) == 5
    assert by_href["https://x/3.tif"] == "coll/%58/m.tif"
    assert by_href["https://x/n.tif"] == "coll/x/n.tif"
    assert by_href["https://files.test/y.tif"] == "coll/y/image.tif"
    assert by_href["https://x/1.tif"].startswith("coll/x/m~")
    assert len({path.lower() for path in by_href.values()}) == 5 == index.files
    assert any("shares its directory" in remark for remark in index.remarks)


def test_collections_that_differ_in_case(tmp_path: Path) -> None:
    _, rows = index_of(tmp_path, tree(item("a", "Coll"), item("b", "coll")))
    assert paths_by_key(rows) == {
        ("a", "image"): "%43oll/a/image.tif",
        ("b", "image"): "coll/b/image.tif",
    }


def test_assets_never_take_the_place_of_the_archives_own_files(tmp_path: Path) -> None:
    files = tree(item("i1", assets={"image": asset("https://x/i.tif"), "m": asset("https://x/m")}))
    files |= {
        f"{DATASET}/coll/i1/IMAGE.tif": b"the archive's own",
        f"{DATASET}/coll/i1/m/below": b"a directory",
        f"{DATASET}/_common/documentation.pdf": b"taken",
        f"{DATASET}/coll/i2": b"a file where an item goes",
        f"{DATASET}/Other": b"a file where a collection goes",
    }
    other = {"documentation": asset("https://x/d.pdf")}
    files |= tree(item("i2", assets={"a": asset("https://x/a")}), item("o", "other", assets=other))
    _, rows = index_of(tmp_path, files)
    assert paths_by_key(rows) == {
        ("i1", "image"): "coll/i1/%69mage.tif",
        ("i1", "m"): "coll/i1/%6D",
        ("i2", "a"): "coll/%692/a",
        ("o", "documentation"): "_common/%64ocumentation.pdf",
    }


def test_files_that_the_archive_carries(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    hrefs = {
        "here": asset("./here.tif"),
        "above": asset("../../shared/notes.txt"),
        "spaced": asset("a%20b.tif"),
        "gone": asset("./gone.tif"),
        "out": asset("../../../../../etc/passwd"),
    }
    files = tree(item("i1", assets=hrefs)) | {
        f"{DATASET}/coll/i1/here.tif": b"1",
        f"{DATASET}/shared/notes.txt": b"2",
        f"{DATASET}/coll/i1/a b.tif": b"3",
    }
    archive, paths = write_archive(tmp_path, files), paths_in(tmp_path)
    with caplog.at_level(logging.WARNING):
        index = index_assets(archive, paths)
    unarchive(archive, paths)
    found = {row["asset_key"]: (row["href"], row["save_path"]) for row in rows_of(index)}
    assert found["here"] == ("demo/coll/i1/here.tif", "coll/i1/here.tif")
    assert found["above"] == ("demo/shared/notes.txt", "coll/i1/above.txt")
    assert found["spaced"] == ("demo/coll/i1/a b.tif", "coll/i1/spaced.tif")
    assert found["gone"] == ("demo/coll/i1/gone.tif", "coll/i1/gone.tif")
    assert found["out"] == ("demo/%2E%2E/%2E%2E/%2E%2E/etc/passwd", "coll/i1/out")
    for key, there in [("here", True), ("above", True), ("spaced", True), ("gone", False)]:
        assert (paths.output_dir / found[key][0]).is_file() is there
    assert index.remark_count == 2
    assert len(caplog.records) == 1


def test_relative_hrefs_beside_the_items_own_url(tmp_path: Path) -> None:
    one = item(
        "i1",
        assets={"a": asset("./a.tif"), "b": asset("b.tif")},
        links=[{"rel": "self", "href": "https://files.test/c/i1/i1.json"}],
    )
    index, rows = index_of(tmp_path, tree(one) | {f"{DATASET}/coll/i1/a.tif": b"1"})
    assert {row["asset_key"]: row["href"] for row in rows} == {
        "a": "demo/coll/i1/a.tif",
        "b": "https://files.test/c/i1/b.tif",
    }
    assert not index.remark_count


def test_shared_relative_documentation(tmp_path: Path) -> None:
    shared = {"documentation": asset("../docs.pdf")}
    files = tree(item("a", assets=shared), item("b", assets=shared))
    _, rows = index_of(tmp_path, files | {f"{DATASET}/coll/docs.pdf": b"%PDF"})
    assert {row["save_path"] for row in rows} == {"_common/documentation.pdf"}
    assert {row["href"] for row in rows} == {"demo/coll/docs.pdf"}


def test_junk_is_ignored_and_mentioned_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = tree(item("a")) | {
        f"{DATASET}/coll/stats.json": {"min": 1},
        f"{DATASET}/coll/list.json": [1],
        f"{DATASET}/coll/labels.geojson": {"type": "FeatureCollection", "features": []},
        f"{DATASET}/image.tif": b"II*\0",
    }
    with caplog.at_level(logging.WARNING):
        index, rows = index_of(tmp_path, files)
    assert len(rows) == 1
    assert index.ignored == 2
    assert len(caplog.records) == 1
    assert "2 JSON files" in caplog.text


def test_odd_members_never_stop_it(tmp_path: Path) -> None:
    link = tarfile.TarInfo()
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    files = [
        *tree(item("a")).items(),
        (f"{DATASET}/coll/half.json", b'{"type": "Feature", "assets": {'),
        ("../escaped/x.json", item("escaped")),
        (f"{DATASET}/coll/link.json", link),
        (f"{DATASET}/coll/items.json", {"type": "FeatureCollection", "features": [item("b")]}),
        (f"{DATASET}/coll/c/other-name.json", item("c")),
        ("elsewhere/d.json", item("d")),
        (f"{DATASET}/coll/e/e.json", item("e", collection=None)),
        (f"{DATASET}/coll/f/f.json", item("f", assets={"x": 5})),
    ]
    index, rows = index_of(tmp_path, files)
    assert sorted(row["item_id"] for row in rows) == ["a", "b", "c", "d", "e"]
    assert {row["collection_id"] for row in rows} == {"coll"}
    assert index.items == 6
    assert any("not JSON" in remark for remark in index.remarks)


def test_an_item_that_names_no_collection_gets_the_id_behind_its_directory(tmp_path: Path) -> None:
    files = {
        f"{DATASET}/catalog.json": {"type": "Catalog"},
        f"{DATASET}/folder/i1/i1.json": item("i1", collection=None),
        f"{DATASET}/folder/collection.json": {"type": "Collection", "id": "real"},
        f"{DATASET}/lonely/i2/i2.json": item("i2", collection=None),
    }
    _, rows = index_of(tmp_path, files)
    assert {row["item_id"]: row["collection_id"] for row in rows} == {"i1": "real", "i2": "lonely"}


def test_hostile_ids_stay_below_the_dataset(tmp_path: Path) -> None:
    odd = item("../../x", assets={"../../y": asset("https://x/a.tif")})
    odd["collection"] = "../c"
    _, (row,) = index_of(tmp_path, {f"{DATASET}/i.json": odd})
    assert row["save_path"] == "..%2Fc/..%2F..%2Fx/..%2F..%2Fy.tif"
    assert (row["collection_id"], row["item_id"]) == ("../c", "../../x")


def test_signatures_stay_out_of_oddities(tmp_path: Path) -> None:
    sly = item("i1", assets={"https://x/?sig=s3cret": asset("x?sig=s3cret&key=s3cret")})
    index, _ = index_of(tmp_path, tree(sly))
    assert index.remark_count == 1
    assert "s3cret" not in " ".join(index.remarks)


def test_remarks_are_capped(tmp_path: Path) -> None:
    broken = {f"{DATASET}/{number}.json": b"{" for number in range(1500)}
    index, _ = index_of(tmp_path, tree(item("a")) | broken)
    assert (len(index.remarks), index.remark_count) == (1000, 1500)


def test_state_that_calls_remarks_as_they_were_called(tmp_path: Path) -> None:
    archive = write_archive(tmp_path, tree(item("a")) | {f"{DATASET}/b.json": b"{"})
    paths = paths_in(tmp_path)
    index = index_assets(archive, paths)
    place = paths.state_dir / INDEX_STATE_NAME
    text = place.read_text().replace('"remarks"', '"oddities"')
    place.write_text(text.replace('"remark_count"', '"oddity_count"'))
    again = index_assets(archive, paths)
    assert again.reused
    assert again.remarks == index.remarks != ()


def test_caps(tmp_path: Path) -> None:
    archive, paths = write_archive(tmp_path, tree(item("a"))), paths_in(tmp_path)
    with pytest.raises(ArchiveLimitExceeded, match=r"ArchiveLimits\.max_json_bytes"):
        index_assets(archive, paths, Work(ArchiveLimits(max_json_bytes=100)))
    with pytest.raises(ArchiveLimitExceeded, match=r"ArchiveLimits\.max_members"):
        index_assets(archive, paths, Work(ArchiveLimits(max_members=1)))
    assert sorted(found.name for found in paths.state_dir.iterdir()) == []


def test_a_broken_archive_leaves_nothing(tmp_path: Path) -> None:
    archive, paths = write_archive(tmp_path, tree(item("a"))), paths_in(tmp_path)
    archive.path.write_bytes(archive.path.read_bytes()[:-30])
    with pytest.raises(ArchiveCorrupt):
        index_assets(described(archive.path), paths)
    assert not paths.index.exists()
    assert not list(paths.state_dir.iterdir())


def test_stop_and_progress(tmp_path: Path) -> None:
    archive = write_archive(tmp_path, tree(*(item(f"i{number}") for number in range(100))))
    paths, stop = paths_in(tmp_path), StopFlag()
    heard: list[Progress] = []
    stop.set()
    with pytest.raises(Interrupted):
        index_assets(archive, paths, Work(stop=stop))
    index_assets(archive, paths, Work(on_progress=heard.append))
    assert {message.stage for message in heard} == {Stage.INDEX}
    assert heard[-1].finished
    assert heard[-1].bytes_done == archive.size


def test_the_disk_refuses(tmp_path: Path) -> None:
    archive, paths = write_archive(tmp_path, tree(item("a"))), paths_in(tmp_path)
    paths.asset_dir.parent.mkdir(parents=True)
    paths.asset_dir.write_bytes(b"")
    with pytest.raises(StorageError) as caught:
        index_assets(archive, paths)
    assert str(paths.asset_dir) in str(caught.value)


def test_many_row_groups(tmp_path: Path) -> None:
    fat = {"datetime": "2021-05-01T10:00:00Z", "text": "x" * 1_000_000}
    assets = {f"k{number}": asset(f"https://x/{number}") for number in range(30)}
    items = [item(f"i{number}", properties=fat, assets=assets) for number in range(6)]
    index, rows = index_of(tmp_path, tree(*items))
    assert len(rows) == index.files == 180
    assert pq.read_metadata(index.path).num_row_groups > 2


def test_an_index_that_was_moved_is_looked_into(tmp_path: Path) -> None:
    archive, paths = write_archive(tmp_path, tree(item("a"))), paths_in(tmp_path)
    index_assets(archive, paths)
    archive.path.unlink()
    os.utime(paths.index, ns=(0, 0))
    assert index_assets(archive, paths).reused
