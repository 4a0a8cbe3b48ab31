"""stac-geoparquet on disk: downloaded, filtered, verified, synced; and what is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlhub_core import Dataset, index_source
from mlhub_core.cli import main
from tests.acceptance.kit import item
from tests.faultserver import FaultServer, ignore_range


@pytest.fixture(autouse=True)
def no_hub(server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLHUB_ROOT_URL", "http://127.0.0.1:9/mlhub/v1/")
    monkeypatch.chdir(tmp_path)
    for name in "abc":
        server.put(f"/{name}.tif", content(name))


def content(name: str) -> bytes:
    return name.encode() * 100


def write(path: Path, server: FaultServer, *names: str) -> None:
    rows: list[dict[str, Any]] = []
    for at, name in enumerate(names):
        west = ord(name) - ord("a") + 10.0
        found = item(name, {"image": server.url(f"/{name}.tif")}, f"part-{at % 2}")
        found["bbox"] = {"xmin": west, "ymin": 50.0, "xmax": west + 0.5, "ymax": 51.0}
        del found["geometry"], found["properties"], found["links"]
        rows.append(found)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def images(directory: str) -> dict[str, bytes]:
    found = Path("out", directory).glob("part-*/*/image.tif")
    return {path.parent.name: path.read_bytes() for path in found}


def test_the_commands(server: FaultServer, capsys: pytest.CaptureFixture[str]) -> None:
    write(Path("scenes.parquet"), server, "a", "b")
    words = ["scenes.parquet", "--output-dir", "out"]
    assert main(["download", *words, "--bbox=11,50,12,51"]) == 0
    assert images("scenes") == {"b": content("b")}
    assert server.paths() == ["/b.tif"]
    assert main(["download", *words]) == 0
    assert images("scenes") == {name: content(name) for name in "ab"}
    assert main(["verify", "out/scenes", "-q"]) == 0
    assert main(["sync", *words]) == 0
    capsys.readouterr()
    assert main(["sync", *words]) == 0
    assert "has not changed" in capsys.readouterr().out
    assert sorted(server.paths()) == ["/a.tif", "/b.tif"]
    write(Path("scenes.parquet"), server, "b", "c")
    assert main(["sync", *words, "--prune"]) == 0
    assert sorted(images("scenes")) == ["b", "c"]


def test_a_filter_that_differs_prunes_nothing(server: FaultServer) -> None:
    write(Path("scenes.parquet"), server, "a", "b")
    words = ["scenes.parquet", "--output-dir", "out", "-q"]
    assert main(["download", *words, "--bbox=10,50,10.5,51"]) == 0
    assert main(["sync", *words, "--bbox=11,50,12,51", "--prune"]) == 0
    assert images("scenes") == {name: content(name) for name in "ab"}


def test_a_sync_with_another_filter_compares_nothing(
    server: FaultServer, capsys: pytest.CaptureFixture[str]
) -> None:
    write(Path("scenes.parquet"), server, "a", "b")
    words = ["scenes.parquet", "--output-dir", "out", "-q"]
    assert main(["sync", *words, "--bbox=10,50,10.5,51"]) == 0
    capsys.readouterr()
    assert main(["sync", *words, "--bbox=11,50,12,51"]) == 0
    assert "removed" not in capsys.readouterr().out
    assert images("scenes") == {name: content(name) for name in "ab"}
    assert main(["sync", *words]) == 0
    assert sorted(server.paths()) == ["/a.tif", "/b.tif"]


def test_a_plan_of_a_part(server: FaultServer) -> None:
    write(Path("scenes.parquet"), server, "a", "b")
    dataset = Dataset.open("scenes.parquet")
    plan = dataset.plan("out", bbox=[11, 50, 12, 51], progress=False)
    dataset.download("out", plan=plan.path, progress=False)
    assert images("scenes") == {"b": content("b")}


def test_a_directory_from_python(server: FaultServer) -> None:
    write(Path("scenes/year=2020/one.parquet"), server, "a")
    write(Path("scenes/year=2021/two.parquet"), server, "b")
    report = Dataset.open("./scenes").download("out", progress=False)
    assert (report.dataset_id, report.fetched) == ("scenes", 2)


def test_nothing_matches_says_what_there_was(
    server: FaultServer, capsys: pytest.CaptureFixture[str]
) -> None:
    write(Path("scenes.parquet"), server, "a", "b")
    words = ["scenes.parquet", "--output-dir", "out", "-q", "--bbox=0,0,1,1"]
    assert main(["download", *words]) == 2
    error = capsys.readouterr().err
    assert "0 files that the source has for these filters" in error
    assert "Widen the filters" in error


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("page.parquet", "is no Parquet file"),
        ("numbers.parquet", "is no stac-geoparquet: it has no column id, assets"),
        ("gone.parquet", "is no file"),
        ("cut.parquet", "is no Parquet file"),
    ],
)
def test_what_is_none(
    name: str, told: str, server: FaultServer, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("page.parquet").write_bytes(b"<html>Sign in</html>")
    pq.write_table(pa.table({"n": [1, 2]}), "numbers.parquet")
    write(Path("whole.parquet"), server, "a")
    Path("cut.parquet").write_bytes(Path("whole.parquet").read_bytes()[:-100])
    before = sorted(Path().iterdir())
    assert main(["download", name, "--output-dir", "out", "-q"]) == 2
    error = capsys.readouterr().err.strip()
    assert told in error
    assert name in error
    assert len(error.splitlines()) == 1
    assert "delet" not in error
    assert "remov" not in error
    assert sorted(Path().iterdir()) == before


def test_one_that_is_damaged_within(
    server: FaultServer, capsys: pytest.CaptureFixture[str]
) -> None:
    write(Path("scenes.parquet"), server, "a", "b")
    data = bytearray(Path("scenes.parquet").read_bytes())
    data[4:200] = b"\xff" * 196
    Path("scenes.parquet").write_bytes(data)
    assert main(["download", "scenes.parquet", "--output-dir", "out", "-q"]) == 3
    error = capsys.readouterr().err.strip()
    assert "scenes.parquet" in error
    assert len(error.splitlines()) == 1


def test_a_url(server: FaultServer, capsys: pytest.CaptureFixture[str]) -> None:
    write(Path("scenes.parquet"), server, "a", "b")
    table = Path("scenes.parquet").read_bytes()
    server.put("/scenes.parquet", table)
    words = [server.url("/scenes.parquet"), "--output-dir", "out"]
    assert main(["download", *words]) == 0
    assert images("scenes") == {name: content(name) for name in "ab"}
    assert Path("out/scenes/.mlhub/source/items.parquet").read_bytes() == table
    assert main(["sync", *words]) == 0
    before = server.paths()
    capsys.readouterr()
    assert main(["sync", *words]) == 0
    assert "has not changed" in capsys.readouterr().out
    assert server.paths() == [*before, "/scenes.parquet"]  # one conditional request
    write(Path("other.parquet"), server, "b", "c")
    server.put("/scenes.parquet", Path("other.parquet").read_bytes())
    assert main(["sync", *words]) == 0
    assert images("scenes")["c"] == content("c")


def test_a_url_of_which_a_part_is_wanted(
    server: FaultServer, capsys: pytest.CaptureFixture[str]
) -> None:
    write(Path("scenes.parquet"), server, *"abc")
    rows = pq.read_table("scenes.parquet")
    pq.write_table(rows, "scenes.parquet", row_group_size=1)
    server.put("/scenes.parquet", Path("scenes.parquet").read_bytes())
    words = [server.url("/scenes.parquet"), "--output-dir", "out", "--bbox=11,50,11.2,51"]
    assert main(["download", *words]) == 0
    assert images("scenes") == {"b": content("b")}
    assert not Path("out/scenes/.mlhub/source/items.parquet").exists()
    assert main(["sync", *words]) == 0
    before = server.paths()
    capsys.readouterr()
    assert main(["sync", *words]) == 0
    assert "has not changed" in capsys.readouterr().out
    assert server.paths() == [*before, "/scenes.parquet"]


def test_an_index_by_url(server: FaultServer, capsys: pytest.CaptureFixture[str]) -> None:
    write(Path("scenes.parquet"), server, "a")
    index = index_source("scenes.parquet", "i/index.parquet")
    server.put("/index.parquet", index.path.read_bytes())
    assert main(["download", server.url("/index.parquet"), "--output-dir", "out", "-q"]) == 2
    assert "is an asset index: fetch it, and name the file" in capsys.readouterr().err


def test_a_server_without_ranges(server: FaultServer) -> None:
    write(Path("scenes.parquet"), server, *"abc")
    server.put("/scenes.parquet", Path("scenes.parquet").read_bytes())
    server.always("/scenes.parquet", ignore_range())
    words = [server.url("/scenes.parquet"), "--output-dir", "out", "-q", "--bbox=11,50,11.2,51"]
    assert main(["download", *words]) == 0
    assert images("scenes") == {"b": content("b")}


def test_a_url_that_is_none(server: FaultServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.put("/page.parquet", b"<html>Sign in</html>" * 5000)
    for more in ([], ["--bbox=11,50,11.2,51"]):
        words = [server.url("/page.parquet"), "--output-dir", "out", "-q", *more]
        assert main(["download", *words]) == 2
        error = capsys.readouterr().err.strip()
        assert "/page.parquet is no Parquet file" in error
        assert len(error.splitlines()) == 1
        assert list(Path().iterdir()) == []
