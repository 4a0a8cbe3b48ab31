"""``mlhub query --plot``: a map of what matches, and what cannot be drawn."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

import mlhub_core
from mlhub_core.cli import main
from mlhub_core.cli.process import ExitStatus
from mlhub_core.exceptions import InvalidArgument
from tests.views.test_map import texts_of, write_index


def test_a_map_of_what_matches(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index = write_index(tmp_path / "i.parquet", [(1, 1, 2, 2), (30, 1, 31, 2)], (1, 1, 31, 2))
    picture = tmp_path / "map.svg"
    query = ["query", str(index), "--bbox", "0,0,3,3", "-q"]
    assert main([*query, "--plot", str(picture)]) == ExitStatus.OK
    texts = texts_of(picture.read_text())
    assert "1 item selected" in texts
    assert "1.5°E" in texts
    assert main([*query, "--plot", str(tmp_path / "map.png")]) == ExitStatus.OK
    with Image.open(tmp_path / "map.png") as image:
        assert image.size[0] == 1440
    found = mlhub_core.query_index(index, plot=picture)
    assert found.plan.items == 2
    assert "2 items selected" in texts_of(picture.read_text())
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".parquet", ".png", ".svg"]


def test_nothing_that_matches_has_a_place(tmp_path: Path) -> None:
    index = write_index(tmp_path / "i.parquet", [None, None], None)
    mlhub_core.query_index(index, plot=tmp_path / "map.svg")
    texts = texts_of((tmp_path / "map.svg").read_text())
    assert {"2 items selected", "Nothing of it has a place."} <= set(texts)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("map.jpg", r"name a file that ends in \.svg or \.png"), ("no/map.svg", "no directory")],
)
def test_no_place_for_a_map_is_said_before_any_work(tmp_path: Path, name: str, wrong: str) -> None:
    source = tmp_path / "is-not-read.parquet"
    source.write_bytes(b"PAR1")
    with pytest.raises(InvalidArgument, match=f"--plot.*{wrong}"):
        mlhub_core.query_index(source, plot=tmp_path / name)
