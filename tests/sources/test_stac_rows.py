"""Items out of stac-geoparquet: those that went in, whoever wrote the file."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import geopandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlhub_core.sources import open_source
from mlhub_core.sources.base import SourceSpec, Wanted
from mlhub_core.sources.documents import Document, Kind
from mlhub_core.sources.stac_rows import items_of, values

TABLES = Path(__file__).parent / "tables"
"""Written by the tools that their names say, of the items in items.json."""
ITEMS: list[dict[str, Any]] = json.loads((TABLES / "items.json").read_bytes())["features"]
REFERENCE = TABLES / "stac-geoparquet-0.8.3.parquet"


def documents(path: Path, wanted: Wanted | None = None) -> list[Document]:
    source = open_source(SourceSpec(str(path), wanted=wanted or Wanted()))
    catalog = source.here()
    assert catalog is not None
    return list(catalog.read())


def items(path: Path, wanted: Wanted | None = None) -> list[dict[str, Any]]:
    return [one.objects[0] for one in documents(path, wanted) if one.kind is Kind.ITEMS]


def ids(path: Path, **wanted: Any) -> list[int]:
    return [int(item["id"].rpartition("-")[2]) for item in items(path, Wanted(**wanted))]


def test_stac_geoparquet() -> None:
    assert items(REFERENCE) == ITEMS
    (collection,) = (one for one in documents(REFERENCE) if one.kind is Kind.COLLECTION)
    assert collection.objects[0]["license"] == "CC-BY-4.0"


def test_rustac() -> None:
    assert items(TABLES / "rustac-0.9.18.parquet") == ITEMS


def by_geopandas(path: Path) -> None:
    geopandas.read_parquet(REFERENCE).to_parquet(path, write_covering_bbox=False)


def by_duckdb(path: Path) -> None:
    duckdb.execute(f"COPY (FROM read_parquet('{REFERENCE}')) TO '{path}' (FORMAT parquet)")


def as_json_text(path: Path) -> None:
    table = pq.read_table(REFERENCE)
    for name in ("assets", "links", "bbox"):
        values = [item[name] and json.dumps(item[name]) for item in ITEMS]
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(values))
    pq.write_table(table.drop_columns(["type", "stac_extensions"]), path)


@pytest.mark.parametrize(
    ("write", "lost"),
    [(by_geopandas, {"bbox"}), (by_duckdb, set()), (as_json_text, {"stac_extensions"})],
)
def test_other_writers(write: Callable[[Path], None], lost: set[str], tmp_path: Path) -> None:
    write(tmp_path / "items.parquet")
    there = [{name: one[name] for name in one if name not in lost} for one in ITEMS]
    assert items(tmp_path / "items.parquet") == there


def test_a_directory(tmp_path: Path) -> None:
    table = pq.read_table(REFERENCE)
    pq.write_to_dataset(table, tmp_path / "parts", partition_cols=["collection"])
    (tmp_path / "parts" / "_metadata.parquet").write_bytes(b"hidden")
    found = sorted(items(tmp_path / "parts"), key=lambda item: str(item["id"]))
    assert found == ITEMS
    assert ids(tmp_path / "parts", collections=("south",)) == [3, 4]


@pytest.mark.parametrize(
    ("wanted", "left"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"collections": ("south",)}, [3, 4]),
        ({"start": datetime(2020, 6, 6, tzinfo=UTC)}, [2, 3, 4]),
        ({"end": datetime(2020, 6, 6, tzinfo=UTC)}, [0, 1]),
        (
            {
                "start": datetime(2020, 7, 31, tzinfo=UTC),
                "end": datetime(2020, 9, 1, tzinfo=UTC),
            },
            [3],
        ),
        ({"bbox": (11.5, 51.25, 12.0, 60.0)}, [0, 1]),
        ({"bbox": (179.5, -20.0, -179.9, 0.0)}, [4]),
        ({"bbox": (-179.5, -20.0, -179.2, 0.0)}, [4]),
        ({"intersects": '{"type": "Point", "coordinates": [14.5, 50.5]}'}, [2]),
    ],
)
@pytest.mark.parametrize("rows", [1, 5])
def test_what_is_left_out(
    wanted: dict[str, Any], left: list[int], rows: int, tmp_path: Path
) -> None:
    path = tmp_path / "items.parquet"
    pq.write_table(pq.read_table(REFERENCE), path, row_group_size=rows)
    assert ids(path, **wanted) == left
    assert ids(TABLES / "rustac-0.9.18.parquet", **wanted) == left


def test_identity_covers_what_is_left_out() -> None:
    def identity(**wanted: Any) -> str:
        catalog = open_source(SourceSpec(str(REFERENCE), wanted=Wanted(**wanted))).here()
        assert catalog is not None
        return catalog.sha256

    found = {
        identity(),
        identity(collections=("north",)),
        identity(bbox=(1.0, 2.0, 3.0, 4.0)),
        identity(start=datetime(2020, 1, 1, tzinfo=UTC)),
    }
    assert len(found) == 4
    assert identity(where="gsd < 10") == identity()


def test_what_lacks_time_or_place_stays_to_be_counted(tmp_path: Path) -> None:
    rows = [
        {"id": "a", "assets": {"x": {"href": "x"}}, "bbox": None, "datetime": None},
        {
            "id": "b",
            "assets": {"x": {"href": "x"}},
            "bbox": {"xmin": 190.0, "ymin": 0.0, "xmax": 191.0, "ymax": 1.0},
            "datetime": datetime(2020, 1, 1, tzinfo=UTC),
        },
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "items.parquet")
    wanted = Wanted(bbox=(-171.0, 0.0, -169.0, 1.0), start=datetime(2019, 1, 1, tzinfo=UTC))
    assert [item["id"] for item in items(tmp_path / "items.parquet", wanted)] == ["a", "b"]


def test_geometry_that_is_none() -> None:
    rows = pa.record_batch({"id": ["a", "b"], "geometry": pa.array([None, b"no"], pa.binary())})
    assert [item["geometry"] for item in items_of(rows)] == [None, "no WKB"]


def test_moments() -> None:
    east = timezone(timedelta(hours=2))
    moments = [
        datetime(2020, 1, 1, 1, tzinfo=east),
        datetime(2020, 1, 1, 0, 0, 10, 120_000, tzinfo=UTC),
        datetime(2020, 1, 10, tzinfo=UTC),
        None,
    ]
    told = ["2019-12-31T23:00:00Z", "2020-01-01T00:00:10.12Z", "2020-01-10T00:00:00Z", None]
    for unit in ("ms", "us", "ns"):
        assert values(pa.array(moments, pa.timestamp(unit, "Asia/Tokyo"))) == told
    assert values(pa.array([1], pa.timestamp("s"))) == ["1970-01-01T00:00:01Z"]


JSON = st.recursive(
    st.none() | st.booleans() | st.text(max_size=3) | st.lists(st.integers(-9, 9), max_size=2),
    lambda inner: st.fixed_dictionaries({}, optional={"a": inner, "b": inner}),
    max_leaves=6,
)


@settings(max_examples=40)
@given(st.lists(st.fixed_dictionaries({}, optional={"x": st.lists(JSON), "y": JSON})), st.data())
def test_values_are_those_of_arrow(rows: list[Any], data: st.DataObject) -> None:
    try:
        array = pa.array(rows, from_pandas=False)
    except pa.ArrowException:
        return  # of several types
    start = data.draw(st.integers(0, len(rows)))
    assert values(array[start:]) == [without_nulls(one) for one in array[start:].to_pylist()]


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_nulls(one) for name, one in value.items() if one is not None}
    return [without_nulls(one) for one in value] if isinstance(value, list) else value


def test_other_types() -> None:
    assert values(pa.array([Decimal("1.5"), None])) == [1.5, None]
    assert values(pa.array([date(2020, 1, 2)])) == ["2020-01-02"]
    assert values(pa.array([b"x"])) == [None]
    assert values(pa.array([[1, 2], None], pa.list_(pa.int64(), 2))) == [[1, 2], None]
    assert values(pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64()))) == [
        {"a": 1},
        None,
    ]
    assert values(pa.array(["a", None, "a"]).dictionary_encode()) == ["a", None, "a"]
    assert values(pa.array([{}, {}], pa.struct([]))) == [{}, {}]
