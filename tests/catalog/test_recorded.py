"""The recorded catalog of a real dataset."""

from __future__ import annotations

from pathlib import Path

from mlhub_core.catalog.extract import unarchive
from mlhub_core.catalog.index import index_assets
from tests.catalog.kit import described, paths_in, rows_of

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
    assert (index.oddity_count, index.ignored) == (0, 0)
    assert {row["save_path"] for row in rows if row["common_asset"]} == {
        "_common/documentation.pdf"
    }
    in_2016 = [row for row in rows if row["datetime"].year == 2016 and row["item_id"]]
    assert len({row["save_path"] for row in in_2016}) == 325
    assert all(len(row["source_items"]) == 1 for row in rows if row["asset_key"] == "labels")

    got = unarchive(archive, paths)
    assert (got.files, got.bytes, got.oddity_count) == (1415, 3_801_411, 0)
    assert (paths.catalog_dir / f"{NAME}_labels/collection.json").is_file()
