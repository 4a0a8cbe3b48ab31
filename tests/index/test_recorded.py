"""The recorded catalog of a real dataset."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from mlhub_core.cli import main
from mlhub_core.cli.process import ExitStatus
from mlhub_core.index.build import index_assets
from mlhub_core.sources.unarchive import unarchive
from tests.index.kit import described, paths_in, rows_of

NAME = "nasa_marine_debris"


def test_nasa_marine_debris(recorded: Path, tmp_path: Path) -> None:
    archive = described(recorded / f"{NAME}.tar.gz", NAME)
    paths = paths_in(tmp_path, NAME)
    index = index_assets(archive, paths)
    rows = rows_of(index)
    assert (index.items, index.assets, index.files) == (1412, 3530, 2825)
    assert len(rows) == 3530
    assert len({row["save_path"] for row in rows}) == 2825
    assert sum(row["asset_key"] == "labels" for row in rows) == 706
    assert dict(index.asset_keys)[f"{NAME}_labels"] == ("documentation", "labels", "pixel_bounds")
    assert index.collections == ((f"{NAME}_labels", 706, 2118), (f"{NAME}_source", 706, 1412))
    assert (index.remark_count, index.ignored) == (0, 0)
    assert {row["save_path"] for row in rows if row["common_asset"]} == {
        "_common/documentation.pdf"
    }
    in_2016 = [row for row in rows if row["datetime"].year == 2016 and row["item_id"]]
    assert len({row["save_path"] for row in in_2016}) == 325
    assert all(len(row["source_items"]) == 1 for row in rows if row["asset_key"] == "labels")

    got = unarchive(archive, paths)
    assert (got.files, got.bytes, got.remark_count) == (1415, 3_801_411, 0)
    assert (paths.catalog_dir / f"{NAME}_labels/collection.json").is_file()


def test_label_items_that_are_cut_out_are_missed(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = tmp_path / "cut.tar.gz"
    names: list[str] = []
    with tarfile.open(recorded / f"{NAME}.tar.gz") as whole, tarfile.open(cut, "w:gz") as rest:
        for member in whole:
            is_label = f"/{NAME}_labels_" in member.name and member.name.endswith(".json")
            if is_label and len(names) < 100:
                names.append(member.name.rpartition("/")[2])
            else:
                rest.addfile(member, whole.extractfile(member))
    assert len(names) == 100
    index = tmp_path / "index.parquet"
    command = ["index", str(cut), "--output", str(index), "--no-unarchive"]
    for strict, status in (([], ExitStatus.OK), (["--strict"], ExitStatus.INCOMPLETE)):
        assert main([*command, *strict]) == status
        said = "".join(capsys.readouterr())
        assert "1,312 items" in said
        assert "100 items, collections or assets that the catalog names are not in it" in said
    state = (tmp_path / ".mlhub" / index.name / "index.json").read_text()
    assert all(name in state for name in names)
