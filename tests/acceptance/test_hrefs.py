"""Hrefs of every kind, as a user meets them: fetched, or named as not to be had."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from mlhub_core import Dataset
from mlhub_core.cli import main
from mlhub_core.exceptions import InvalidArgument
from mlhub_core.settings import RunSettings, TransferSettings
from tests.acceptance.kit import catalog_members, collection, item, tar_gz
from tests.faultserver import FaultServer, status

NO_HUB = "http://127.0.0.1:9/mlhub/v1/"


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLHUB_ROOT_URL", NO_HUB)
    monkeypatch.delenv("MLHUB_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)


def write(**assets: Any) -> None:
    """A catalog with one item, as a directory and as an archive of it."""
    members = catalog_members(collection(), item("a", assets), dataset="mine")
    Path("mine.tar.gz").write_bytes(tar_gz(members))
    for name, content in members.items():
        path = Path("given", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def files() -> dict[str, bytes]:
    found = Path("out/mine/pictures/a").glob("*.*")
    return {path.stem: path.read_bytes() for path in found if path.suffix != ".json"}


def failures() -> dict[str, str]:
    with Path("out/mine/err_report.csv").open(newline="") as file:
        return {row["asset key"]: row["error"] for row in csv.DictReader(file)}


def test_what_gdal_reads(server: FaultServer) -> None:
    server.put("/a.tif", b"an image")
    server.put("/b.zip", b"an archive")
    write(
        plain={"href": f"/vsicurl/{server.url('/a.tif')}"},
        inside={"href": f"/vsizip//vsicurl/{server.url('/b.zip')}/in/b.tif"},
    )
    assert main(["download", "mine.tar.gz", "--output-dir", "out", "-q"]) == 0
    assert files() == {"plain": b"an image", "inside": b"an archive"}
    assert Path("out/mine/pictures/a/inside.zip").is_file()


@pytest.mark.parametrize("source", ["mine.tar.gz", "given/mine"])
def test_files_of_this_machine(tmp_path: Path, source: str) -> None:
    for name in ("by_path", "by url"):
        (tmp_path / f"{name}.tif").write_bytes(name.encode())
    write(
        by_path={"href": str(tmp_path / "by_path.tif")},
        by_url={"href": (tmp_path / "by url.tif").as_uri()},
        gone={"href": str(tmp_path / "gone.tif")},
        elsewhere={"href": "file://other.host/share/x.tif"},
    )
    words = ["download", source, "--output-dir", "out", "-q"]
    assert main(words) == 1
    assert files() == {}
    assert "--allow-local-files" in failures()["by_path"]
    assert set(failures()) == {"by_path", "by_url", "gone", "elsewhere"}
    assert main([*words, "--allow-local-files"]) == 1
    assert files() == {"by_path": b"by_path", "by_url": b"by url"}
    assert failures() == {
        "gone": "not on this machine",
        "elsewhere": "a file of another machine",
    }
    assert main(["retry", "out/mine", "--allow-local-files", "-q"]) == 1


def test_what_lies_around_a_directory_is_of_this_machine_too(tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "up é.tif").write_bytes(b"up")
    write(up={"href": "../../../up é.tif"})
    words = ["download", "given/mine", "--output-dir", "out", "-q"]
    assert main(words) == 1
    assert main([*words, "--allow-local-files"]) == 0
    assert files() == {"up": b"up"}


def test_a_catalog_from_elsewhere_names_no_files_of_this_machine(
    tmp_path: Path, server: FaultServer, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "secret").write_text("secret")
    write(secret={"href": str(tmp_path / "secret")})
    server.put("/mine.tar.gz", Path("mine.tar.gz").read_bytes())
    for source in (server.url("/mine.tar.gz"), "some_dataset"):
        words = ["download", source, "--output-dir", "out", "-q"]
        assert main([*words, "--allow-local-files"]) == 2
        assert "must not name files of this machine" in capsys.readouterr().err
    assert main(["download", server.url("/mine.tar.gz"), "--output-dir", "out", "-q"]) == 1
    assert main(["retry", "out/mine", "--allow-local-files", "-q"]) == 2
    assert files() == {}
    with pytest.raises(InvalidArgument):
        Dataset("x").download("out", allow_local_files=True, progress=False)


@pytest.mark.parametrize(
    "asset",
    [
        {"href": "/store.zarr"},
        {"href": "/store.zarr/"},
        {"href": "/folder/"},
        {"href": "/folder/?list=1"},
        {"href": "/store", "type": "application/vnd+zarr"},
        {"href": "/store", "type": "application/vnd.zarr; version=3"},
    ],
)
def test_a_prefix_is_told_as_one(server: FaultServer, asset: dict[str, str]) -> None:
    server.put(asset["href"], b"<html>a listing</html>")
    write(store={**asset, "href": server.url(asset["href"])})
    assert main(["download", "mine.tar.gz", "--output-dir", "out", "-q"]) == 1
    assert failures()["store"].startswith("a prefix of many files")
    assert server.paths() == []


def test_a_store_in_one_file_is_fetched(server: FaultServer) -> None:
    server.put("/store.zarr.zip", b"a store")
    write(
        store={"href": server.url("/store.zarr.zip"), "type": "application/vnd+zarr"},
    )
    assert main(["download", "mine.tar.gz", "--output-dir", "out", "-q"]) == 0
    assert files() == {"store": b"a store"}


def test_beyond_the_root_lies_no_other_file_of_the_archive(tmp_path: Path) -> None:
    members = catalog_members(
        collection(), item("a", {"B": {"href": "../../../B.tif"}}), dataset="mine"
    )
    Path("mine.tar.gz").write_bytes(tar_gz({**members, "mine/B.tif": b"another file"}))
    assert main(["download", "mine.tar.gz", "--output-dir", "out", "-q"]) == 1
    assert files() == {}
    assert json.loads(Path("out/mine/catalog.json").read_bytes())


def with_alternates(server: FaultServer, **more: Any) -> dict[str, Any]:
    """An asset that is in three places, the last of which is found by the item's own URL."""
    alternates = {
        "mirror": {"href": server.url("/mirror.tif")},
        "vsi": {"href": f"/vsicurl/{server.url('/vsi.tif')}"},
        "nowhere": {"title": "no href"},
    }
    return {
        "href": server.url("/own.tif"),
        "alternate:name": "own",
        "alternate": alternates,
        **more,
    }


def fetched() -> bytes:
    return Path("out/mine/pictures/a/image.tif").read_bytes()


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ([], "own"),
        (["--alternate", "mirror"], "mirror"),
        (["--alternate", "s3", "--alternate", "vsi"], "vsi"),
        (["--alternate", "own", "--alternate", "vsi"], "own"),
        (["--alternate", "s3"], "own"),
    ],
)
def test_an_alternate_that_is_preferred(
    server: FaultServer, options: list[str], place: str
) -> None:
    for name in ("own", "mirror", "vsi"):
        server.put(f"/{name}.tif", b"the same bytes")
    write(image=with_alternates(server))
    words = ["download", "mine.tar.gz", "--output-dir", "out", "-q"]
    assert main([*words, *options]) == 0
    assert server.paths() == [f"/{place}.tif"]
    server.forget()
    assert main(words) == 0
    assert main(["verify", "out/mine", "-q"]) == 0
    assert server.paths() == []


def test_what_cannot_be_had_is_asked_for_elsewhere(server: FaultServer) -> None:
    server.put("/vsi.tif", b"the last place")
    write(image=with_alternates(server))
    words = ["download", "mine.tar.gz", "--output-dir", "out", "-q"]
    assert main(words) == 0
    assert fetched() == b"the last place"
    assert server.paths() == ["/own.tif", "/mirror.tif", "/vsi.tif"]
    server.forget()
    assert main(words) == 0
    assert server.paths() == []


def test_one_whose_own_place_is_not_for_us(server: FaultServer) -> None:
    server.put("/mirror.tif", b"a mirror")
    write(image=with_alternates(server, href="ftp://files.test/own.tif"))
    Dataset.open("mine.tar.gz").download("out", progress=False)
    assert fetched() == b"a mirror"


def test_an_asset_that_is_nowhere(server: FaultServer) -> None:
    write(image=with_alternates(server))
    assert main(["download", "mine.tar.gz", "--output-dir", "out", "-q"]) == 1
    assert "404" in failures()["image"]
    with Path("out/mine/err_report.csv").open(newline="") as file:
        assert [row["URL"] for row in csv.DictReader(file)] == [server.url("/own.tif")]
    server.put("/mirror.tif", b"a mirror")
    assert main(["retry", "out/mine", "--alternate", "mirror", "-q"]) == 0
    assert fetched() == b"a mirror"


def test_a_host_that_refuses_all(server: FaultServer) -> None:
    with FaultServer() as other:
        other.put("/mirror.tif", b"a mirror")
        server.always("/own.tif", status(429, retry_after="0"))
        alternates = {"mirror": {"href": other.url("/mirror.tif")}}
        write(image={"href": server.url("/own.tif"), "alternate": alternates})
        once = TransferSettings(max_attempts=1, backoff_base=0.001, backoff_cap=0.001)
        dataset = Dataset.open("mine.tar.gz")
        dataset.download("out", settings=RunSettings(transfer=once), progress=False)
    assert fetched() == b"a mirror"
