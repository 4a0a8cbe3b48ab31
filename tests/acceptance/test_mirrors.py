"""A collection that advertises its items in one table: they are read from there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlhub_core.cli import main
from tests.acceptance.kit import collection, item
from tests.faultserver import FaultServer, html, status

ROOT = "/cat/catalog.json"
TABLE = "/cat/a/items.parquet"
PARQUET = "application/vnd.apache.parquet"
ADVERTISED = {
    "a link": {"links": [{"rel": "collection-mirror", "href": "items.parquet", "type": PARQUET}]},
    "items": {"links": [{"rel": "items", "href": "./items.parquet", "type": PARQUET}]},
    "an asset": {"assets": {"items": {"href": "./items.parquet", "type": PARQUET}}},
    "a role": {
        "assets": {"x": {"href": "items.parquet", "type": PARQUET, "roles": ["collection-mirror"]}}
    },
}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLHUB_ROOT_URL", "http://127.0.0.1:9/mlhub/v1/")
    monkeypatch.chdir(tmp_path)


def table(server: FaultServer, *names: str) -> bytes:
    rows = [
        {
            "type": "Feature",
            "stac_version": "1.0.0",
            "id": name,
            "collection": "a",
            "bbox": {"xmin": 10.0, "ymin": 50.0, "xmax": 11.0, "ymax": 51.0},
            "geometry": None,
            "links": [],
            "assets": {"image": {"href": server.url(f"/{name}.tif")}},
            "datetime": "2020-06-01T12:00:00Z",
        }
        for name in names
    ]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return bytes(sink.getvalue())


def publish(server: FaultServer, how: str = "a link", *names: str) -> None:
    """Two collections, of which one advertises a table of its items."""
    names = names or ("a0", "a1")
    linked = {"a": names, "b": ("b0",)}
    for name, items in linked.items():
        links = [{"rel": "item", "href": f"./{one}.json"} for one in items]
        whole: dict[str, Any] = {**collection(name), "links": links}
        if name == "a":
            whole["links"] = links + ADVERTISED[how].get("links", [])
            whole["assets"] = ADVERTISED[how].get("assets", {})
        server.put(f"/cat/{name}/collection.json", json.dumps(whole).encode())
        for one in items:
            server.put(f"/{one}.tif", one.encode() * 100)
            whole = item(one, {"image": server.url(f"/{one}.tif")}, name)
            server.put(f"/cat/{name}/{one}.json", json.dumps(whole).encode())
    children = [{"rel": "child", "href": f"./{name}/collection.json"} for name in linked]
    root = {"type": "Catalog", "id": "tiny", "stac_version": "1.0.0", "links": children}
    server.put(ROOT, json.dumps(root).encode())
    server.put(TABLE, table(server, *names))


def download(server: FaultServer, *more: str) -> int:
    return main(["download", server.url(ROOT), "--output-dir", "out", "-q", "--strict", *more])


def images() -> set[str]:
    return {path.parent.name for path in Path("out").glob("*/?/*/image.tif")}


@pytest.mark.parametrize("how", ADVERTISED)
def test_items_are_read_from_their_table(how: str, server: FaultServer) -> None:
    publish(server, how)
    assert download(server) == 0
    assert images() == {"a0", "a1", "b0"}
    is_asset_too = how in ("an asset", "a role")
    assert server.count(TABLE) == 1 + is_asset_too
    assert not {"/cat/a/a0.json", "/cat/a/a1.json"} & set(server.paths())
    assert "/cat/b/b0.json" in server.paths()


def test_a_sync_asks_whether_it_has_changed(
    server: FaultServer, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(server)
    assert download(server) == 0
    server.forget()
    words = ["sync", server.url(ROOT), "--output-dir", "out"]
    assert main(words) == 0
    assert {one.status for one in server.requests if one.path != ROOT} == {304}
    publish(server, "a link", "a0", "a1", "a2")
    capsys.readouterr()
    assert main(words) == 0
    assert "1 added" in capsys.readouterr().out
    assert images() == {"a0", "a1", "a2", "b0"}
    assert main(["download", *words[1:], "--if-exists", "skip"]) == 0


@pytest.mark.parametrize("fault", [status(404), html()])
def test_one_that_is_of_no_use(
    fault: Any, server: FaultServer, caplog: pytest.LogCaptureFixture
) -> None:
    publish(server)
    server.always(TABLE, fault)
    assert download(server) == 0
    assert "one by one" in caplog.text
    assert images() == {"a0", "a1", "b0"}
    assert "/cat/a/a0.json" in server.paths()


def test_the_kind_that_is_named_asks_for_each(server: FaultServer) -> None:
    publish(server, "items")
    assert download(server, "--source-type", "static") == 0
    assert server.count(TABLE) == 0
    assert images() == {"a0", "a1", "b0"}


def test_one_of_a_collection_that_is_not_wanted(server: FaultServer) -> None:
    publish(server)
    assert download(server, "--collection", "b") == 0
    assert server.count(TABLE) == 0


def test_a_private_one_is_not_asked(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultServer() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url(""))
        publish(server)
        whole = json.loads(server.truths("/cat/a/collection.json")[-1])
        whole["links"][-1]["href"] = server.url(TABLE)
        for path in (ROOT, "/cat/b/collection.json", "/cat/a/a0.json", "/cat/a/a1.json"):
            proxy.put(f"http://public.example{path}", server.truths(path)[-1])
        proxy.put("http://public.example/cat/b/b0.json", server.truths("/cat/b/b0.json")[-1])
        place = "http://public.example/cat/a/collection.json"
        proxy.put(place, json.dumps(whole).encode())
        words = [f"http://public.example{ROOT}", "--output-dir", "out", "-q", "--dry-run"]
        assert main(["download", *words]) == 0
        assert server.requests == []
        assert json.loads(Path("out/tiny/.mlhub/index.json").read_text())["items"] == 3
