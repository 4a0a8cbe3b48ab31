"""A directory of this machine as a source: read where it lies, and never written to."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest

from mlhub_core import Dataset
from mlhub_core.cli import main
from mlhub_core.exceptions import ArchiveLimitExceeded, CatalogError, InvalidArgument
from mlhub_core.index.build import index_assets
from mlhub_core.paths import DownloadPaths
from mlhub_core.settings import ArchiveLimits
from mlhub_core.sources import open_source, source_of
from mlhub_core.sources.base import SourceSpec
from mlhub_core.sources.directory import LocalDirectory
from mlhub_core.sources.mlhub import HubDataset
from mlhub_core.work import Work
from tests.index.kit import item, rows_of

NO_HUB = "http://127.0.0.1:9/mlhub/v1/"


def write(directory: Path, files: dict[str, Any]) -> Path:
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return directory


def catalog(**more: Any) -> dict[str, Any]:
    carried = {"image": {"href": "./image.tif"}, "shared": {"href": "../../shared.txt"}}
    return {
        "catalog.json": {"type": "Catalog", "id": "own-id", "title": "Mine", "links": []},
        "coll/collection.json": {"type": "Collection", "id": "coll"},
        "coll/a/a.json": item("a", assets=carried),
        "coll/a/image.tif": b"an image",
        "shared.txt": b"shared",
        **more,
    }


@pytest.fixture
def stac(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MLHUB_ROOT_URL", NO_HUB)
    monkeypatch.delenv("MLHUB_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    return write(tmp_path / "given" / "crops", catalog())


def state_of(directory: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in [directory, *directory.rglob("*")]
    }


@pytest.mark.parametrize("named", ["", "/", "/catalog.json", "/coll/../catalog.json"])
def test_what_means_a_directory(stac: Path, named: str) -> None:
    source = open_source(f"{stac}{named}")
    assert isinstance(source, LocalDirectory)
    assert (source.describe().id, source.describe().title) == ("crops", "Mine")
    assert pickle.loads(pickle.dumps(source)) == source


def test_an_id_means_a_hubs_dataset_though_its_download_lies_there(
    stac: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(stac.parent)
    assert isinstance(open_source("crops"), HubDataset)
    assert isinstance(open_source("./crops"), LocalDirectory)
    monkeypatch.chdir(stac)
    assert isinstance(open_source("."), LocalDirectory)
    assert isinstance(open_source("catalog.json"), LocalDirectory)


def test_the_commands(stac: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = state_of(stac)
    words = ["given/crops", "--output-dir", "out"]
    assert main(["download", *words]) == 0
    directory = Path("out/crops")
    assert (directory / "coll/a/image.tif").read_bytes() == b"an image"
    assert (directory / "coll/a/shared.txt").read_bytes() == b"shared"
    assert not (directory / "catalog.json").exists()
    assert [path.name for path in Path("out").iterdir()] == ["crops"]
    assert main(["verify", str(directory)]) == 0
    (directory / "coll/a/image.tif").write_bytes(b"an imagf")
    assert main(["verify", str(directory)]) == 1
    assert main(["verify", str(directory), "--repair"]) == 0
    assert (directory / "coll/a/image.tif").read_bytes() == b"an image"
    assert main(["sync", *words]) == 0
    capsys.readouterr()
    assert main(["sync", *words]) == 0
    assert "has not changed" in capsys.readouterr().out
    assert state_of(stac) == before
    write(stac, {"coll/b/b.json": item("b", assets={"image": {"href": "./b.tif"}})})
    assert main(["sync", *words]) == 1
    write(stac, {"coll/b/b.tif": b"late"})
    assert main(["retry", str(directory)]) == 0
    assert (directory / "coll/b/image.tif").read_bytes() == b"late"
    for path in (stac / "coll" / "b").iterdir():
        path.unlink()
    assert main(["sync", *words, "--prune"]) == 0
    assert not (directory / "coll/b/image.tif").exists()


@pytest.mark.parametrize("output", ["given", "given/crops", "given/crops/deeper"])
def test_what_is_read_is_not_written_to(
    stac: Path, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = state_of(stac.parent)
    assert main(["download", "given/crops/", "--output-dir", output, "-q"]) == 2
    assert "must lie apart" in capsys.readouterr().err
    assert main(["index", "given/crops", "--output", "given/crops/i.parquet", "-q"]) == 2
    assert "only read" in capsys.readouterr().err
    assert state_of(stac.parent) == before
    assert (
        main(["download", "given/crops", "--output-dir", "given", "--dataset-id", "other", "-q"])
        == 0
    )


def test_its_index(stac: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["index", "given/crops", "--output", "i.parquet"]) == 0
    assert "1 items, 2 assets, written" in capsys.readouterr().out
    assert main(["index", "given/crops", "--output", "i.parquet"]) == 0
    assert "unchanged" in capsys.readouterr().out
    os.utime(stac / "catalog.json", (1, 1))
    assert main(["index", "given/crops", "--output", "i.parquet"]) == 0
    assert "written" in capsys.readouterr().out


def test_items_alone(tmp_path: Path) -> None:
    source = open_source(f"{write(tmp_path / 'stac', {'x/a.json': item('a')})}/")
    paths = DownloadPaths.of("stac", tmp_path / "out")
    assert [row["item_id"] for row in rows_of(index_assets(source.acquire(paths), paths))] == ["a"]
    assert source.identity(paths) is not None
    assert source_of(paths) == source


def test_one_that_says_nothing_is_called_as_its_root(tmp_path: Path) -> None:
    source = open_source(str(write(tmp_path / "stac", catalog())))
    assert source.describe().id == "own-id"


def test_links_lead_nowhere_else(tmp_path: Path) -> None:
    secret = write(tmp_path / "other", {"secret.json": item("secret"), "x.tif": b"secret"})
    carried = item("a", assets={"image": {"href": "./x.tif"}, "up": {"href": "../../other/x.tif"}})
    stac = write(tmp_path / "crops", catalog(**{"coll/a/a.json": carried}))
    (stac / "loop").symlink_to(stac)
    (stac / "secret.json").symlink_to(secret / "secret.json")
    (stac / "coll/a/x.tif").symlink_to(secret / "x.tif")
    assert main(["download", str(stac), "--output-dir", str(tmp_path / "out"), "-q"]) == 1
    assert not list((tmp_path / "out").rglob("*.tif"))
    report = next((tmp_path / "out").rglob("err_report.csv")).read_text()
    assert report.count("leads out of") == 1
    assert report.count("not in the catalog") == 1


@pytest.mark.parametrize("files", [{}, {"a.txt": b"x"}, {"a.json": {"no": "stac"}}])
def test_one_without_stac(
    tmp_path: Path, files: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "in"
    directory.mkdir()
    write(directory, files)
    for words in (["download", "--output-dir"], ["index", "--output"]):
        command, option = words
        target = str(tmp_path / command / "i.parquet")
        assert main([command, f"{directory}/", option, target, "-q"]) in (2, 3)
        said = capsys.readouterr().err
        assert "holds no STAC" in said
        assert said.count("\n") == 1
        assert "elete" not in said


def test_caps(tmp_path: Path) -> None:
    source = open_source(f"{write(tmp_path / 'crops', catalog())}/")
    found = source.here()
    assert found is not None
    with pytest.raises(ArchiveLimitExceeded, match="--max-members"):
        list(found.read(Work(ArchiveLimits(max_members=3))))
    with pytest.raises(ArchiveLimitExceeded, match="--max-json-bytes"):
        list(found.read(Work(ArchiveLimits(max_json_bytes=30))))


def test_one_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="is no directory"):
        LocalDirectory.open(SourceSpec(str(tmp_path / "gone")), None, None)
    nothing = write(tmp_path / "no", {"a.json": b"{"})
    found = open_source(f"{nothing}/").here()
    assert found is not None
    with pytest.raises(CatalogError, match="holds no STAC"):
        list(found.read())


def test_what_cannot_be_read_is_named_and_stops_nothing(tmp_path: Path) -> None:
    stac = write(tmp_path / "crops", catalog(**{"broken.json": b"{", "coll/z.json": b"\xff"}))
    (stac / "nothing.json").symlink_to(tmp_path / "gone.json")
    os.mkfifo(stac / "pipe.json")
    Path(os.fsdecode(bytes(stac) + b"/\xff.json")).write_bytes(b"{}")
    source = open_source(f"{stac}/")
    paths = DownloadPaths.of("crops", tmp_path / "out")
    index = index_assets(source.acquire(paths), paths)
    assert (index.items, index.missing) == (1, 5)
    assert "not UTF-8" in " ".join(index.remarks)
    assert "no regular file" in " ".join(index.remarks)


def test_a_finished_download_is_a_source_without_what_we_made_of_it(stac: Path) -> None:
    assert main(["download", "given/crops", "--output-dir", "out", "-q"]) == 0
    assert main(["index", "given/crops", "--output", "first.parquet", "-q"]) == 0
    shutil.copytree("out/crops", "copied")
    shutil.copytree(stac, "copied", dirs_exist_ok=True)
    assert Path("copied/stac/catalog.json").is_file()
    source = open_source("./copied").here()
    assert source is not None
    index = index_assets(source, DownloadPaths.of("copied", Path("out2")))
    assert (index.items, index.assets) == (1, 2)


def test_nothing_to_unpack(stac: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        assert main(["download", "given/crops", "--output-dir", "out", "--catalog-only"]) == 0
    assert "nothing to unpack" in caplog.text
    words = ["download", "given/crops", "--output-dir", "out", "-q"]
    assert main([*words, "--dry-run"]) == 0
    assert main([*words, "--no-unarchive"]) == 0
    assert Path("out/crops/coll/a/image.tif").read_bytes() == b"an image"


def test_from_python(stac: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Path is one, where the same text would be the id of a hub's dataset."""
    monkeypatch.chdir(stac.parent)
    dataset = Dataset.open(Path("crops"))
    assert (dataset.id, dataset.title) == ("crops", "Mine")
    report = dataset.download("../out", progress=False)
    assert (report.files, report.failed) == (2, 0)
    assert Path("../out/crops/coll/a/image.tif").read_bytes() == b"an image"
