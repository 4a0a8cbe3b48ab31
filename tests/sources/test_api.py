"""A STAC API as a source: what its pages come to in the store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlhub_core.exceptions import InvalidArgument
from mlhub_core.paths import DownloadPaths
from mlhub_core.settings import ApiSettings
from mlhub_core.sources.api import StacApi
from mlhub_core.sources.base import SourceSpec, Wanted
from tests.acceptance.kit import collection, item
from tests.stacserver import Fault, StacServer

QUICK = ApiSettings(backoff_base=0.001, backoff_cap=0.002)


@pytest.fixture
def api() -> Iterator[StacServer]:
    with StacServer() as running:
        running.add(collection())
        running.add(*(item(f"i{n}", {"a": f"https://data.example/{n}.tif"}) for n in range(9)))
        yield running


def opened(api: StacServer, settings: ApiSettings = QUICK, **wanted: str) -> StacApi:
    spec = SourceSpec(api.url("/collections/pictures"), wanted=Wanted(**wanted))  # type: ignore[arg-type]
    return StacApi(spec, api.root, "pictures", settings)


def acquired(source: StacApi, place: Path) -> tuple[str, list[str]]:
    paths = DownloadPaths.of("pictures", place)
    catalog = source.acquire(paths)
    documents = [document.path for document in catalog.read()]
    return catalog.sha256, documents


def test_the_same_items_in_another_order_are_the_same_catalog(
    api: StacServer, tmp_path: Path
) -> None:
    digest, documents = acquired(opened(api), tmp_path)
    assert documents[0] == "pictures/collection.json"
    assert len(documents) == 10
    api.items.reverse()
    api.most = 4
    assert acquired(opened(api), tmp_path)[0] == digest
    assert acquired(opened(api), tmp_path / "other")[0] == digest
    api.items[3]["properties"]["updated"] = "2020-01-01T00:00:00Z"
    assert acquired(opened(api), tmp_path)[0] != digest


def test_what_is_left_out_is_in_the_digest(api: StacServer, tmp_path: Path) -> None:
    whole, some = (
        acquired(opened(api, **wanted), tmp_path) for wanted in ({}, {"where": "id='x'"})
    )
    assert whole[0] != some[0]
    assert some[1] == ["pictures/collection.json"]
    del api.items[:]
    assert acquired(opened(api), tmp_path)[1] == some[1]
    assert acquired(opened(api), tmp_path)[0] not in (whole[0], some[0])


def test_pages_of_fewer_items(api: StacServer, tmp_path: Path) -> None:
    """More bytes than are read of an answer; and a server that fails in the middle."""
    api.most = 1000
    small = ApiSettings(max_json_bytes=2_500, backoff_base=0.001)
    assert len(acquired(opened(api, small), tmp_path)[1]) == 10
    assert [one.query["limit"] for one in api.asked("/search")] == ["500", "100", "20", "5", "5"]
    api.requests.clear()
    api.most = 3
    api.script("/search", None, *[Fault(status=504)] * 4)
    assert len(acquired(opened(api), tmp_path)[1]) == 10
    asked = [(one.query["limit"], one.query.get("token")) for one in api.asked("/search")]
    assert asked[:2] == [("500", None), ("500", "3")]
    assert asked[5:] == [("100", "3"), ("100", "6")]


def test_numbered_pages_of_fewer_items_begin_anew(api: StacServer, tmp_path: Path) -> None:
    api.most = 3
    numbered = {"3": "page=2", "6": "page=3"}
    api.next_link = lambda link, token: {
        **link,
        "href": f"{link['href']}&{numbered[str(token)]}",
    }
    api.script("/search", None, *[Fault(status=504)] * 4)
    assert len(acquired(opened(api), tmp_path)[1]) == 10
    assert api.pages() == [0, 3, 3, 3, 3, 0, 3, 6]


def test_features_that_are_no_items(api: StacServer, tmp_path: Path) -> None:
    api.most = 100
    api.items[2:4] = [{"id": 7, "type": "Feature", "assets": {}}, "nothing"]  # type: ignore[list-item]
    _, documents = acquired(opened(api), tmp_path)
    assert "pictures/7/7.json" in documents
    assert len(documents) == 10


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ftp://a.b/collections/x", "is no URL of a STAC API"),
        ("https://me:secret@a.b/collections/x", "has a login in it"),
        ("https://a.b/collections/x?token=secret", "leave out what follows the path"),
        ("https://[a.b/collections/x", "is no URL of a STAC API"),
    ],
)
def test_what_is_no_url(text: str, says: str) -> None:
    with pytest.raises(InvalidArgument, match=says) as caught:
        StacApi.open(SourceSpec(text), None, None)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "root", "collection_id"),
    [
        ("https://a.b/stac/v1/collections/x%2Fy", "https://a.b/stac/v1/", "x/y"),
        ("https://a.b/collections/x/", "https://a.b/", "x"),
        ("https://a.b/collections/collections/x/items", "https://a.b/collections/", "x"),
        ("https://a.b/stac/search", "https://a.b/stac/", None),
        ("https://a.b/stac/collections/", "https://a.b/stac/", None),
        ("https://a.b", "https://a.b/", None),
    ],
)
def test_roots(text: str, root: str, collection_id: str | None) -> None:
    source = StacApi.open(SourceSpec(text), None, None)
    assert (source.root, source.collection_id) == (root, collection_id)
    assert source.identity(DownloadPaths.of("x", "/nowhere")) is None
