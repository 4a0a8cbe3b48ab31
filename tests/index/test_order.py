"""Rows lie by place and time, whatever came first and however little memory there is."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlhub_core.index.items import Asset, Item
from mlhub_core.index.rows import ItemBatch, expand
from mlhub_core.index.writer import Spool, keys, positions

ASSETS = [
    Asset("a", "https://x/a", "image/tiff", ["data"], 1, None, None, None, "a.tif"),
    Asset("b", "https://x/b", None, [], None, None, None, None, "b"),
]
NAMES = ["a.tif", "b"]


def entry(number: int, cover: Any, moment: int | None) -> Item:
    return Item("coll", None, f"i{number}", moment, None, None, cover, cover, None, "{}", ["s"])


def entries(count: int, seed: int = 1) -> list[Item]:
    numbers = random.Random(seed)
    found = []
    for number in range(count):
        x, y = numbers.uniform(5, 15), numbers.uniform(40, 50)
        cover = None if number % 50 == 0 else (x, y, x + 0.01, y + 0.01)
        found.append(entry(number, cover, numbers.randrange(10**12)))
    return found


def spooled(path: Path, items: list[Item], bucket: int) -> list[dict[str, Any]]:
    spool, rows = Spool(path, bucket), ItemBatch()
    for number, item in enumerate(items):
        rows.add("coll", item, f"coll/{item.item_id}", ASSETS, NAMES)
        if number % 100 == 99 or number == len(items) - 1:
            spool.add(rows.to_arrow())
            rows.clear()
    found: list[dict[str, Any]] = []
    for batch, order in spool.in_order():
        found += expand(batch, order, {}).to_pylist()
    spool.close()
    return found


@pytest.mark.parametrize("count", [1, 99, 600])
def test_the_same_however_many_buckets(tmp_path: Path, count: int) -> None:
    items = entries(count)
    wanted = spooled(tmp_path / "s", items, 10**9)
    assert spooled(tmp_path / "s", items, 20_000) == wanted
    assert not list(tmp_path.iterdir())
    assert sorted(row["save_path"] for row in wanted) == sorted(
        f"coll/{item.item_id}/{name}" for item in items for name in ("a.tif", "b")
    )
    assert [row["asset_key"] for row in wanted] == ["a", "b"] * count


def test_what_is_left_behind_is_removed(tmp_path: Path) -> None:
    spool, rows = Spool(tmp_path / "s", 1), ItemBatch()
    for item in entries(10):
        rows.add("coll", item, "d", ASSETS, NAMES)
    spool.add(rows.to_arrow())
    assert list(tmp_path.iterdir())
    spool.close()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dimension", [0, 1, 2])
def test_a_tenth_of_one_dimension_leaves_most_groups_out(dimension: int) -> None:
    where = np.random.default_rng(3).random((3, 6400))
    where[2] *= 1e15
    groups = np.array_split(np.argsort(keys(where), kind="stable"), 64)
    values = where[dimension]
    low, high = np.quantile(values, [0.4, 0.5])
    touched = sum(values[group].min() <= high and values[group].max() >= low for group in groups)
    assert touched <= 32


def test_what_has_no_place_comes_last() -> None:
    nan = float("nan")
    where = np.array([[nan, 1.0, 2.0, nan], [nan, 1.0, 2.0, 0.0], [0.0, nan, 5.0, nan]])
    assert set(np.argsort(keys(where))[:2].tolist()) == {1, 2}


def test_a_box_around_the_world_is_no_place() -> None:
    rows = ItemBatch()
    for number, cover in enumerate([(-180.0, 0.0, 180.0, 1.0), (1.0, 1.0, 2.0, 2.0), None]):
        rows.add("coll", entry(number, cover, None), "d", ASSETS, NAMES)
    where = positions(rows.to_arrow())
    assert np.isnan(where[0]).tolist() == [True, False, True]
    assert np.isnan(where[2]).all()
