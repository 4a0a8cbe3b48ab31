"""A catalog archive by URL: fetched as a hub's is, without the hub's key."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlhub_core.cli import main
from mlhub_core.sources import open_source
from mlhub_core.sources.base import SourceSpec
from tests.acceptance.kit import catalog_members, collection, item
from tests.faultserver import FaultServer, status, truncate
from tests.sources.test_formats import PACK

NO_HUB = "http://127.0.0.1:9/mlhub/v1/"
KEY = "s3cret-key-of-the-hub"


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLHUB_ROOT_URL", NO_HUB)
    monkeypatch.setenv("MLHUB_API_KEY", KEY)
    monkeypatch.chdir(tmp_path)


def put(server: FaultServer, path: str, *names: str, ending: str = ".tar.zst") -> bytes:
    urls = {name: server.url(f"/{name}.tif") for name in names}
    items = [item(name, {"image": url}) for name, url in urls.items()]
    for name in names:
        server.put(f"/{name}.tif", f"image {name}".encode() * 50)
    members = catalog_members(collection(), *items, dataset="whole")
    packed = PACK[ending](dict(members))
    server.put(path, packed)
    return packed


def images() -> set[str]:
    return {path.parent.name for path in Path("out").glob("*/pictures/*/image.tif")}


@pytest.mark.parametrize("ending", [".tar.zst", ".zip", ".tar.gz"])
def test_the_commands(server: FaultServer, ending: str, capsys: pytest.CaptureFixture[str]) -> None:
    place = f"/files/mine{ending}"
    packed = put(server, place, "a", "b", ending=ending)
    words = [f"{server.url(place)}?download=1", "--output-dir", "out"]
    server.put(f"{place}?download=1", packed)
    server.script(f"{place}?download=1", truncate(len(packed) // 2))
    assert main(["download", *words]) == 0
    assert images() == {"a", "b"}
    assert Path(f"out/mine{ending}").read_bytes() == packed
    assert main(["verify", "out/mine"]) == 0
    assert main(["sync", *words]) == 0
    server.forget()
    capsys.readouterr()
    assert main(["sync", *words]) == 0
    assert "has not changed" in capsys.readouterr().out
    assert server.paths() == [f"{place}?download=1"]
    assert "if-none-match" in server.requests[0].headers
    server.put(f"{place}?download=1", put(server, place, "b", "c", ending=ending))
    assert main(["sync", *words, "--prune"]) == 0
    assert images() == {"b", "c"}
    asked = [f"{one.path} {one.headers}" for one in server.requests]
    assert not [text for text in asked if KEY in text]


def test_a_page_replaces_nothing(server: FaultServer, capsys: pytest.CaptureFixture[str]) -> None:
    packed = put(server, "/mine.zip", "a", ending=".zip")
    words = [server.url("/mine.zip"), "--output-dir", "out", "-q"]
    assert main(["download", *words]) == 0
    server.put("/mine.zip", b"<html>sign in</html>")
    assert main(["download", *words]) == 3
    said = capsys.readouterr().err
    assert "no whole archive" in said
    assert "elete" not in said
    assert Path("out/mine.zip").read_bytes() == packed
    server.always("/mine.zip", status(401))
    assert main(["sync", *words]) == 3
    assert Path("out/mine.zip").read_bytes() == packed


@pytest.mark.parametrize("code", [401, 403, 404, 500])
def test_what_is_refused_ends_in_a_line(
    server: FaultServer, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    server.always("/mine.zip", status(code))
    words = [server.url("/mine.zip"), "--output-dir", "out", "-q"]
    assert main(["download", *words]) in (2, 3)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert str(code) in said
    assert "mine.zip" in said
    assert not images()


def test_an_archive_without_stac(server: FaultServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.put("/mine.zip", PACK[".zip"]({"a.txt": b"x"}))
    assert main(["download", server.url("/mine.zip"), "--output-dir", "out", "-q"]) == 3
    assert "holds no STAC" in capsys.readouterr().err


def test_what_its_dataset_is_called() -> None:
    def called(url: str) -> str:
        return open_source(SourceSpec(url, "archive")).describe().id

    assert called("https://x.test/a/mine.v2.tar.gz?token=1") == "mine"
    assert called("https://x.test/sen12/catalog.tar.gz") == "sen12"
    assert called("https://x.test/download") == "x.test"
    assert open_source(SourceSpec("https://x.test/a.zip", None, "b")).describe().id == "b"


def test_one_that_no_name_tells(server: FaultServer, capsys: pytest.CaptureFixture[str]) -> None:
    put(server, "/records/crops/download", "a", ending=".zip")
    words = [server.url("/records/crops/download"), "--output-dir", "out"]
    assert main(["download", *words]) == 0
    assert images() == {"a"}
    assert Path("out/crops/catalog.json").is_file()
    assert main(["verify", "out/crops"]) == 0
    assert main(["sync", *words]) == 0
    capsys.readouterr()
    assert main(["sync", *words]) == 0
    assert "has not changed" in capsys.readouterr().out
