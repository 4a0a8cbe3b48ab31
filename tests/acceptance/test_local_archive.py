"""A catalog archive on this machine: downloaded, verified, retried and synced without any hub."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlhub_core import Dataset
from mlhub_core.cli import main
from tests.acceptance.kit import catalog_members, collection, item, tar_gz
from tests.faultserver import FaultServer

NO_HUB = "http://127.0.0.1:9/mlhub/v1/"
CONTENT = {"a": b"first" * 100, "b": b"second" * 100, "c": b"third" * 100}


@pytest.fixture
def archive(server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MLHUB_ROOT_URL", NO_HUB)
    monkeypatch.delenv("MLHUB_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "given" / "mine.tar.gz"
    path.parent.mkdir()
    write(path, server, "a", "b")
    return path


def write(path: Path, server: FaultServer, *names: str) -> None:
    urls = {name: server.url(f"/{name}.tif") for name in names}
    items = [item(name, {"image": url}) for name, url in urls.items()]
    path.write_bytes(tar_gz(catalog_members(collection(), *items)))


def images() -> dict[str, bytes]:
    found = Path("out").glob("*/pictures/*/image.tif")
    return {path.parent.name: path.read_bytes() for path in found}


def test_the_commands(
    archive: Path, server: FaultServer, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["given/mine.tar.gz", "--output-dir", "out"]
    server.put("/a.tif", CONTENT["a"])
    assert main(["download", *words]) == 1
    (directory,) = (path.parent for path in Path("out").glob("*/.mlhub"))
    assert images() == {"a": CONTENT["a"]}
    server.put("/b.tif", CONTENT["b"])
    assert main(["retry", str(directory)]) == 0
    assert images() == {name: CONTENT[name] for name in "ab"}
    next(directory.rglob("a/image.tif")).unlink()
    assert main(["verify", str(directory)]) == 1
    assert main(["verify", str(directory), "--repair"]) == 0
    assert main(["sync", *words]) == 0
    before = server.paths()
    capsys.readouterr()
    assert main(["sync", *words]) == 0
    assert "has not changed" in capsys.readouterr().out
    assert server.paths() == before
    server.put("/c.tif", CONTENT["c"])
    write(archive, server, "b", "c")
    assert main(["sync", *words, "--prune"]) == 0
    assert images() == {name: CONTENT[name] for name in "bc"}
    assert main(["verify", str(directory)]) == 0


def test_from_python(archive: Path, server: FaultServer) -> None:
    for name, content in CONTENT.items():
        server.put(f"/{name}.tif", content)
    dataset = Dataset.open(archive)
    report = dataset.download("out", progress=False)
    assert (report.dataset_id, report.fetched) == (dataset.id, 2)
    assert images() == {name: CONTENT[name] for name in "ab"}


def test_one_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["download", "gone.tar.gz", "--output-dir", str(tmp_path / "out")]) == 2
    assert "gone.tar.gz is no file" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
