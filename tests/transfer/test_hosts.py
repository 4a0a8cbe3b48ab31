"""Which hosts a plan's files come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlhub_core.exceptions import StorageError
from mlhub_core.selection.partition import Asset, Partition, write_assets
from mlhub_core.settings import TransferSettings
from mlhub_core.transfer.sources import asset_hosts

HREFS = [
    "https://a.example/1.tif",
    "https://a.example/2.tif?key=x",
    "https://A.example/3.tif",
    "http://b.example:8080/x/y",
    "s3://bucket/key",
    "demo/c/i/carried.json",
    "ftp://c.example/x",
    "https://moved.example/old/x.tif",
    "https://moved.example/other/x.tif",
    "",
]
SETTINGS = TransferSettings(
    mirrors=(
        ("https://moved.example/", "https://far.example/"),
        ("https://moved.example/old/", "http://near.example/new/"),
    )
)


def partition(path: Path, hrefs: list[str]) -> Partition:
    rows = [Asset(f"{number}", href, "c", "i", "k") for number, href in enumerate(hrefs)]
    return Partition(1, 1, path, write_assets(path, rows))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (SETTINGS, {"far.example", "near.example", "bucket.s3.amazonaws.com"}),
        (TransferSettings(), {"moved.example", "bucket.s3.amazonaws.com"}),
        (
            TransferSettings(s3_endpoint="http://s3.example:9000"),
            {"moved.example", "s3.example:9000"},
        ),
    ],
)
def test_hosts(tmp_path: Path, settings: TransferSettings, expected: set[str]) -> None:
    parts = [
        partition(tmp_path / "1.parquet", HREFS[:5]),
        partition(tmp_path / "2.parquet", HREFS[5:]),
    ]
    assert asset_hosts(parts, settings) == {"a.example", "b.example:8080"} | expected


def test_a_partition_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"gone\.parquet"):
        asset_hosts([Partition(1, 1, tmp_path / "gone.parquet", 1)], TransferSettings())
