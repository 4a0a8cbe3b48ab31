from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from mlhub_core.selection.partition import (
    MAX_PARTITIONS,
    Asset,
    Partition,
    partition_count,
    read_assets,
    weights,
    write_assets,
    write_partitions,
)

SIZES = st.one_of(st.none(), st.integers(0, 10), st.integers(0, 10**6), st.integers(0, 10**11))
ROWS = st.lists(st.tuples(SIZES, st.booleans()), min_size=1, max_size=300)
PER_FILE, UNKNOWN = 50_000, 200_000


def _cut(
    rows: list[tuple[int | None, bool]], workers: int, folder: Path
) -> tuple[tuple[Partition, ...], list[list[Asset]], list[Asset]]:
    """Partitions, the assets in each, and the assets that should be in them."""
    assets = [
        Asset(f"c/i{number}/a.tif", f"https://files.test/{number}", "c", f"i{number}", "a", size)
        for number, (size, _) in enumerate(rows)
    ]
    kept = [asset for asset, (_, wanted) in zip(assets, rows, strict=True) if wanted]
    write_assets(folder / "selection.parquet", kept)
    table = pq.read_table(folder / "selection.parquet")
    weight = float(weights(table.column("file_size").combine_chunks()).sum())
    count = partition_count(len(kept), workers)
    parts = write_partitions(table.to_batches(max_chunksize=7), folder, count, weight)
    return parts, [list(read_assets(part.path)) for part in parts], kept


@settings(max_examples=settings.default.max_examples // 2)
@given(ROWS.filter(lambda rows: any(kept for _, kept in rows)), st.integers(1, 40))
def test_every_file_is_in_one_partition(rows: list[tuple[int | None, bool]], workers: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        parts, contents, kept = _cut(rows, workers, Path(folder))
    assert [asset for assets in contents for asset in assets] == kept
    assert 1 <= len(parts) <= partition_count(len(kept), workers)
    assert [(part.number, part.of) for part in parts] == [
        (number, len(parts)) for number in range(1, len(parts) + 1)
    ]
    for part, assets in zip(parts, contents, strict=True):
        sizes = [asset.file_size for asset in assets]
        assert part.files == len(assets) > 0
        assert part.known_bytes == sum(size for size in sizes if size is not None)
        assert part.unknown_sizes == sizes.count(None)


def _weight(asset: Asset) -> int:
    return PER_FILE + (UNKNOWN if asset.file_size is None else asset.file_size)


@settings(deadline=None)
@given(ROWS.filter(lambda rows: any(kept for _, kept in rows)), st.integers(1, 8))
def test_partitions_weigh_about_the_same(rows: list[tuple[int | None, bool]], workers: int) -> None:
    """None is heavier than its share by more than the largest file, which cannot be cut."""
    with tempfile.TemporaryDirectory() as folder:
        _, contents, kept = _cut(rows, workers, Path(folder))
    share = sum(map(_weight, kept)) / partition_count(len(kept), workers)
    largest = max(map(_weight, kept))
    for assets in contents:
        assert sum(map(_weight, assets)) <= (share + largest) * 1.000001


def test_equal_files_are_shared_out_evenly(tmp_path: Path) -> None:
    parts, _, _ = _cut([(1000, True)] * 1000, 4, tmp_path)
    assert [part.files for part in parts] == [125] * 8
    assert parts[0].label == "1/8"


@given(st.integers(0, 10**9), st.integers(1, 64))
def test_how_many(files: int, workers: int) -> None:
    count = partition_count(files, workers)
    assert 1 <= count <= min(2 * workers, MAX_PARTITIONS, max(files, 1))
    assert count == 2 * workers or count in (files, MAX_PARTITIONS, 1)
