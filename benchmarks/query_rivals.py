"""One rival, one question, in a process of its own; says as JSON what it took.

Seconds and CPU are those of the question: file opened, filtered, result written, interpreter and
libraries already there. The peak is that of the whole process.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlhub_core  # noqa: F401 - before Arrow, as in the commands
from benchmarks.query_data import coast

BOX = (10.0, 44.0, 13.0, 46.4)
MONTH = ("2017-08-01T00:00:00", "2017-08-31T23:59:59.999999")
COAST_VERTICES = 10_000
COLUMNS = "save_path, href, collection_id, item_id, asset_key, file_size, checksum"
THREADS = 2


def ours(index: Path, question: str, out: Path) -> Callable[[], int]:
    """The plan of a download: the rows that match, in partition files."""
    import geopandas  # noqa: F401 - libraries are there before the clock runs
    import pyarrow as pa
    import pyarrow.dataset

    from mlhub_core.selection.filters import AssetFilter
    from mlhub_core.selection.query import plan_assets

    pa.set_cpu_count(THREADS)
    wanted = (
        AssetFilter.create(bbox=BOX, datetime="2017-08")
        if question == "box"
        else AssetFilter.create(intersects=coast(COAST_VERTICES))
    )
    return lambda: plan_assets("bench", index, wanted, out).files


def duckdb(index: Path, question: str, out: Path) -> Callable[[], int]:
    """The same rows of the same file, by its spatial extension, in one Parquet file."""
    import duckdb as engine
    import duckdb_extension_spatial
    import shapely

    connection = engine.connect(config={"threads": THREADS})
    place = Path(duckdb_extension_spatial.__file__).parent / "extensions"
    extension = next(place.glob("*/spatial.duckdb_extension"))
    connection.execute(f"LOAD '{extension}'")
    shape = (
        shapely.box(*BOX)
        if question == "box"
        else shapely.from_geojson(json.dumps(coast(COAST_VERTICES)))
    )
    west, south, east, north = shape.bounds
    connection.execute("CREATE TABLE shape AS SELECT ST_GeomFromText(?) AS g", [shape.wkt])
    near = (
        f"bbox.xmin <= {east} AND bbox.xmax >= {west} AND bbox.ymin <= {north} "
        f"AND bbox.ymax >= {south}"
    )
    where = near
    if question == "box":
        where += f" AND datetime BETWEEN '{MONTH[0]}+00' AND '{MONTH[1]}+00'"
    else:
        where += " AND ST_Intersects(geometry, (SELECT g FROM shape))"
    statement = (
        f"COPY (SELECT {COLUMNS} FROM '{index}' WHERE {where}) TO '{out}' "
        "(FORMAT parquet, COMPRESSION zstd)"
    )
    return lambda: int(connection.execute(statement).fetchall()[0][0])


def main() -> None:
    """Run what the command line names."""
    rival, index, question, out = sys.argv[1:]
    run = {"ours": ours, "duckdb": duckdb}[rival](Path(index), question, Path(out))
    wall, cpu = time.perf_counter(), time.process_time()
    files = run()
    answer: dict[str, Any] = {
        "files": files,
        "seconds": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
