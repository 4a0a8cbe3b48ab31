"""The benchmarks measure what they say: the same files, all of them, counted by the server."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from benchmarks.figures import note, noted
from benchmarks.floors import FLOORS, PARTS, Floor
from benchmarks.generate import COLLECTION, generate
from benchmarks.nginx import Nginx, can_delay, is_there
from benchmarks.rivals import Cost
from benchmarks.shapes import SHAPES, Shape
from benchmarks.table import ratio
from mlhub_core.selection.partition import read_assets

TINY = Shape("tiny", 8, 10, 20, per_item=4)
needs_nginx = pytest.mark.skipif(not is_there(), reason="no nginx: scripts/install_nginx.py")


def test_all_lists_name_the_files_that_are_there(tmp_path: Path) -> None:
    served = generate(tmp_path, TINY, "http://h:1", parts=3)
    files = {path.relative_to(served.assets).as_posix(): path for path in _files(served.assets)}
    assert len(files) == served.files == TINY.files
    assert sum(path.stat().st_size for path in files.values()) == served.size
    assert all(10 <= path.stat().st_size <= 20 for path in files.values())
    assert len({path.read_bytes() for path in files.values()}) == TINY.files
    assets = [asset for part in served.partitions for asset in read_assets(part.path)]
    assert {asset.save_path for asset in assets} == files.keys()
    assert {asset.href for asset in assets} == {f"http://h:1/{name}" for name in files}
    listed = served.curl.read_text().splitlines()
    assert listed[1::2] == [f'output = "{asset.save_path}"' for asset in assets]


def test_fewer_files_are_whole_items() -> None:
    for shape in SHAPES.values():
        assert shape.shrunk(7).files % shape.per_item == 0
        assert 0 < shape.shrunk(10**9).files <= shape.shrunk(7).files < shape.files


def test_a_ratio_is_the_median_over_the_turns() -> None:
    def costs(*seconds: float) -> list[Cost]:
        return [Cost(one, 0.0, 0) for one in seconds]

    assert ratio({"a": costs(1, 2, 4), "b": costs(2, 10, 12)}, "a", "b") == 3


def test_a_floor_shows_what_was_reached(tmp_path: Path) -> None:
    note(tmp_path / "figures", {"a": 0.5, "b": 7.0})
    note(tmp_path / "figures", {"a": 0.75})
    figures = noted(tmp_path / "figures")
    assert Floor("x", "a", 0.7).row(figures) == "| x | ≥ 0.7 of `curl` | **0.75 of `curl`** |"
    assert Floor("x", "b", 6, "s", at_most=True).row(figures) == "| x | ≤ 6 s | 7 s |"
    assert Floor("x", "c", 6, "s").row(figures) == "| x | ≥ 6 s | not measured |"


def test_what_a_floor_is_about_is_measured() -> None:
    shapes = {floor.figure.partition(":")[0] for floor in FLOORS if " / " in floor.figure}
    assert shapes <= {word for part in PARTS.values() for word in part.words.split()}


@needs_nginx
@pytest.mark.parametrize("tls", [False, True])
def test_the_server_counts_what_it_is_asked(tmp_path: Path, tls: bool) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "a.tif").write_bytes(b"bytes")
    with Nginx(tmp_path / "nginx", tmp_path / "root", tls=tls) as server:
        before = server.counters()
        assert (before.requests, before.connections) == (0, 0)
        if tls:
            assert server.url.startswith("https:")
            return
        for _ in range(3):
            with urllib.request.urlopen(f"{server.url}/a.tif") as answer:
                assert answer.read() == b"bytes"
                assert answer.headers["Content-Type"] == "image/tiff"
        after = server.counters()
        assert (after.requests, after.connections) == (3, 3)


@needs_nginx
@pytest.mark.skipif(not can_delay(), reason="no C compiler for the proxy")
def test_what_comes_from_afar_is_the_same(tmp_path: Path) -> None:
    content = bytes(range(256)) * 40_000
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "a.tif").write_bytes(content)
    with Nginx(tmp_path / "nginx", tmp_path / "root", delay=0.01) as server:
        before = server.counters()
        for _ in range(3):
            with urllib.request.urlopen(f"{server.url}/a.tif") as answer:
                assert answer.read() == content
        after = server.counters()
        assert after.requests - before.requests == 3


@pytest.mark.slow
@needs_nginx
def test_everybody_gets_everything(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "--runs", "1", "--divide", "300"]
    command += ["--shape", "small", "--directory", str(tmp_path), "--reference", "/none"]
    project = Path(__file__).resolve().parents[1]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True)
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    named = [row.split("|")[1].strip() for row in rows if "assets/s" not in row]
    assert named[:4] == [
        "`Dataset.download()`",
        "our transfer alone",
        "`curl --parallel --http1.1`",
        "`cp -r`",
    ]
    asked = [row.split("|")[6].strip() for row in rows if "Dataset.download" in row]
    assert asked == ["1.000", "0", "0.050"]  # cold, all there, one of twenty missing


def _files(root: Path) -> list[Path]:
    return [path for path in (root / COLLECTION).rglob("*") if path.is_file()]
