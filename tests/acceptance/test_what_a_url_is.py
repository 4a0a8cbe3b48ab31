"""A URL that does not say what it is: one request tells, and the source goes on from there."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlhub_core.cli import main
from tests.acceptance.kit import catalog_members, collection, item, tar_gz
from tests.faultserver import Fault, FaultServer
from tests.stacserver import StacServer

PLACE = "/data/v1/one"
ITEM = item("i", {"image": "http://127.0.0.1:9/i.tif"}, geometry=None)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLHUB_ROOT_URL", "http://127.0.0.1:9/mlhub/v1/")
    monkeypatch.chdir(tmp_path)


def table() -> bytes:
    sink = pa.BufferOutputStream()
    row = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": "i",
        "collection": "pictures",
        "bbox": {"xmin": 10.0, "ymin": 50.0, "xmax": 11.0, "ymax": 51.0},
        "geometry": None,
        "links": [],
        "assets": {"image": {"href": "http://127.0.0.1:9/i.tif"}},
        "datetime": "2020-06-01T12:00:00Z",
    }
    pq.write_table(pa.Table.from_pylist([row]), sink)
    return bytes(sink.getvalue())


CONTENTS = {
    "archive": tar_gz(catalog_members(collection(), ITEM)),
    "items": json.dumps({"type": "FeatureCollection", "features": [ITEM]}, indent=1).encode(),
    "items, a line each": (json.dumps(ITEM) + "\n" + json.dumps({**ITEM, "id": "j"})).encode(),
    "static": json.dumps(ITEM).encode(),
    "parquet": table(),
}


@pytest.mark.parametrize("kind", CONTENTS)
def test_what_a_url_is(kind: str, server: FaultServer) -> None:
    server.put(PLACE, CONTENTS[kind])
    words = [server.url(PLACE), "--output-dir", "out", "--dry-run", "-q"]
    assert main(["download", *words]) == 0
    (state,) = Path("out").glob("*/.mlhub/source.json")
    assert json.loads(state.read_text()).get("type", "static") == kind.partition(",")[0]
    index = json.loads(state.with_name("index.json").read_text())
    assert index["items"] == 1 + ("line" in kind)
    assert server.count(PLACE) <= 3


def test_an_api(tmp_path: Path) -> None:
    with StacServer() as api:
        api.add(collection())
        api.add({**ITEM, "geometry": {"type": "Point", "coordinates": [10.5, 50.5]}})
        words = [api.url("/"), "--collection", "pictures", "--output-dir", "out", "--dry-run"]
        assert main(["download", *words, "-q"]) == 0
        assert json.loads(next(Path("out").glob("*/.mlhub/index.json")).read_text())["items"] == 1


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"<!DOCTYPE html><title>Browse</title>", "is a web page"),
        (b'<?xml version="1.0"?><Error/>', "is a web page"),
        (b'{"message": "hello"}', "is JSON, but no STAC"),
        (b"[1, 2]", "is JSON, but no STAC"),
        (b"\x00\x01\x02\x03", "neither JSON"),
        (b"", "is empty"),
        (b"[" * 100_000, "no STAC"),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, "no STAC"),
    ],
)
def test_what_is_no_stac(
    content: bytes, told: str, server: FaultServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.put(PLACE, content)
    assert main(["download", server.url(PLACE), "--output-dir", "out", "-q"]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
    assert "name the URL" in line
    assert not Path("out").exists()


def test_of_a_large_file_only_the_beginning_is_read(
    server: FaultServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.put(PLACE, b"")
    words = ["--output-dir", "out", "-q", "--max-bytes", "1000000"]
    one = json.dumps(ITEM).encode()
    for begin in (b"PAR1", b'{"type": "FeatureCollection", "features": [', one + b"\n" + one):
        server.always(PLACE, Fault(body=begin + b" " * 65536, unframed=True, endless=True))
        assert main(["download", server.url(PLACE), *words]) == 3
        assert "--max-bytes" in capsys.readouterr().err
    server.always(PLACE, Fault(body=b"[" + b" " * 65536, unframed=True, endless=True))
    assert main(["download", server.url(PLACE), *words]) == 3
    assert "--source-type items" in capsys.readouterr().err
