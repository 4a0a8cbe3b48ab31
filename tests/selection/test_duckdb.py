"""A larger index, asked by us and by DuckDB with its spatial functions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from benchmarks.query_data import coast, write_index
from mlhub_core.selection.filters import AssetFilter
from mlhub_core.selection.plan import Plan
from mlhub_core.selection.query import plan_assets

ROWS = 70_000
BOX = (10.0, 44.0, 13.0, 46.4)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("index") / "index.parquet"
    assert write_index(path, ROWS) == ROWS
    return path


@pytest.fixture(scope="module")
def duckdb() -> Any:
    engine = pytest.importorskip("duckdb")
    spatial = pytest.importorskip("duckdb_extension_spatial")
    folder = Path(spatial.__file__).parent / "extensions"
    with engine.connect() as connection:
        connection.execute(f"LOAD '{next(folder.glob('*/spatial.duckdb_extension'))}'")
        yield connection


def planned(index: Path, directory: Path, **filters: Any) -> Plan:
    return plan_assets("bench", index, AssetFilter.create(**filters), directory)


def paths_of(plan: Plan) -> list[str]:
    """What all partitions list, in order."""
    found = []
    for part in plan.partitions:
        found += pq.read_table(part.path).column("save_path").to_pylist()
    assert len(found) == plan.files
    return found


def counted(duckdb: Any, index: Path, where: str, *values: Any) -> list[str]:
    rows = duckdb.execute(
        f"SELECT save_path FROM '{index}' WHERE {where} ORDER BY file_row_number", values
    )
    return [row[0] for row in rows.fetchall()]


def test_more_rows_than_are_held(index: Path, tmp_path: Path) -> None:
    plan = planned(index, tmp_path / "plan")
    assert plan.files == ROWS
    assert paths_of(plan) == pq.read_table(index).column("save_path").to_pylist()
    assert plan.known_bytes == sum(pq.read_table(index).column("file_size").to_pylist())


def test_a_box_and_a_month(index: Path, tmp_path: Path, duckdb: Any) -> None:
    west, south, east, north = BOX
    plan = planned(index, tmp_path / "plan", bbox=BOX, datetime="2017-08")
    assert 0 < plan.files < ROWS
    where = (
        "ST_Intersects(geometry, ST_MakeEnvelope(?, ?, ?, ?)) AND datetime BETWEEN "
        "'2017-08-01T00:00:00+00' AND '2017-08-31T23:59:59.999999+00'"
    )
    assert paths_of(plan) == counted(duckdb, index, where, *BOX)
    covering = f"bbox.xmin <= {east} AND bbox.xmax >= {west} AND bbox.ymin <= {north}"
    assert planned(index, tmp_path / "all", bbox=BOX).files == len(
        counted(duckdb, index, f"{covering} AND bbox.ymax >= {south}")
    )


def test_a_coast_line(index: Path, tmp_path: Path, duckdb: Any) -> None:
    shape = coast(300)
    plan = planned(index, tmp_path / "plan", intersects=shape, intersects_with="geometry")
    where = "ST_Intersects(geometry, ST_GeomFromGeoJSON(?))"
    assert 0 < plan.files < ROWS
    assert paths_of(plan) == counted(duckdb, index, where, json.dumps(shape))


def test_the_footprints_are_geometries_of_theirs(index: Path, duckdb: Any) -> None:
    kinds = duckdb.execute(
        f"SELECT ST_GeometryType(geometry), count(*) FROM '{index}' GROUP BY ALL"
    ).fetchall()
    assert [(str(kind), count) for kind, count in kinds] == [("POLYGON", ROWS)]
