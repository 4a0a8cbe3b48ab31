from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from mlhub_core.hub.server import HubServer


def get(hub: HubServer, session: requests.Session, path: str, **query: Any) -> Any:
    response = session.get(hub.url + path, params=query, allow_redirects=False)
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"] == "application/json"
    return response.json()


def test_datasets(small_hub: HubServer, session: requests.Session) -> None:
    everything = get(small_hub, session, "datasets")
    assert [dataset["id"] for dataset in everything] == ["alpha", "beta"]
    both = get(small_hub, session, "datasets", tags=["crop type", "radar"], text=["weeds"])
    assert [dataset["id"] for dataset in both] == ["alpha"]
    assert get(small_hub, session, "datasets", tags=["crop type"], text=["no such"]) == []
    assert get(small_hub, session, "datasets/alpha") == everything[0]


@pytest.mark.parametrize("doi", ["10.1/ABC.def", "10.1%2FABC.def", "10.1/abc.DEF"])
def test_a_dataset_by_its_doi(small_hub: HubServer, session: requests.Session, doi: str) -> None:
    assert get(small_hub, session, f"datasets/doi/{doi}")["id"] == "alpha"


def test_collections(small_hub: HubServer, session: requests.Session) -> None:
    answer = get(small_hub, session, "collections")
    assert {entry["id"] for entry in answer["collections"]} == {"alpha_source", "no_items"}
    assert {link["rel"]: link["href"] for link in answer["links"]} == {
        "root": small_hub.url,
        "parent": small_hub.url,
        "self": small_hub.url + "collections",
    }
    assert get(small_hub, session, "collections/no_items") == {"id": "no_items"}


def test_models(small_hub: HubServer, session: requests.Session) -> None:
    assert get(small_hub, session, "models") == [{"id": "m", "properties": {}}]
    assert get(small_hub, session, "models/m") == {"id": "m", "properties": {}}


def follow(hub: HubServer, session: requests.Session, limit: int) -> list[list[int]]:
    pages = []
    url: str | None = f"{hub.url}collections/alpha_source/items?limit={limit}&key=canary"
    while url is not None:
        # As the reference client does: the parameters of the first page on every one.
        page = session.get(url, params={"limit": limit}).json()
        assert page["type"] == "FeatureCollection"
        pages.append([feature["n"] for feature in page["features"]])
        url = next((link["href"] for link in page["links"] if link["rel"] == "next"), None)
        assert url is None or "key" not in parse_qs(urlsplit(url).query)
    return pages


@pytest.mark.parametrize(
    ("limit", "pages"),
    [
        (3, [[0, 1, 2], [3, 4, 5], [6]]),
        (7, [[0, 1, 2, 3, 4, 5, 6]]),
        (10_000, [[0, 1, 2, 3, 4, 5, 6]]),
        (1, [[number] for number in range(7)]),
    ],
)
def test_pages_of_items(
    small_hub: HubServer, session: requests.Session, limit: int, pages: list[list[int]]
) -> None:
    assert follow(small_hub, session, limit) == pages


def test_thirty_items_are_a_page(demo_hub: HubServer, session: requests.Session) -> None:
    page = get(demo_hub, session, "collections/demo_crops_labels/items")
    assert len(page["features"]) == 30


def test_an_item(small_hub: HubServer, session: requests.Session) -> None:
    item = get(small_hub, session, "collections/alpha_source/items/item-3")
    assert item == {"id": "item-3", "n": 3}
    assert get(small_hub, session, "collections/no_items/items")["features"] == []


@pytest.mark.parametrize(
    "query",
    [
        *("limit=0", "limit=-1", "limit=x", "limit=", "limit=10001", "limit=1e3", "limit=٣"),
        *("limit=3&limit=0", "token=1", "token=-1", "token=99999", "token=x"),
        "token=" + "9" * 5000,
    ],
)
def test_a_bad_number_is_refused(
    small_hub: HubServer, session: requests.Session, query: str
) -> None:
    response = session.get(f"{small_hub.url}collections/alpha_source/items?{query}")
    assert response.status_code == 400
    assert list(response.json()) == ["detail"]


@pytest.mark.parametrize(
    ("path", "detail"),
    [
        ("datasets/nope", "Dataset nope does not exist."),
        ("datasets/doi/10.1/nope", "Dataset 10.1/nope does not exist."),
        ("collections/nope", "Collection nope does not exist."),
        ("collections/nope/items", "Collection nope does not exist."),
        ("collections/nope/items/x", "Collection nope does not exist."),
        ("collections/alpha_source/items/nope", "Item nope does not exist."),
        ("collections/no_items/items/nope", "Item nope does not exist."),
        ("models/nope", "Model nope does not exist."),
        ("catalog/nope", "Catalog nope does not exist."),
        ("catalog/beta", "Catalog beta does not exist."),
        ("catalog/nope/info", "Catalog nope does not exist."),
        ("archive/nope", "Archive nope does not exist."),
        ("archive/no_items/info", "Archive no_items does not exist."),
        ("catalog/..%2F..%2Fsecret", "Not Found"),
        ("datasets/", "Not Found"),
        ("nothing/here", "Not Found"),
    ],
)
def test_what_does_not_exist(
    small_hub: HubServer, session: requests.Session, path: str, detail: str
) -> None:
    response = session.get(small_hub.url + path, allow_redirects=False)
    assert (response.status_code, response.json()) == (404, {"detail": detail})


def test_other_methods_are_refused(small_hub: HubServer, session: requests.Session) -> None:
    response = session.post(small_hub.url + "datasets")
    assert (response.status_code, response.json()) == (405, {"detail": "Method Not Allowed"})


@pytest.mark.parametrize(
    ("path", "file", "content"),
    [
        ("catalog/alpha", "catalogs/alpha.tar.gz", b"catalog of alpha"),
        ("archive/alpha_source", "archives/alpha_source.tar.gz", b"archive"),
    ],
)
def test_archives_are_elsewhere(
    small_hub: HubServer, session: requests.Session, path: str, file: str, content: bytes
) -> None:
    place = f"{small_hub.address}/files/{file}"
    for method in ("GET", "HEAD"):
        url = f"{small_hub.url}{path}?key=canary"
        answer = session.request(method, url, allow_redirects=False)
        assert (answer.status_code, answer.content) == (303, b"")
        assert answer.headers["Location"] == place  # and not the key
    assert session.get(small_hub.url + path).content == content
    assert session.head(small_hub.url + path, allow_redirects=True).headers[
        "Content-Length"
    ] == str(len(content))


def test_infos(small_hub: HubServer, session: requests.Session) -> None:
    assert get(small_hub, session, "catalog/alpha/info") == {
        "dataset": "alpha",
        "stac_catalog_size": 16,
        "estimated_dataset_size": None,
    }
    assert get(small_hub, session, "archive/alpha_source/info") == {
        "collection": "alpha_source",
        "dataset": "alpha",
        "size": 7,
        "types": ["source_imagery"],
    }


def test_links_lead_to_this_hub(demo_hub: HubServer, session: requests.Session) -> None:
    collections = get(demo_hub, session, "collections")["collections"]
    items = get(demo_hub, session, "collections/demo_crops_labels/items", limit=1)["features"]
    models = get(demo_hub, session, "models")
    for entry in (*collections, *items, *models):
        assert {"root", "self", "parent"} <= {link["rel"] for link in entry["links"]}
        for link in entry["links"]:
            assert link["href"].startswith(demo_hub.url)
            assert session.get(link["href"]).status_code == 200 or link["rel"] in (
                # a model has no collection, on the real hub no more than here
                {"collection", "parent"} if entry in models else ()
            )


def test_the_page_for_people(demo_hub: HubServer, session: requests.Session) -> None:
    page = session.get(demo_hub.address + "/")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "demo_crops" in page.text
    assert f"export MLHUB_ROOT_URL={demo_hub.url}" in page.text
    assert "export MLHUB_API_KEY=none" in page.text


def test_a_broken_line_is_the_hubs_fault(small_hub: HubServer, session: requests.Session) -> None:
    (small_hub.directory / "items" / "no_items.jsonl").write_text("{", encoding="utf-8")
    try:
        response = session.get(small_hub.url + "collections/no_items/items")
    finally:
        (small_hub.directory / "items" / "no_items.jsonl").unlink()
    assert response.status_code == 500
    assert "items/no_items.jsonl" in response.json()["detail"]
    assert str(small_hub.directory) not in response.text
