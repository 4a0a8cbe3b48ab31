"""Our rows beside what PySTAC reads, for catalogs of STAC 0.6 to 1.1 as its own tests have them.

The catalogs are those kinds that PySTAC, rustac, stac-geoparquet and the specification ship as test
data, which their packages do not contain, so they are written anew. Where the rows differ, the
difference stands in ``DIFFERENCES`` with what decides it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pystac
import pytest

from mlhub_core.index.build import index_assets
from mlhub_core.paths import DownloadPaths
from mlhub_core.sources import open_source
from tests.index.kit import rows_of

Json = dict[str, Any]
Files = dict[str, Any]
Row = dict[str, Any]

VERSIONS = ["0.6.0", "0.7.0", "0.8.1", "0.9.0", "1.0.0-beta.2", "1.0.0-rc.1", "1.0.0", "1.1.0"]
SQUARE = {
    "type": "Polygon",
    "coordinates": [[[10.0, 50.0], [11.0, 50.0], [11.0, 51.0], [10.0, 51.0], [10.0, 50.0]]],
}

DIFFERENCES = {
    "gdal": "Item specification, Asset Object, href: 'URI to the asset object'. GDAL's /vsicurl/… "
    "is none, and PySTAC leaves it as it is; the URI that it stands for is taken.",
    "encoded": "RFC 3986, 2.4, to which href as a URI refers: 'a%20b.tif' names 'a b.tif'. PySTAC "
    "joins it to a path undecoded; the file of either name that is there is taken.",
    "elsewhere": "Best practices, Use of links, Relative Published Catalog: an absolute self link "
    "says where a catalog is published. PySTAC looks next to the file that was read; an asset that "
    "does not lie there is taken from next to the self link.",
    "uncollected": "Item specification, collection: 'required if a collection link is present'. "
    "PySTAC gives None; a save path needs a name, which the directory of the item gives.",
    "zoneless": "Item specification, datetime, and RFC 3339, 5.6: a time has a zone. PySTAC gives "
    "a naive datetime where there is none; it is UTC, as all times of the specification are.",
    "extent of 0.6": "Collection specification 0.6, extent: lists. PySTAC reads no collection that "
    "has them, nor anything below it; the extent is not needed to read the items.",
    "heights": "RFC 7946, 5: a box of 2*n numbers. PySTAC gives all six; heights are dropped.",
}
"""What of a catalog's rows is not what PySTAC has, and why."""


def is_typed(version: str) -> bool:
    """Whether catalogs and collections say their type."""
    return version.startswith("1.") and "beta" not in version


def catalog(version: str, *children: str, **more: Any) -> Json:
    links = [{"rel": "root", "href": "./catalog.json"}]
    links += [{"rel": "child", "href": child} for child in children]
    typed = {"type": "Catalog"} if is_typed(version) else {}
    return {
        **typed,
        "stac_version": version,
        "id": "root",
        "description": "",
        "links": links,
        **more,
    }


def collection(version: str, name: str, *items: str, **more: Any) -> Json:
    typed = {"type": "Collection"} if is_typed(version) else {}
    links = [
        {"rel": "root", "href": "../catalog.json"},
        {"rel": "parent", "href": "../catalog.json"},
    ]
    links += [{"rel": "item", "href": f"./{item}/{item}.json"} for item in items]
    extent = {
        "spatial": {"bbox": [[10, 50, 11, 51]]},
        "temporal": {"interval": [["2020-01-01T00:00:00Z", None]]},
    }
    described = {"description": name, "license": "proprietary", "extent": extent, "links": links}
    return {**typed, "stac_version": version, "id": name, **described, **more}


def item(version: str, name: str, assets: Json, within: str | None = "c", **more: Any) -> Json:
    links: list[Json] = [{"rel": "root", "href": "../../catalog.json"}]
    if within is not None:
        links.append({"rel": "collection", "href": "../collection.json"})
        more = {"collection": within, **more}
    return {
        "type": "Feature",
        "stac_version": version,
        "id": name,
        "geometry": SQUARE,
        "bbox": [10.0, 50.0, 11.0, 51.0],
        "properties": {"datetime": "2020-06-01T10:00:00Z"},
        "links": links,
        "assets": assets,
        **more,
    }


def plain(version: str) -> Files:
    """A collection of two items, as its version writes them."""
    bands: Json = {"eo:bands": [{"name": "B4", "common_name": "red"}]}
    if version >= "1.1":
        bands = {"bands": [{"name": "B4", "eo:common_name": "red"}]}
    data: Json = {"href": "./data.tif", "type": "image/tiff", **bands}
    if version >= "0.9":
        data |= {"roles": ["data"]}
    times: Json = {"datetime": None, "start_datetime": "2020-01-01T00:00:00Z"}
    times |= {"end_datetime": "2020-12-31T23:59:59Z"}
    extensions: list[str] = []
    if version < "0.9":
        times = {f"dtr:{name}": times[name] for name in ("start_datetime", "end_datetime")}
        times["datetime"], extensions = "2020-06-15T00:00:00Z", ["datetime-range"]
    ranged = item(version, "b", {"thumbnail": {"href": "https://files.test/b.png"}})
    ranged |= {"properties": times, "stac_extensions": extensions}
    return {
        "catalog.json": catalog(version, "./c/collection.json"),
        "c/collection.json": collection(version, "c", "a", "b"),
        "c/a/a.json": item(version, "a", {"data": data}),
        "c/a/data.tif": b"",
        "c/b/b.json": ranged,
    }


def one(assets: Json, version: str = "1.0.0", **more: Any) -> Files:
    """A catalog of one item."""
    return {
        "catalog.json": catalog(version, "./c/collection.json"),
        "c/collection.json": collection(version, "c", "a"),
        "c/a/a.json": item(version, "a", assets, **more),
    }


def links(*hrefs: tuple[str, str]) -> list[Json]:
    return [{"rel": rel, "href": href} for rel, href in hrefs]


def nested() -> Files:
    """Catalogs within catalogs, which hold items of one id in two collections."""
    files: Files = {"catalog.json": catalog("1.0.0", "./x/catalog.json", "./y/catalog.json")}
    for side in "xy":
        files[f"{side}/catalog.json"] = catalog("1.0.0", "./c/collection.json") | {"id": side}
        files[f"{side}/c/collection.json"] = collection("1.0.0", f"{side}c", "same")
        files[f"{side}/c/same/same.json"] = item(
            "1.0.0", "same", {"data": {"href": f"./{side}.tif"}}, within=f"{side}c"
        )
        files[f"{side}/c/same/{side}.tif"] = b""
    return files


def times() -> Files:
    moments = {
        "offset": {"datetime": "2020-06-01T12:00:00+02:00"},
        "fraction": {"datetime": "2020-06-01T12:00:00.123456Z"},
        "both": {
            "datetime": "2020-06-01T00:00:00Z",
            "start_datetime": "2020-05-01T00:00:00Z",
            "end_datetime": "2020-07-01T00:00:00Z",
        },
    }
    files = {
        "catalog.json": catalog("1.0.0", "./c/collection.json"),
        "c/collection.json": collection("1.0.0", "c", *moments),
    }
    for name, properties in moments.items():
        assets = {"data": {"href": "https://files.test/x.tif"}}
        files[f"c/{name}/{name}.json"] = item("1.0.0", name, assets, properties=properties)
    return files


def places() -> Files:
    point = {"type": "Point", "coordinates": [10.5, 50.5]}
    across = {
        "type": "MultiPolygon",
        "coordinates": [
            [[[170.0, 0.0], [180.0, 0.0], [180.0, 5.0], [170.0, 5.0], [170.0, 0.0]]],
            [[[-180.0, 0.0], [-170.0, 0.0], [-170.0, 5.0], [-180.0, 5.0], [-180.0, 0.0]]],
        ],
    }
    shapes: dict[str, Json] = {
        "nowhere": {"geometry": None, "bbox": None},
        "point": {"geometry": point, "bbox": [10.5, 50.5, 10.5, 50.5]},
        "across": {"geometry": across, "bbox": [170.0, 0.0, -170.0, 5.0]},
    }
    files = {
        "catalog.json": catalog("1.0.0", "./c/collection.json"),
        "c/collection.json": collection("1.0.0", "c", *shapes),
    }
    for name, place in shapes.items():
        found = item("1.0.0", name, {"data": {"href": "s3://bucket/x.tif"}}, **place)
        files[f"c/{name}/{name}.json"] = {k: v for k, v in found.items() if k != "bbox" or v}
    return files


RELATIVE = {
    "here": {"href": "here.tif"},
    "dot": {"href": "./here.tif", "title": "A title", "roles": ["data", "overview"]},
    "up": {"href": "../up.tif", "type": "image/tiff; application=geotiff"},
    "beyond": {"href": "../../../beyond.tif"},
    "windows": {"href": "..\\up.tif"},
    "gone": {"href": "./gone.tif"},
    "https": {"href": "https://files.test/x.tif?sig=a%20b#part"},
    "s3": {"href": "s3://bucket/some key.tif"},
    "path": {"href": "/data/x.tif"},
    "file": {"href": "file:///data/x.tif"},
}
ITEMS_BESIDE = {"c/a/here.tif": b"", "c/up.tif": b""}

SAME: dict[str, Files] = {
    **{f"version {version}": plain(version) for version in VERSIONS},
    "hrefs": one(RELATIVE) | ITEMS_BESIDE,
    "nested": nested(),
    "times": times(),
    "places": places(),
    "assets of a collection": {
        "catalog.json": catalog("1.0.0", "./c/collection.json"),
        "c/collection.json": collection(
            "1.0.0",
            "c",
            assets={"thumbnail": {"href": "./t.png", "roles": ["thumbnail"]}},
            item_assets={"data": {"type": "image/tiff"}},
        ),
        "c/t.png": b"",
    },
    "a root that is a collection": {
        "collection.json": collection("1.1.0", "c", links=links(("item", "./a/a.json"))),
        "a/a.json": item(
            "1.1.0",
            "a",
            {"data": {"href": "./x.tif"}},
            links=links(("collection", "../collection.json")),
        ),
    },
    "a self link, and the file beside it": one(
        {"data": {"href": "./here.tif"}},
        links=links(("self", "https://published.test/c/a/a.json")),
    )
    | ITEMS_BESIDE,
    "no bounding box": one({"data": {"href": "./x.tif"}}, bbox=None),
    "unknown fields": one({"data": {"href": "./x.tif", "made:up": {"a": [1]}}}, extra={"b": 2}),
    "no assets": one({}),
}

DIFFERENT: dict[str, tuple[Files, list[tuple[str, Any, Any]]]] = {
    "gdal": (
        one({"data": {"href": "/vsicurl/https://files.test/x.tif"}}),
        [("href", "/vsicurl/https://files.test/x.tif", "https://files.test/x.tif")],
    ),
    "encoded": (
        one({"data": {"href": "./a%20b.tif"}}) | {"c/a/a b.tif": b""},
        [("href", "c/a/a%20b.tif", "c/a/a b.tif")],
    ),
    "elsewhere": (
        one(
            {"data": {"href": "./gone.tif"}},
            links=links(("self", "https://published.test/c/a/a.json")),
        ),
        [("href", "c/a/gone.tif", "https://published.test/c/a/gone.tif")],
    ),
    "uncollected": (
        one({"data": {"href": "./x.tif"}}, within=None),
        [("collection_id", None, "c")],
    ),
    "zoneless": (
        one({"data": {"href": "./x.tif"}}, properties={"datetime": "2020-06-01T12:00:00"}),
        [("datetime", datetime(2020, 6, 1, 12), datetime(2020, 6, 1, 12, tzinfo=UTC))],
    ),
    "heights": (
        one({"data": {"href": "./x.tif"}}, bbox=[10.0, 50.0, 0.0, 11.0, 51.0, 9.0]),
        [("bbox", [10.0, 50.0, 0.0, 11.0, 51.0, 9.0], [10.0, 50.0, 11.0, 51.0])],
    ),
}


def write(directory: Path, files: Files) -> Path:
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return directory


def place_of(href: str, root: Path) -> str:
    """An href as both may be compared: within the root relative to it, of this machine a path."""
    path = href.removeprefix("file://")
    return path.removeprefix(f"{root}/")


def theirs(root: Path) -> Iterator[Row]:
    """The rows that PySTAC gives."""
    top = next(one for one in ("catalog.json", "collection.json") if (root / one).exists())
    read = pystac.read_file(str(root / top))
    assert isinstance(read, pystac.Catalog)
    for parent, _, items in read.walk():
        if isinstance(parent, pystac.Collection):
            for key, asset in parent.assets.items():
                yield row_of(parent.id, None, key, asset, root)
        for found in items:
            for key, asset in found.assets.items():
                yield row_of(found.collection_id, found, key, asset, root)


def row_of(
    collection_id: str | None, found: pystac.Item | None, key: str, asset: pystac.Asset, root: Path
) -> Row:
    row: Row = {"collection_id": collection_id, "item_id": None, "asset_key": key}
    row |= {"datetime": None, "start_datetime": None, "end_datetime": None, "bbox": None}
    href = asset.get_absolute_href()
    assert href is not None
    row |= {"href": place_of(href, root), "media_type": asset.media_type}
    row["roles"] = asset.roles or []
    if found is not None:
        row |= {"item_id": found.id, "datetime": found.datetime, "bbox": found.bbox}
        row["start_datetime"] = found.common_metadata.start_datetime
        row["end_datetime"] = found.common_metadata.end_datetime
    return row


def ours(root: Path, out: Path) -> list[Row]:
    """Our rows, with the columns that are compared."""
    catalog = open_source(str(root / next(root.glob("c*.json")).name)).here()
    assert catalog is not None
    rows = rows_of(index_assets(catalog, DownloadPaths.of("stac", out)))
    names = ("collection_id", "item_id", "asset_key", "media_type", "roles")
    found = []
    for row in rows:
        kept = {name: row[name] for name in (*names, "datetime", "start_datetime", "end_datetime")}
        box = row["item_bbox"]
        href = row["href"]
        href = place_of(href, root) if ":" in href else href.partition("/")[2]
        found.append(kept | {"href": href, "bbox": box and list(box.values())})
    return found


def by_key(rows: Iterator[Row] | list[Row]) -> dict[Any, Row]:
    return {(row["collection_id"], row["item_id"], row["asset_key"]): row for row in rows}


@pytest.mark.parametrize("name", list(SAME))
def test_the_same_rows_as_pystac(tmp_path: Path, name: str) -> None:
    root = write(tmp_path / "stac", SAME[name])
    assert by_key(ours(root, tmp_path / "out")) == by_key(theirs(root))


@pytest.mark.parametrize("name", list(DIFFERENT))
def test_what_differs_from_pystac_is_listed(tmp_path: Path, name: str) -> None:
    files, expected = DIFFERENT[name]
    root = write(tmp_path / "stac", files)
    (mine,), (their,) = ours(root, tmp_path / "out"), list(theirs(root))
    found = [(one, their[one], mine[one]) for one in mine if mine[one] != their[one]]
    assert found == expected
    assert DIFFERENCES[name]


def test_every_difference_is_shown() -> None:
    assert set(DIFFERENCES) == {*DIFFERENT, "extent of 0.6"}


def test_an_extent_as_old_as_stac_hides_no_items(tmp_path: Path) -> None:
    files = plain("0.6.0")
    old = {"spatial": [10, 50, 11, 51], "temporal": ["2020-01-01T00:00:00Z", None]}
    files["c/collection.json"] = files["c/collection.json"] | {"extent": old}
    root = write(tmp_path / "stac", files)
    with pytest.raises(pystac.STACError):
        list(theirs(root))
    assert {row["item_id"] for row in ours(root, tmp_path / "out")} == {"a", "b"}


ODD: dict[str, Json] = {
    "no properties": {"properties": None},
    "a moment that is none": {"properties": {"datetime": "yesterday"}},
    "no time at all": {"properties": {}},
    "assets that are a list": {"assets": [{"href": "x"}]},
    "links that are an object": {"links": {"self": {"rel": "self", "href": "./a.json"}}},
    "a geometry that is none": {"geometry": {"type": "Blob", "coordinates": 1}},
    "a version that is none": {"stac_version": "2"},
    "no version": {"stac_version": None},
    "an id that is a number": {"id": 7},
}


@pytest.mark.parametrize("name", list(ODD))
def test_one_odd_item_leaves_all_others(tmp_path: Path, name: str) -> None:
    """PySTAC reads no catalog that has some of these; here the others are as they are."""
    files = plain("1.0.0")
    odd = item("1.0.0", "odd", {"data": {"href": "./x.tif"}}) | ODD[name]
    files["c/odd/odd.json"] = odd
    files["c/collection.json"] = collection("1.0.0", "c", "a", "b", "odd")
    root = write(tmp_path / "stac", files)
    found = {row["item_id"] for row in ours(root, tmp_path / "out")}
    assert found - {"odd", "7"} == {"a", "b"}
    if name not in ("assets that are a list",):
        assert len(found) == 3
