"""Catalogs as strangers write them, through the commands: found, or counted and named."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mlhub_core.cli import main
from mlhub_core.cli.process import ExitStatus
from tests.index.kit import DATASET, item, tree, write_archive


def indexed(directory: Path, files: Any) -> Path:
    """The index of an archive, made by the command."""
    archive = write_archive(directory, files)
    index = directory / "index.parquet"
    command = ["index", str(archive.path), "--output", str(index), "--dataset", DATASET, "-q"]
    assert main(command) == ExitStatus.OK
    return index


def odd(index: Path) -> list[str]:
    """What was counted, in words; all of it is kept."""
    state = json.loads((index.parent / ".mlhub" / index.name / "index.json").read_text())
    assert state["remark_count"] == len(state["remarks"])
    return list(state["remarks"])


def items_found(index: Path, *query: str) -> set[str]:
    """The items that a query finds."""
    table = index.with_suffix(".csv")
    command = ["query", str(index), *query, "--allow-empty", "--output", str(table), "-q"]
    assert main(command) == ExitStatus.OK
    with table.open() as file:
        return {row["item_id"] for row in csv.DictReader(file)}


def rows_of_index(index: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(index).to_pylist()
    return rows


_NO_MOMENTS: Sequence[Any] = (
    *("10", "Sept", "Monday", "May 5", "10:30", "1514764800", "1514764800000", "20180115"),
    *("-2018-01-01T00:00:00Z", "+2018-01-01", "0000-01-01", "2018-01-01T25:00:00Z", "today"),
    *("2018-01-01 and 2019-01-01", "2018-01-01 - 2019-01-01", "2018-01-01T00:00:00Z/oops"),
    *("2018-01-01/2018-06-01/2019-01-01", "/", "../..", "17 Jumada I 1442", "1442-05-17 AH"),
    *("11/24/2018", "2018-1-1", "2018-W05", "2018-366", "2018-02-30", "24 Brumaire 2018"),
    *("2018-01-01T00:00:00Z2", "2018-01-01T00:00:00+24:00", "2018-01-01T00:00:00 EST"),
    *(
        "\uff12\uff10\uff11\uff18-01-01",
        "12018-01-01",
        "2018" * 40,
        "",
        " ",
        "\x00",
        "2018-01-01\x1b[2J",
    ),
    *(2018, 1514764800, 1.5e9, True, ["2018-01-01"], {"date": "2018-01-01"}, 10**400),
)


def test_what_is_no_moment_becomes_none_and_is_named(tmp_path: Path) -> None:
    items = [item(f"i{at}", properties={"datetime": no}) for at, no in enumerate(_NO_MOMENTS)]
    index = indexed(tmp_path, tree(*items, item("sound")))
    rows = {row["item_id"]: row for row in rows_of_index(index)}
    assert len(rows) == len(items) + 1
    for name, row in rows.items():
        times = row["datetime"], row["start_datetime"], row["end_datetime"]
        assert (times == (None, None, None)) == (name != "sound"), (row["properties"], times)
    told = [text for text in odd(index) if "datetime is no moment" in text]
    assert len(told) == len(items)
    assert all("\x1b" not in text and len(text) < 400 for text in told)
    assert items_found(index, "--datetime", "0001/9999") == {"sound"}


_OLD = {"dtr:start_datetime": "2018-01-01", "dtr:end_datetime": "2018-03-01"}
_SWAPPED = {"datetime": None, "start_datetime": "2018-03-01", "end_datetime": "2018-01-01"}


@pytest.mark.parametrize(
    ("properties", "inside", "outside", "told"),
    [
        ({"datetime": "2018-01-01T00:00:00Z/2018-03-01T00:00:00Z"}, "2018-02-01", "2018-04", 1),
        ({"datetime": "2018-01-01/2018-02-28"}, "2018-02-28T23:00:00Z", "2018-03", 1),
        ({"datetime": "2018-01-01/.."}, "2030", "2017", 1),
        ({"datetime": "/2018-01-01"}, "2001", "2019", 1),
        ({"datetime": "2018"}, "2018-12-31", "2019", 1),
        ({"datetime": "2018-06"}, "2018-06-30", "2018-07", 1),
        (_SWAPPED, "2018-02", "2018-04", 1),
        (_OLD, "2018-02", "2018-04", 0),
        ({"datetime": "2018/11/24"}, "2018-11-24", "2018-11-25", 0),
        ({"datetime": "Sat, 24 Nov 2018 10:00:00 GMT"}, "2018-11-24T10:00:00Z", "2018-11-23", 0),
        ({"datetime": "20181124T100000Z"}, "2018-11-24T10:00:00Z", "2018-11-23", 0),
    ],
)
def test_times_of_old_catalogs(
    tmp_path: Path, properties: dict[str, Any], inside: str, outside: str, told: int
) -> None:
    index = indexed(tmp_path, tree(item("i", properties=properties)))
    assert items_found(index, "--datetime", inside) == {"i"}
    assert items_found(index, "--datetime", outside) == set()
    assert len(odd(index)) == told


def _box(west: float, south: float, east: float, north: float) -> dict[str, Any]:
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


_FIJI = _box(178, -18, 182, -16)
_JUMPS = _box(178, -18, -178, -16)
_OPEN = {"type": "Polygon", "coordinates": [[[5, 5], [6, 5], [6, 6]]]}
_BOW = {"type": "Polygon", "coordinates": [[[5, 5], [6, 6], [6, 5], [5, 6], [5, 5]]]}
_AROUND = [[-135, 80], [-45, 80], [45, 80], [135, 80], [-135, 80]]
_POLE = {"type": "Polygon", "coordinates": [_AROUND]}
_PLACES: dict[str, tuple[Any, Any, tuple[float, float], tuple[float, float], int]] = {
    # geometry, bbox, a point within, a point outside, remarks
    "below": (_box(-182, -18, -178, -16), [-182, -18, -178, -16], (179, -17), (0, -17), 0),
    "beyond": (_FIJI, [178, -18, 182, -16], (-179, -17), (0, -17), 0),
    "mixed": (_FIJI, [178, -18, -178, -16], (-179, -17), (0, -17), 0),
    "no box": (_FIJI, None, (-179, -17), (0, -17), 0),
    "no shape": (None, [178, -18, 182, -16], (-179, -17), (0, -17), 0),
    "360": (_box(290, -1, 300, 1), [290, -1, 300, 1], (-65, 0), (65, 0), 0),
    "world 360": (_box(0, -1, 359.5, 1), [0, -1, 359.5, 1], (-60, 0), (-0.25, 0), 0),
    "uncut": (_JUMPS, [178, -18, -178, -16], (179, -17), (0, -17), 1),
    "uncut, no box": (_JUMPS, None, (179, -17), (0, -17), 1),
    "uncut, box of its numbers": (_JUMPS, [-178, -18, 178, -16], (-179, -17), (0, -17), 1),
    "six numbers": (_box(5, 5, 6, 6), [5, 5, -10, 6, 6, 100], (5.5, 5.5), (7, 5.5), 0),
    "heights unknown": (None, [5, 5, None, 6, 6, None], (5.5, 5.5), (7, 5.5), 0),
    "half a cell beyond": (None, [-180.5, -90.5, 179.5, 90.5], (0, 0), (0, 0), 0),
    "swapped": (_box(5, 5, 6, 6), [6, 5, 5, 6], (5.5, 5.5), (7, 5.5), 1),
    "latitude first": (_box(20, 5, 21, 6), [5, 20, 6, 21], (20.5, 5.5), (40, 5.5), 1),
    "metres": (_box(5, 5, 6, 6), [500000, 4000000, 600000, 5000000], (5.5, 5.5), (7, 5.5), 1),
    "metres drawn": (_box(5e5, 4e6, 6e5, 5e6), [5, 5, 6, 6], (5.5, 5.5), (7, 5.5), 1),
    "not a number": (_box(5, 5, 6, 6), [5, float("nan"), 6, 6], (5.5, 5.5), (7, 5.5), 1),
    "endless": (_box(5, 5, 6, 6), [5, 5, float("inf"), 6], (5.5, 5.5), (7, 5.5), 1),
    "texts": (_box(5, 5, 6, 6), ["5", "5", "6", "6"], (5.5, 5.5), (7, 5.5), 1),
    "upside down": (_box(5, 5, 6, 6), [5, 6, 6, 5], (5.5, 5.5), (7, 5.5), 1),
    "not closed": (_OPEN, [5, 5, 6, 6], (5.5, 5.5), (7, 5.5), 1),
    "bow tie": (_BOW, [5, 5, 6, 6], (5.25, 5.5), (7, 5.5), 0),
    "around the pole": (_POLE, None, (10, 89), (10, 70), 1),
}


def test_items_are_found_where_they_lie_on_the_earth(tmp_path: Path) -> None:
    raws = [
        item(f"i{at}", geometry=geometry, bbox=bbox)
        for at, (geometry, bbox, *_) in enumerate(_PLACES.values())
    ]
    index = indexed(tmp_path, tree(*raws))
    told = odd(index)

    @cache
    def found(x: float, y: float) -> tuple[set[str], set[str]]:
        shape = tmp_path / "point.geojson"
        shape.write_text(json.dumps({"type": "Point", "coordinates": [x, y]}))
        by_shape = ("--intersects", str(shape), "--intersects-with", "geometry")
        by_box = f"--bbox={x - 0.1},{y - 0.1},{x + 0.1},{y + 0.1}"
        return items_found(index, by_box), items_found(index, *by_shape)

    for at, (name, (_, _, inside, outside, count)) in enumerate(_PLACES.items()):
        assert len([text for text in told if f"/i{at}.json" in text]) == count, (name, told)
        for by in found(*inside):
            assert f"i{at}" in by, name
        for by in found(*outside):
            assert (f"i{at}" in by) == (inside == outside), name


def test_zero_is_written_without_a_sign(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index = indexed(tmp_path, tree(item("i", bbox=[0, 0, 1, 1], geometry=_box(0, 0, 1, 1))))
    capsys.readouterr()
    assert main(["query", str(index), "--output", str(tmp_path / "rows.csv")]) == ExitStatus.OK
    assert "within 0,0,1,1" in "".join(capsys.readouterr())


def _sourced(**hrefs: str) -> dict[str, Any]:
    """Items of one id in three collections, and labels that name one of them as their source."""
    files = tree(*(item("p", name) for name in ("s1", "s2", "s3")))
    del files[f"{DATASET}/s3/p/p.json"]
    files[f"{DATASET}/s3/deep er/stac.json"] = item("p", "s3")
    for name, href in hrefs.items():
        link = {"rel": "source", "href": href}
        own = {"rel": "self", "href": f"https://x.test/cat/l/{name}/{name}.json"}
        files |= tree(item(name, "l", links=[link, own], properties={"name": name}))
    return files


def test_sources_are_what_the_links_point_at(
    tmp_path: Path,
) -> None:
    hrefs = {
        "relative": "../../s2/p/p.json",
        "dotted": "./../../s1/./p/p.json#x",
        "other_name": "../../s3/deep%20er/stac.json",
        "api": "https://any.test/stac/collections/s1/items/p?key=1",
        "absolute": "https://x.test/cat/s2/p/p.json",
        "elsewhere": "https://y.test/cat/s2/p/p.json",
        "beyond": "../../../s2/p/p.json",
        "gone": "../../s4/p/p.json",
    }
    index = indexed(tmp_path, _sourced(**hrefs))
    table = tmp_path / "rows.csv"
    sources = {}
    for name in hrefs:
        query = ["query", str(index), "--where", f"name = '{name}'", "--with-sources"]
        assert main([*query, "--output", str(table)]) == ExitStatus.OK
        with table.open() as file:
            sources[name] = sorted(row["collection_id"] for row in csv.DictReader(file))
    assert sources == {
        "relative": ["l", "s2"],
        "dotted": ["l", "s1"],
        "other_name": ["l", "s3"],
        "api": ["l", "s1"],
        "absolute": ["l", "s2"],
        "elsewhere": ["l"],
        "beyond": ["l"],
        "gone": ["l"],
    }


def test_an_href_beyond_the_root_is_no_other_file_of_the_archive(tmp_path: Path) -> None:
    assets = {
        "beyond": {"href": "../../../data/B.tif"},
        "twice": {"href": "../../../../data/B.tif"},
        "encoded": {"href": "%2e%2e/%2e%2e/%2e%2e/data/B.tif"},
        "beside": {"href": "../../../beside/B.tif"},
        "within": {"href": "../../data/B.tif"},
    }
    files = tree(item("i", assets=assets))
    files |= {f"{DATASET}/data/B.tif": b"another file", "beside/B.tif": b"the file"}
    index = indexed(tmp_path, files)
    hrefs = {row["asset_key"]: row["href"] for row in rows_of_index(index)}
    assert hrefs.pop("within") == f"{DATASET}/data/B.tif"
    assert hrefs.pop("beside") == f"{DATASET}/beside/B.tif"
    assert all("%2e%2e" in href.lower() for href in hrefs.values())
    assert len([text for text in odd(index) if "leads to no file of the archive" in text]) == 3


@pytest.mark.parametrize("order", [1, -1])
def test_folders_with_files_of_one_name_do_not_land_on_each_other(
    tmp_path: Path, order: int
) -> None:
    catalog = {"type": "Catalog", "id": "top", "links": []}
    files: list[tuple[str, Any]] = [("./catalog.json", catalog)]
    for side in "xy":
        files.append((f"./{side}/catalog.json", {**catalog, "id": side}))
        files.append((f"./{side}/c/i/i.json", item(f"i{side}", f"c{side}")))
    archive = write_archive(tmp_path, files[::order], "nested")
    index = tmp_path / "index.parquet"
    assert main(["index", str(archive.path), "--output", str(index), "-q"]) == ExitStatus.OK
    assert {row["item_id"] for row in rows_of_index(index)} == {"ix", "iy"}
    for name, content in files:
        assert json.loads((tmp_path / "nested" / name).read_text()) == content


def test_members_that_land_on_one_file_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = [
        *tree(item("i")).items(),
        (f"{DATASET}/a.txt", b"first"),
        (f"./{DATASET}/./a.txt", b"second"),
        ("b.txt", b"first"),
        (f"{DATASET}//b.txt", b"second"),
        (f"{DATASET}/a.txt/deeper", b"below a file"),
    ]
    archive = write_archive(tmp_path, files)
    index = tmp_path / "index.parquet"
    command = ["index", str(archive.path), "--output", str(index), "--dataset", DATASET]
    assert main(command) == ExitStatus.OK
    assert "3 members of the archive" in caplog.text
    assert (tmp_path / DATASET / "a.txt").read_bytes() == b"second"


def test_fields_of_assets_that_are_of_a_wrong_type_are_named(tmp_path: Path) -> None:
    sound = {"href": "https://x.test/a.tif", "type": "image/tiff", "roles": ["data"]}
    odd_ones = [{"file:size": -1}, {"file:size": "many"}, {"file:size": 1.5}, {"type": 5}]
    odd_ones += [{"roles": [None]}, {"roles": {"data": 1}}, {"file:size": 10**400}]
    items = [item(f"sound{n}", assets={"a": {**sound, "file:size": n}}) for n in range(3)]
    items += [item(f"odd{n}", assets={"a": sound | one}) for n, one in enumerate(odd_ones)]
    index = indexed(tmp_path, tree(*items))
    assert len(rows_of_index(index)) == len(items)
    told = odd(index)
    for number in range(len(odd_ones)):
        assert len([text for text in told if f"/odd{number}.json" in text]) == 1, told
    assert len(told) == len(odd_ones)
