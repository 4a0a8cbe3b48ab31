"""STAC items in one file: a collection or an item a line; on disk, by URL, by standard input."""

from __future__ import annotations

import gzip
import io
import json
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mlhub_core import Dataset
from mlhub_core.cli import main
from tests.acceptance.kit import collection as stac_collection
from tests.acceptance.kit import item
from tests.faultserver import Fault, FaultServer, status

NO_HUB = "http://127.0.0.1:9/mlhub/v1/"
NAMES = ("a", "b", "c")


@pytest.fixture(autouse=True)
def no_hub(server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLHUB_ROOT_URL", NO_HUB)
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        server.put(f"/{name}.tif", content(name))


def content(name: str) -> bytes:
    return name.encode() * 100


def items(server: FaultServer, *names: str) -> list[dict[str, Any]]:
    return [item(name, {"image": server.url(f"/{name}.tif")}) for name in names]


def collection(found: list[dict[str, Any]]) -> bytes:
    return json.dumps({"type": "FeatureCollection", "features": found}, indent=1).encode()


def by_line(found: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in found)


def zstd(data: bytes) -> bytes:
    return bytes(pa.compress(data, "zstd", asbytes=True))


def images(directory: str) -> dict[str, bytes]:
    found = Path("out", directory).glob("pictures/*/image.tif")
    return {path.parent.name: path.read_bytes() for path in found}


def pipe(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("found.json", collection),
        ("found.geojson", collection),
        ("found.ndjson", by_line),
        ("found.json", by_line),
        ("found.jsonl", lambda found: json.dumps(found).encode()),
        ("found.json.gz", lambda found: gzip.compress(collection(found))),
        ("found.ndjson.zst", lambda found: zstd(by_line(found))),
    ],
)
def test_the_commands(
    name: str, write: Any, server: FaultServer, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(name)
    path.write_bytes(write(items(server, "a", "b")))
    words = [name, "--output-dir", "out"]
    assert main(["download", *words]) == 0
    assert images("found") == {one: content(one) for one in "ab"}
    capsys.readouterr()
    assert main(["verify", "out/found"]) == 0
    assert "is not here" not in capsys.readouterr().err
    assert main(["sync", *words]) == 0
    before = server.paths()
    capsys.readouterr()
    assert main(["sync", *words]) == 0
    assert "has not changed" in capsys.readouterr().out
    assert server.paths() == before
    path.write_bytes(write(items(server, "b", "c")))
    assert main(["sync", *words, "--prune"]) == 0
    assert images("found") == {one: content(one) for one in "bc"}
    assert server.paths() == [*before, "/c.tif"]


def test_standard_input(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["-", "--output-dir", "out", "-q"]
    pipe(collection(items(server, "a", "b")), monkeypatch)
    assert main(["download", *words]) == 0
    assert images("items") == {one: content(one) for one in "ab"}
    assert main(["verify", "out/items", "-q"]) == 0
    pipe(by_line(items(server, "a", "b", "c")), monkeypatch)
    assert main(["sync", *words]) == 0
    assert images("items") == {one: content(one) for one in NAMES}
    assert sorted(server.paths()) == ["/a.tif", "/b.tif", "/c.tif"]


def test_a_url(server: FaultServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.put("/found/items.ndjson", by_line(items(server, "a", "b")))
    words = [server.url("/found/items.ndjson"), "--output-dir", "out"]
    assert main(["download", *words, "--dataset-id", "mine"]) == 0
    assert images("mine") == {one: content(one) for one in "ab"}
    assert main(["sync", *words, "--dataset-id", "mine"]) == 0
    before = server.paths()
    capsys.readouterr()
    assert main(["sync", *words, "--dataset-id", "mine"]) == 0
    assert "has not changed" in capsys.readouterr().out
    assert server.paths() == [*before, "/found/items.ndjson"]  # one conditional request
    server.put("/found/items.ndjson", by_line(items(server, "b", "c")))
    assert main(["sync", *words, "--dataset-id", "mine"]) == 0
    assert images("mine") == {one: content(one) for one in NAMES}


@pytest.mark.parametrize("write", [collection, by_line])
def test_a_url_that_does_not_say_what_it_is(write: Any, server: FaultServer) -> None:
    data = write(items(server, "a", "b"))
    server.put("/search?limit=10", data)
    words = [server.url("/search?limit=10"), "--output-dir", "out", "-q"]
    assert main(["download", *words]) == 0
    assert images("search") == {one: content(one) for one in "ab"}


def test_where_relative_links_lead(server: FaultServer) -> None:
    one, other = item("a", {"image": "a.tif"}), item("b", {"image": "../b.tif"})
    other["links"] = [{"rel": "self", "href": server.url("/deep/b.json")}]
    server.put("/items.geojson", collection([one, other]))
    assert main(["download", server.url("/items.geojson"), "--output-dir", "out", "-q"]) == 0
    assert images("items") == {name: content(name) for name in "ab"}


def test_from_python(server: FaultServer) -> None:
    Path("found.json").write_bytes(collection(items(server, "a", "b")))
    dataset = Dataset.open("found.json", dataset_id="mine")
    report = dataset.download("out", progress=False)
    assert (report.dataset_id, report.fetched) == ("mine", 2)


def test_what_cannot_be_read_is_counted(
    server: FaultServer, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = items(server, "a", "b")
    Path("found.ndjson").write_bytes(by_line([a]) + b'{"type": "Feat\n[1]\n' + by_line([b]))
    words = ["download", "found.ndjson", "--output-dir", "out"]
    assert main([*words, "--strict"]) == 1
    told = capsys.readouterr()
    assert images("found") == {one: content(one) for one in "ab"}
    assert "2" in told.out + told.err
    assert "'found.ndjson, line 2': not read: it is no JSON" in told.out + told.err


def test_collections_among_the_items(
    server: FaultServer, capsys: pytest.CaptureFixture[str]
) -> None:
    about = {**stac_collection(), "license": "MIT", "links": [{"rel": "item", "href": "./a.json"}]}
    Path("found.ndjson").write_bytes(by_line([about, *items(server, "a")]))
    assert main(["download", "found.ndjson", "--output-dir", "out", "--strict"]) == 0
    assert "License: MIT" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("page.geojson", b"<html><body>Sign in</body></html>"),
        ("plain.geojson", b'{"type": "FeatureCollection", "features": []}'),
        (
            "roads.geojson",
            b'{"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {}}]}',
        ),
        ("empty.ndjson", b""),
        ("other.json", b'{"a": 1}'),
    ],
)
def test_what_holds_no_items(
    name: str, data: bytes, server: FaultServer, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(name).write_bytes(data)
    server.put(f"/{name}", data)
    for source in (name, server.url(f"/{name}")):
        words = ["download", source, "--source-type", "items", "--output-dir", "out"]
        assert main([*words, "-q"]) == 2
        told = capsys.readouterr().err.strip()
        assert "holds no STAC items" in told
        assert len(told.splitlines()) == 1
        assert sorted(path.name for path in Path().iterdir()) == [name]


def test_a_file_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["download", "gone.ndjson", "--output-dir", "out"]) == 2
    assert "gone.ndjson is no file" in capsys.readouterr().err
    assert list(Path().iterdir()) == []


def test_an_empty_pipe(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pipe(b"", monkeypatch)
    assert main(["download", "-", "--output-dir", "out", "-q"]) == 2
    assert "Standard input holds no STAC items" in capsys.readouterr().err
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("fault", "told"),
    [(status(401), "wants a login, or refuses it (401)"), (status(404), "does not exist (404)")],
)
def test_a_url_that_is_refused(
    fault: Fault, told: str, server: FaultServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.put("/found.ndjson", b"")
    server.always("/found.ndjson", fault)
    assert main(["download", server.url("/found.ndjson"), "--output-dir", "out", "-q"]) in (2, 3)
    error = capsys.readouterr().err.strip()
    assert told in error
    assert "hub" not in error.replace("mlhub:", "")
    assert len(error.splitlines()) == 1


def test_a_url_that_does_not_answer(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["download", "http://127.0.0.1:9/found.ndjson", "--output-dir", "out", "-q"]
    assert main(words) == 3
    error = capsys.readouterr().err.strip()
    assert "check the address, or try again later" in error
    assert "hub" not in error.replace("mlhub:", "")
