from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlhub_core.index.hrefs import Relative
from mlhub_core.index.items import Asset, Item, links_of, read_assets, read_collection_id, read_item
from mlhub_core.sources.documents import Kind, as_json, parse_document
from tests.index.kit import SQUARE, asset, item

PATH = "coll/i1/i1.json"


def read(**changes: Any) -> tuple[Item, list[str]]:
    got, _, complaints = read_all(**changes)
    return got, complaints


def read_all(**changes: Any) -> tuple[Item, list[Asset], list[str]]:
    complaints: list[str] = []
    raw = item("i1", **changes)
    got = read_item(raw, PATH, complaints.append)
    return got, read_assets(raw, "coll/i1", complaints.append), complaints


def test_a_plain_item() -> None:
    got, assets, complaints = read_all(
        links=[
            {"rel": "source", "href": "../../source/s1/s1.json"},
            {"rel": "source", "href": "../../source/s2/s2.json"},
            {"rel": "self", "href": "i1.json"},
        ],
        assets={
            "image": asset(
                " https://files.test/i1.tif ",
                type="image/tiff",
                roles=["data"],
                **{"file:size": 123, "file:checksum": "1220ab"},
            )
        },
    )
    assert not complaints
    assert (got.collection_id, got.item_id) == ("coll", "i1")
    assert got.moment == 1_619_863_200_000_000
    assert (got.start, got.end) == (None, None)
    assert got.bbox == got.cover == (10, 50, 11, 51)
    assert got.shape is not None
    assert got.shape.kind == "Polygon"
    assert json.loads(got.properties) == {"datetime": "2021-05-01T10:00:00Z"}
    assert got.sources == ["s1", "s2"]
    (one,) = assets
    assert (one.key, one.href, one.media_type) == (
        "image",
        "https://files.test/i1.tif",
        "image/tiff",
    )
    assert (one.roles, one.file_size, one.checksum) == (["data"], 123, "1220ab")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"bbox": [1, 2, 3]}, "bbox"),
        ({"bbox": [1, 2, 3, None]}, "not a number"),
        ({"geometry": {"type": "Blob"}}, "geometry"),
        ({"properties": ["x"]}, "properties"),
        ({"properties": {"datetime": "later"}}, "datetime is no moment"),
        ({"properties": {"datetime": 2018}}, "datetime is no moment"),
        ({"properties": {"end_datetime": "0001-01-01T00:00:00+09:00"}}, "end_datetime"),
        ({"assets": ["x"]}, "assets"),
        ({"assets": {"a": "https://x"}}, "'a' has no href"),
        ({"assets": {"a": {}}}, "'a' has no href"),
        ({"assets": {"a": {"href": "  "}}}, "'a' has no href"),
        ({"assets": {"a": {"href": 7}}}, "'a' has no href"),
        ({"id": ""}, "without an id"),
        ({"id": None}, "without an id"),
        ({"id": ["i1"]}, "without an id"),
    ],
)
def test_what_is_odd_is_said_and_nothing_more(changes: dict[str, Any], complaint: str) -> None:
    got, complaints = read(**changes)
    assert len(complaints) == 1
    assert complaint in complaints[0]
    assert got.item_id == "i1"


def test_no_place_and_no_time_are_not_odd() -> None:
    got, complaints = read(bbox=None, geometry=None, properties=None)
    assert not complaints
    assert got.cover is got.bbox is got.shape is got.moment is None
    assert got.properties == "{}"


def test_a_geometry_without_bbox_is_a_place() -> None:
    got, _ = read(bbox=None)
    assert got.bbox is None
    assert got.cover == (10, 50, 11, 51)


def test_a_bbox_without_geometry_is_a_place() -> None:
    got, _ = read(geometry=None, bbox=[1, 2, 0, 3, 4, 9])
    assert got.shape is None
    assert got.cover == got.bbox == (1, 2, 3, 4)


@pytest.mark.parametrize(
    ("links", "wanted"),
    [
        ([{"rel": "collection", "href": "../../other/collection.json"}], ("other", "other")),
        ([{"rel": "parent", "href": "../collection.json"}], ("coll", "coll")),
        ([{"rel": "collection", "href": "https://x/c.json"}], ("coll", "coll")),
        ([], ("coll", "coll")),
        (None, ("coll", "coll")),
        ({"rel": "collection"}, ("coll", "coll")),
        ([None, {"rel": "collection", "href": 5}], ("coll", "coll")),
    ],
)
def test_no_collection(links: Any, wanted: tuple[str, str]) -> None:
    got, complaints = read(collection=None, links=links)
    assert (got.collection_id, got.collection_directory) == wanted
    assert "no collection" in complaints[0]


def test_ids_that_are_numbers() -> None:
    got, complaints = read(id=7, collection=9)
    assert (got.item_id, got.collection_id, complaints) == ("7", "9", [])


def test_a_relative_href_waits() -> None:
    _, assets, _ = read_all(
        assets={"a": asset("./a.tif")},
        links=[{"rel": "self", "href": "https://files.test/x/i1.json"}],
    )
    assert assets[0].href == Relative(("coll/i1/a.tif",), "https://files.test/x/a.tif")


@pytest.mark.parametrize(
    ("value", "wanted"),
    [(5, 5), (5.0, 5), (0, 0), (-1, None), (5.5, None), ("5", None), (True, None), (2**63, None)],
)
def test_file_size(value: Any, wanted: int | None) -> None:
    complaints: list[str] = []
    owner = {"assets": {"a": asset("https://x", **{"file:size": value})}}
    assert read_assets(owner, "", complaints.append)[0].file_size == wanted


def test_a_collection_without_id() -> None:
    complaints: list[str] = []
    assert read_collection_id({}, "x/coll/collection.json", complaints.append) == "coll"
    assert complaints


@pytest.mark.parametrize(
    ("value", "name", "kind", "count"),
    [
        (item("a"), "a.json", Kind.ITEMS, 1),
        (item("a", type=None), "any.json", Kind.ITEMS, 1),
        (item("a", assets=None), "a.json", Kind.ITEMS, 1),
        ({"type": "FeatureCollection", "features": [item("a"), item("b"), 5]}, "x", Kind.ITEMS, 2),
        ({"type": "Feature", "geometry": SQUARE, "properties": {}}, "x.json", Kind.OTHER, 0),
        ({"type": "FeatureCollection", "features": [{"type": "Feature"}]}, "x", Kind.OTHER, 0),
        ({"type": "FeatureCollection", "features": 5}, "x", Kind.OTHER, 0),
        ({"type": "Collection", "id": "c"}, "x.json", Kind.COLLECTION, 1),
        ({"id": "c"}, "a/collection.json", Kind.COLLECTION, 1),
        ({"id": "c", "extent": {}, "license": "x"}, "x.json", Kind.COLLECTION, 1),
        ({"type": "Catalog", "id": "c"}, "x.json", Kind.CATALOG, 1),
        ({"id": "c", "links": []}, "a/catalog.json", Kind.CATALOG, 1),
        ({"id": "c", "links": []}, "a/other.json", Kind.OTHER, 0),
        ({"type": ["Feature"], "assets": {}}, "x", Kind.OTHER, 0),
        ([item("a")], "x", Kind.OTHER, 0),
        (5, "x", Kind.OTHER, 0),
        (None, "x", Kind.OTHER, 0),
    ],
)
def test_documents(value: Any, name: str, kind: Kind, count: int) -> None:
    got = parse_document(json.dumps(value).encode(), name)
    assert (got.kind, len(got.objects)) == (kind, count)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"\xff\xfe\x00", b"II*\x00tiff", b"[" * 100_000, b'{"a": 1} x', b"\x80{}"]
)
def test_not_json(data: bytes) -> None:
    assert parse_document(data, "x.json").kind is Kind.BROKEN


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('{"a": NaN, "b": [Infinity, -Infinity]}', {"a": None, "b": [None, None]}),
        ('{"a": 123456789012345678901234567890}', {"a": 123456789012345678901234567890.0}),
        (
            '{"a": NaN, "b": 123456789012345678901234567890}',
            {"a": None, "b": 123456789012345678901234567890},
        ),
        ('{"a": "\\ud800", "\\ud800": 1}', {"a": "?", "?": 1}),
        ('{"a": ' + "[" * 400 + "]" * 400 + "}", None),
    ],
)
def test_properties_that_orjson_refuses(text: str, wanted: Any) -> None:
    data = json.dumps(item("a")).replace('{"datetime": "2021-05-01T10:00:00Z"}', text)
    (got,) = parse_document(data.encode(), "a.json").objects
    written = as_json(got["properties"])
    written.encode()
    assert json.loads(written) == (json.loads(text) if wanted is None else wanted)


def test_byte_order_marks_and_utf_16() -> None:
    text = json.dumps(item("a"))
    for encoding in ("utf-8-sig", "utf-16", "utf-32"):
        assert parse_document(text.encode(encoding), "a.json").kind is Kind.ITEMS


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["href", "rel", "type", "coordinates", "datetime", "roles", "a"]), inner
        )
    ),
    max_leaves=8,
)
FIELDS = ["id", "collection", "bbox", "geometry", "properties", "links", "assets"]


@settings(
    max_examples=settings.default.max_examples // 2, suppress_health_check=[HealthCheck.too_slow]
)
@given(st.dictionaries(st.sampled_from(FIELDS), values))
def test_nothing_upsets_it(changes: dict[str, Any]) -> None:
    raw = item("i1") | changes
    data = json.dumps(raw).encode("utf-8", "surrogatepass")
    for parsed in parse_document(data, PATH).objects:
        complaints: list[str] = []
        got = read_item(parsed, PATH, complaints.append)
        assert got.item_id
        assert got.collection_id
        json.loads(got.properties)
        assets = read_assets(parsed, "coll/i1", complaints.append)
        assert all(one.identity for one in assets)


def test_links_of_windows() -> None:
    links = [{"rel": "item", "href": ".\\a\\a.json"}, {"rel": "item", "href": "b/b.json"}]
    assert links_of({"links": links}, "item") == ["./a/a.json", "b/b.json"]
