"""Two indexes compared: against sets, for catalogs of all sorts."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlhub_core.exceptions import StorageError
from mlhub_core.sync.compare import ADDED, CHANGED, COLUMNS, SAME, compare

TYPES = {"file_size": pa.int64()}
SCHEMA = pa.schema([(name, TYPES.get(name, pa.string())) for name in COLUMNS])


def row(key: str, **fields: Any) -> dict[str, Any]:
    plain = {"collection_id": "c", "item_id": "i", "asset_key": key, "save_path": f"c/i/{key}"}
    return {**dict.fromkeys(COLUMNS), **plain, "href": f"https://files.test/{key}", **fields}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), path)
    return path


def verdict(tmp_path: Path, before: dict[str, Any], after: dict[str, Any]) -> int:
    old = write(tmp_path / "old.parquet", [row("a", **before)])
    new = write(tmp_path / "new.parquet", [row("a", **after)])
    return int(compare(old, new).fresh[0])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"href": "https://files.test/a"}, {"href": "https://files.test/b"}),
        ({"href": "https://files.test/a"}, {"href": "https://other.test/a"}),
        ({"href": "https://files.test/a?v=1"}, {"href": "https://files.test/a?v=2"}),
        ({"file_size": 1}, {"file_size": 2}),
        ({"file_size": None}, {"file_size": 0}),
        ({"checksum": "1220aa"}, {"checksum": "1220bb"}),
        ({"properties": '{"updated": "2021"}'}, {"properties": '{"updated": "2022"}'}),
        ({"properties": "{}"}, {"properties": '{"updated": "2022"}'}),
        ({"save_path": "c/i/a.tif"}, {"save_path": "c/_common/a.tif"}),
        ({"file_size": 1, "checksum": None}, {"file_size": None, "checksum": "1"}),
    ],
)
def test_what_makes_it_another_one(
    tmp_path: Path, before: dict[str, Any], after: dict[str, Any]
) -> None:
    assert verdict(tmp_path, before, after) == CHANGED


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"properties": '{"datetime": "2021"}'}, {"properties": '{"datetime": "2022"}'}),
        (
            {"properties": '{"x": {"updated": "2021"}}'},
            {"properties": '{"x": {"updated": "2022"}}'},
        ),
        (
            {"href": "https://files.test/a?X-Amz-Signature=1&X-Amz-Date=2"},
            {"href": "https://files.test/a?X-Amz-Signature=3&X-Amz-Date=4"},
        ),
        ({"href": "http://127.0.0.1:5000/a"}, {"href": "http://127.0.0.1:6000/a"}),
    ],
)
def test_what_does_not(tmp_path: Path, before: dict[str, Any], after: dict[str, Any]) -> None:
    assert verdict(tmp_path, before, after) == SAME


NAMES = st.text("ab\x1f/é", max_size=3)
ASSETS = st.dictionaries(
    st.tuples(NAMES, st.none() | NAMES, NAMES),
    st.tuples(st.integers(0, 2), st.sampled_from(["", "2021", "2022"])),
    max_size=30,
)


def table(assets: dict[Any, Any]) -> list[dict[str, Any]]:
    return [
        row(key, collection_id=collection, item_id=item, file_size=size)
        | {"save_path": "p", "href": "h", "properties": json.dumps({"updated": updated})}
        for (collection, item, key), (size, updated) in assets.items()
    ]


@settings(max_examples=30, deadline=None)
@given(old=ASSETS, new=ASSETS)
def test_as_sets_say(old: dict[Any, Any], new: dict[Any, Any]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        paths = [write(root / f"{n}.parquet", table(rows)) for n, rows in enumerate((old, new))]
        diff = compare(*paths)
    expected = [
        ADDED if name not in old else SAME if old[name] == state else CHANGED
        for name, state in new.items()
    ]
    assert diff.fresh.tolist() == expected
    assert diff.removed.tolist() == [name not in new for name in old]
    counts = Counter(expected)
    assert (diff.added, diff.changed) == (counts[ADDED], counts[CHANGED])


def test_an_index_that_cannot_be_read_is_an_error_of_ours(tmp_path: Path) -> None:
    new = write(tmp_path / "new.parquet", [row("a")])
    (tmp_path / "old.parquet").write_bytes(b"not parquet")
    with pytest.raises(StorageError, match=r"old\.parquet"):
        compare(tmp_path / "old.parquet", new)
