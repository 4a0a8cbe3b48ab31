"""``mlhub index``, and who can open what it writes."""

from __future__ import annotations

from pathlib import Path

import geopandas
import geoparquet_validator
import pyarrow.parquet as pq
import pytest

from benchmarks.catalogs import write_catalog
from mlhub_core.cli import main
from mlhub_core.cli.process import ExitStatus


@pytest.mark.parametrize(
    ("manner", "items", "assets"), [("bigearthnet", 100, 700), ("landcovernet", 146, 2022)]
)
def test_an_index_that_everybody_opens(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], manner: str, items: int, assets: int
) -> None:
    archive, index = tmp_path / "any-name.tar.gz", tmp_path / "out" / "index.parquet"
    written = write_catalog(archive, manner, items)
    assert (written.items, written.assets) == (items, assets)
    command = ["index", str(archive), "--output", str(index)]
    assert main([*command, "--no-unarchive"]) == ExitStatus.OK
    assert f"{items:,} items, {assets:,} assets, written" in capsys.readouterr().out
    assert sorted(path.name for path in index.parent.iterdir()) == [".mlhub", "index.parquet"]
    assert main([*command, "--no-unarchive"]) == ExitStatus.OK
    assert "unchanged" in capsys.readouterr().out
    assert main(command) == ExitStatus.OK
    assert len(list(index.parent.rglob("*.json"))) == items + 3 + 2  # of the catalog, and of ours

    report = geoparquet_validator.check(str(index))
    assert report["outcomes"]
    for conformance in ("core", "covering", "distribution"):
        assert not geoparquet_validator.failed(report, conformance)
    frame = geopandas.read_parquet(index)
    assert len(frame) == pq.read_metadata(index).num_rows == assets
    assert frame.geometry.is_valid.all()
    duckdb = pytest.importorskip("duckdb")
    count = f"select count(distinct save_path) from '{index}' where bbox.xmin <= bbox.xmax"
    shared = 1 if manner == "landcovernet" else 0  # two chips, one documentation
    assert duckdb.sql(count).fetchone() == (assets - shared,)


def test_what_cannot_be_indexed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = ["--output", str(tmp_path / "i.parquet"), "-q"]
    assert main(["index", str(tmp_path / "none.tar.gz"), *output]) == ExitStatus.BAD_ARGUMENT
    assert "is no file" in capsys.readouterr().err
    (tmp_path / "bad.tar.gz").write_bytes(b"no archive")
    assert main(["index", str(tmp_path / "bad.tar.gz"), *output]) != ExitStatus.OK
    assert "bad.tar.gz" in capsys.readouterr().err
    assert main(["index", "x", *output, "--max-members", "0"]) == ExitStatus.BAD_ARGUMENT
    assert not (tmp_path / "i.parquet").exists()
