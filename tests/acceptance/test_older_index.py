"""Indexes and plans of earlier versions, which lack columns, are read as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mlhub_core.cli import main
from mlhub_core.exceptions import DownloadIncomplete
from mlhub_core.repair import retry, verify
from mlhub_core.selection.partition import Asset, read_assets, write_assets
from mlhub_core.sync.compare import CHANGED, SAME, compare
from tests.acceptance.conftest import QUICK
from tests.acceptance.kit import DATASET, item
from tests.faultserver import FaultServer, status


def without(path: Path, *names: str) -> None:
    """Take columns out of a Parquet file."""
    table = pq.read_table(path)
    metadata = table.schema.metadata
    pq.write_table(table.drop_columns(list(names)).replace_schema_metadata(metadata), path)


def test_an_index_without_the_youngest_columns(
    download: Any, server: FaultServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    server.put("/b.csv", b"a,b\n")
    server.always("/b.csv", status(404))
    items = [item("a", {"table": server.put("/a.csv", b"a,b\n")}), item("b", {"t": "/b.csv"})]
    items[1]["assets"]["t"]["href"] = server.url("/b.csv")
    with pytest.raises(DownloadIncomplete):
        download(*items)
    root = tmp_path / "out" / DATASET
    index = root / "mlhub_stac_assets.parquet"
    new = tmp_path / "new.parquet"
    new.write_bytes(index.read_bytes())
    without(index, "updated")
    assert list(compare(index, new).fresh) == [SAME, SAME]
    assert verify(root).wrong == 0
    server.put("/c.csv", b"a,b\n")
    server.always("/b.csv", status(503))
    assert retry(root, settings=QUICK).failed == 1
    assert main(["query", str(index), "--output", str(tmp_path / "some.parquet")]) == 0
    assert pq.read_table(tmp_path / "some.parquet").column("updated").null_count == 2
    assert capfd.readouterr().err.count("Traceback") == 0


def test_an_item_that_was_written_anew_is_seen_with_an_older_index(
    download: Any, server: FaultServer, tmp_path: Path
) -> None:
    href = server.put("/a.csv", b"a,b\n")
    indexes = []
    for year in ("2021", "2022"):
        properties = {"datetime": "2020-06-01T12:00:00Z", "updated": year}
        download(item("a", {"table": href}, properties=properties))
        found = tmp_path / "out" / DATASET / "mlhub_stac_assets.parquet"
        indexes.append(tmp_path / f"{year}.parquet")
        indexes[-1].write_bytes(found.read_bytes())
    without(indexes[0], "updated")
    assert list(compare(*indexes).fresh) == [CHANGED]


def test_a_partition_without_the_youngest_columns(tmp_path: Path) -> None:
    assets = [Asset("c/i/a.csv", "https://h.test/a", "c", "i", "a", 3, "1220")]
    path = tmp_path / "partition.parquet"
    write_assets(path, assets)
    without(path, "media_type", "updated")
    assert list(read_assets(path)) == assets
