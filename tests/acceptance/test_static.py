"""A static catalog by URL: crawled, gone on with, synced by what has changed, its gaps told."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any

import pystac
import pytest

from mlhub_core import Dataset
from mlhub_core.cli import main
from mlhub_core.net.documents import login_for
from tests.acceptance.kit import collection, item
from tests.faultserver import Fault, FaultServer, gzipped, html, redirect, status

Json = dict[str, Any]
ROOT = "/cat/catalog.json"
BBOX = [0.0, 0.0, 1.0, 1.0]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLHUB_ROOT_URL", "http://127.0.0.1:9/mlhub/v1/")
    monkeypatch.setenv("MLHUB_API_KEY", "a-key-of-the-hub-alone")
    monkeypatch.chdir(tmp_path)


def link(rel: str, href: str) -> Json:
    return {"rel": rel, "href": href}


def put(server: FaultServer, path: str, document: Json, **more: Any) -> None:
    server.put(path, json.dumps(document).encode(), **more)


def publish(server: FaultServer, *names: str, per: int = 1) -> None:
    """Two levels, relative links, as PySTAC writes them; an asset beside each item."""
    links = [link("self", "./catalog.json"), link("root", "./catalog.json")]
    for name in names:
        links.append(link("child", f"./{name}/collection.json"))
        whole = collection(name)
        whole["links"] = [link("parent", "../catalog.json")]
        for number in range(per):
            own = f"{name}{number}"
            whole["links"].append(link("item", f"./{own}/{own}.json"))
            put(server, f"/cat/{name}/{own}/{own}.json", item(own, {"image": "./i.tif"}, name))
            server.put(f"/cat/{name}/{own}/i.tif", own.encode() * 100)
        put(server, f"/cat/{name}/collection.json", whole)
    put(server, ROOT, {"type": "Catalog", "id": "tiny", "stac_version": "1.0.0", "links": links})


def documents(server: FaultServer) -> Counter[str]:
    return Counter(path for path in server.paths() if path.endswith(".json"))


def images(directory: str = "out") -> dict[str, bytes]:
    found = Path(directory).glob("*/*/*/image.tif")
    return {path.parent.name: path.read_bytes() for path in found}


def words(server: FaultServer, *more: str, path: str = ROOT) -> list[str]:
    return [server.url(path), "--output-dir", "out", *more]


def test_the_commands(
    server: FaultServer, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    publish(server, "a", "b", per=2)
    assert main(["download", *words(server)]) == 0
    assert images() == {name: name.encode() * 100 for name in ("a0", "a1", "b0", "b1")}
    assert set(documents(server).values()) == {1}
    assert len(documents(server)) == 7
    assert not any("key" in request.path for request in server.requests)
    assert main(["verify", "out/tiny", "-q"]) == 0
    assert "not here" not in caplog.text
    server.forget()
    assert main(["sync", *words(server)]) == 0
    answers = {request.path: request.status for request in server.requests}
    assert answers.pop(ROOT) == 200  # it says what the dataset is, before anything is known of it
    assert {*answers.values()} == {304}
    publish(server, "a", "b", per=3)
    server.forget()
    capsys.readouterr()
    assert main(["sync", *words(server)]) == 0
    assert "2 added" in capsys.readouterr().out
    moved = {request.path for request in server.requests if request.status == 200}
    new = {f"/cat/{name}/{name}2/{file}" for name in "ab" for file in (f"{name}2.json", "i.tif")}
    assert moved == {ROOT, "/cat/a/collection.json", "/cat/b/collection.json"} | new


def test_from_python(server: FaultServer) -> None:
    publish(server, "a", "b")
    report = Dataset.open(server.url(ROOT)).download("out", progress=False)
    assert (report.dataset_id, report.fetched, report.missing) == ("tiny", 2, 0)


def test_items_of_other_collections_are_not_asked_for(server: FaultServer) -> None:
    publish(server, "a", "b", per=3)
    assert main(["download", *words(server, "--collection", "b")]) == 0
    assert images().keys() == {"b0", "b1", "b2"}
    assert not any(path.startswith("/cat/a/a") for path in server.paths())
    assert main(["download", *words(server, "--collection", "a")]) == 0
    assert len(images()) == 6


KILLED = "import sys; from mlhub_core.cli import main; main(sys.argv[1:])"


def test_a_kill_costs_nothing_that_was_read(server: FaultServer) -> None:
    publish(server, "a", "b", per=200)
    command = [sys.executable, "-c", KILLED, "download", *words(server)]
    run = subprocess.Popen(command, env={**os.environ, "PYTHONSAFEPATH": "1"})
    server.when_asked("/cat/b/b150/b150.json", run.kill)
    assert run.wait() == -signal.SIGKILL
    server.wait_quiet()
    store = Path("out/tiny/.mlhub/source/documents.sqlite")
    with closing(sqlite3.connect(store)) as connection:
        rows = connection.execute("SELECT url FROM documents WHERE body IS NOT NULL")
        here = {url.removeprefix(server.url("")) for (url,) in rows}
    assert len(here) > 5  # 32 are on their way, and some have just come
    server.forget()
    server.when_asked("/cat/b/b150/b150.json", lambda: None)
    assert main(["download", *words(server, "--strict")]) == 0
    assert len(images()) == 400
    asked = documents(server)
    assert set(asked) & here == {ROOT}  # which says what the dataset is called
    assert set(asked.values()) == {1}


def test_a_late_document_holds_up_no_other(server: FaultServer) -> None:
    publish(server, "a", "b")
    others, waited = Event(), []
    server.when_asked("/cat/b/b0/b0.json", others.set)
    server.when_asked("/cat/a/collection.json", lambda: waited.append(others.wait(30)))
    assert main(["download", *words(server, "--strict")]) == 0
    assert waited == [True]
    assert images().keys() == {"a0", "b0"}


def test_what_is_missing_is_named(server: FaultServer, capsys: pytest.CaptureFixture[str]) -> None:
    publish(server, "a", "b", per=2)
    server.always("/cat/a/a1/a1.json", status(404))
    server.always("/cat/b/collection.json", html())
    assert main(["download", *words(server)]) == 0
    told = capsys.readouterr()
    assert "2 items, collections or assets that the catalog names" in told.out
    assert main(["download", *words(server, "--strict")]) == 1
    assert images().keys() == {"a0"}
    index = json.loads(Path("out/tiny/.mlhub/index.json").read_text())
    assert any("a1.json" in text and "404" in text for text in index["remarks"])
    assert any("b/collection.json" in text and "no JSON" in text for text in index["remarks"])


def test_circles_end(server: FaultServer) -> None:
    publish(server, "a")
    root = json.loads(server.truths(ROOT)[-1])
    child = json.loads(server.truths("/cat/a/collection.json")[-1])
    child["links"] += [link("child", "../catalog.json"), link("child", "./collection.json#x")]
    root["links"] += [link("child", "catalog.json"), link("item", "./a/../a/a0/a0.json")]
    put(server, ROOT, root)
    put(server, "/cat/a/collection.json", child)
    assert main(["download", *words(server, "--strict")]) == 0
    assert set(documents(server).values()) == {1}


def test_links_that_go_on_for_ever_end_in_one_line(
    server: FaultServer, capsys: pytest.CaptureFixture[str]
) -> None:
    for depth in range(12):
        links = [link("child", "./x/catalog.json")]
        put(
            server,
            "/cat/" + "x/" * depth + "catalog.json",
            {"type": "Catalog", "id": "deep", "stac_version": "1.0.0", "links": links},
        )
    assert main(["download", *words(server, "--max-depth", "10")]) == 3
    told = capsys.readouterr().err
    assert "more than 10 links deep" in told
    assert "--max-depth" in told
    assert main(["download", *words(server, "--max-members", "5")]) == 3
    assert "more than 5 documents" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["SELF_CONTAINED", "ABSOLUTE_PUBLISHED", "RELATIVE_PUBLISHED"])
def test_links_and_hrefs_are_those_of_pystac(
    kind: str, server: FaultServer, tmp_path: Path
) -> None:
    catalog = pystac.Catalog("written", "by PySTAC")
    for name in ("a", "b"):
        times = pystac.TemporalExtent([[None, None]])
        extent = pystac.Extent(pystac.SpatialExtent([BBOX]), times)
        child = pystac.Collection(name, "A collection", extent, assets={})
        catalog.add_child(child)
        for number in range(3):
            moment = datetime(2020, 1, 1 + number, tzinfo=UTC)
            found = pystac.Item(f"{name}{number}", None, None, moment, {})
            href = ("./x.tif", "../up.tif", "http://127.0.0.1:9/x.tif")[number]
            found.add_asset("data", pystac.Asset(href))
            child.add_item(found)
    catalog.normalize_hrefs(server.url("/cat/"))
    catalog.save(pystac.CatalogType[kind], dest_href=str(tmp_path / "cat"))
    for path in tmp_path.rglob("*.json"):
        server.put(f"/{path.relative_to(tmp_path)}", path.read_bytes())
    items = list(pystac.Catalog.from_file(server.url(ROOT)).get_items(recursive=True))
    expected = {one.id: one.assets["data"].get_absolute_href() for one in items}
    assert len(expected) == 6
    index = Dataset.open(server.url(ROOT)).index()
    assert dict(zip(index["item_id"], index["href"], strict=True)) == expected


def test_no_more_connections_than_may_be(server: FaultServer) -> None:
    publish(server, "a", per=30)
    assert main(["download", *words(server, "--concurrency", "2", "--dry-run")]) == 0
    assert server.most_open <= 3  # that which found out what it is included


def test_documents_that_are_too_much(server: FaultServer) -> None:
    publish(server, "a", per=4)
    large = {**item("a0", {}, "a"), "more": "x" * 10_000}
    put(server, "/cat/a/a0/a0.json", large)
    server.put("/cat/a/a1/a1.json", b'{"a":' * 100_000 + b"1" + b"}" * 100_000)
    server.always("/cat/a/a2/a2.json", Fault(body=b" " * 65536, unframed=True, endless=True))
    assert main(["download", *words(server, "--max-json-bytes", "5000")]) == 0
    assert images().keys() == {"a3"}
    index = json.loads(Path("out/tiny/.mlhub/index.json").read_text())
    assert index["missing"] == 3
    assert sum("--max-json-bytes" in text for text in index["remarks"]) == 3


def test_a_login_goes_to_its_host_and_is_stored_nowhere(
    server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(server, "a", per=2)
    with FaultServer() as other:
        put(other, "/x.json", item("x", {}, "a"))
        root = json.loads(server.truths(ROOT)[-1])
        put(server, ROOT, {**root, "links": [*root["links"], link("item", other.url("/x.json"))]})
        netrc = tmp_path / "netrc"
        netrc.write_text("machine 127.0.0.1 login me password s3cret-pass-word\n")
        monkeypatch.setenv("NETRC", str(netrc))
        words = ["--output-dir", "out", "-q", "--strict"]
        assert main(["download", server.url(ROOT), *words]) == 0
        asked = [one for one in server.requests if one.path.endswith(".json")]
        assert {one.headers.get("authorization", "")[:6] for one in asked} == {"Basic "}
        assert "authorization" not in other.requests[-1].headers
        netrc.write_text("")
        login_for.cache_clear()
        url = server.url(ROOT).replace("//", "//me:s3cret-pass-word@")
        assert main(["sync", url, *words]) == 0
        assert server.requests[-1].headers["authorization"].startswith("Basic ")
    netrc.unlink()
    for path in Path("out").rglob("*"):
        assert not path.is_file() or b"s3cret-pass" not in path.read_bytes()


def test_redirects_and_codings(server: FaultServer) -> None:
    publish(server, "a", "b")
    server.always("/start", redirect(ROOT))
    server.put("/start", b"")
    server.always("/cat/b/collection.json", redirect("/moved/b/collection.json", 301))
    moved = collection("b")
    moved["links"] = [link("item", "./own.json")]
    put(server, "/moved/b/collection.json", moved)
    put(server, "/moved/b/own.json", item("b9", {"image": "i.tif"}, "b"))
    server.put("/moved/b/i.tif", b"moved")
    server.always("/cat/a/a0/a0.json", gzipped())
    assert main(["download", *words(server, "--strict", path="/start")]) == 0
    assert images() == {"a0": b"a0" * 100, "b9": b"moved"}


def test_what_passes_is_asked_for_again(server: FaultServer) -> None:
    publish(server, "a", per=3)
    server.script("/cat/a/a1/a1.json", status(503, "0"), Fault(cut=20))
    assert main(["download", *words(server, "--strict")]) == 0
    assert len(images()) == 3


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (status(404), "There is nothing at"),
        (status(401), "wants a login"),
        (html(), "is a web page, not STAC"),
        (Fault(body=b'{"type": "Feature"}'), "is JSON, but no STAC"),
        (Fault(body=b"PK\x05\x06"), "no STAC"),
    ],
)
@pytest.mark.parametrize("path", [ROOT, "/some/where"])
def test_a_root_that_is_none_is_told_in_one_line(
    server: FaultServer,
    capsys: pytest.CaptureFixture[str],
    fault: Fault,
    told: str,
    path: str,
) -> None:
    server.put(path, b"{}")
    server.always(path, fault)
    assert main(["download", *words(server, path=path)]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
    assert server.url(path) in line
    assert not Path("out").exists()


def test_an_item_and_a_collection_are_roots_too(server: FaultServer) -> None:
    publish(server, "a", per=2)
    assert main(["download", *words(server, path="/cat/a/a1/a1.json")]) == 0
    assert images().keys() == {"a1"}
    assert main(["download", *words(server, path="/cat/a/collection.json")]) == 0
    assert images().keys() == {"a0", "a1"}
