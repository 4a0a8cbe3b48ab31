"""The index against a naive reading of the same archive with ``json`` and ``tarfile``."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shapely.geometry import shape

from mlhub_core.paths import COMMON_ASSET_KEYS, case_key, extension, safe_name
from mlhub_core.sources.archive import CatalogArchive
from tests.index.kit import DATASET, SQUARE, asset, described, index_of, item, place

ids = st.sampled_from(["a", "A", "b", "é", "c d", "..", "x" * 210, "con", "e/f"])
keys = st.sampled_from(["B02", "b02", "a.tif", "a", "documentation", "readme", "é", "../z", "i"])
urls = st.sampled_from(
    ["https://x/1.tif", "https://x/2.tif", "https://x/1", "s3://b/k é.csv", "https://x/d.json"]
)
geometries = st.sampled_from(
    [None, SQUARE, {"type": "Point", "coordinates": [1, 2]}, {"type": "GeometryCollection"}]
)
items = st.builds(
    item,
    ids,
    st.sampled_from(["coll", "Coll", "other", "_common"]),
    geometry=geometries,
    bbox=st.sampled_from([None, [1, 2, 3, 4], [170, -5, -170, 5], [1, 2, 0, 3, 4, 9]]),
    properties=st.sampled_from([{}, {"datetime": "2020-01-01T00:00:00Z"}, {"datetime": None}]),
    assets=st.dictionaries(keys, st.builds(asset, urls), max_size=4),
)
catalogs = st.lists(st.tuples(items, st.booleans()), max_size=7)


def naive_rows(archive: CatalogArchive) -> Counter[tuple[Any, ...]]:
    found: Counter[tuple[Any, ...]] = Counter()
    with tarfile.open(archive.path) as packed:
        for info in packed:
            file = packed.extractfile(info)
            value = json.load(file) if file else {}
            if value.get("type") != "Feature":
                continue
            moment = value.get("properties", {}).get("datetime")
            for key, one in value["assets"].items():
                found[
                    value["collection"],
                    value["id"],
                    key,
                    one["href"],
                    moment and datetime.fromisoformat(moment),
                    json.dumps(value["properties"], separators=(",", ":")),
                    naive_geometry(value.get("geometry")),
                    naive_box(value.get("bbox")),
                ] += 1
    return found


def naive_geometry(geometry: dict[str, Any] | None) -> str | None:
    if geometry is None or geometry == {"type": "GeometryCollection"}:
        return None
    return str(shape(geometry).wkt)


def naive_box(box: list[float] | None) -> tuple[float, ...] | None:
    if box is None:
        return None
    return (*box[:2], *box[len(box) // 2 :][:2])


def as_naive(row: dict[str, Any]) -> tuple[Any, ...]:
    box = row["item_bbox"]
    return (
        row["collection_id"],
        row["item_id"],
        row["asset_key"],
        row["href"],
        row["datetime"],
        row["properties"],
        shapely.from_wkb(row["geometry"]).wkt if row["geometry"] else None,
        tuple(box[name] for name in ("xmin", "ymin", "xmax", "ymax")) if box else None,
    )


def files_of(catalog: list[tuple[dict[str, Any], bool]]) -> list[tuple[str, Any]]:
    files: list[tuple[str, Any]] = [(f"{DATASET}/catalog.json", {"type": "Catalog"})]
    for number, (one, by_the_rules) in enumerate(catalog):
        name = place(f"{number}", "coll") if by_the_rules else f"{DATASET}/{number}.json"
        files.append((name, one))
    return files


@settings(
    max_examples=settings.default.max_examples // 5,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(catalog=catalogs)
def test_rows_and_save_paths(
    tmp_path_factory: pytest.TempPathFactory, catalog: list[tuple[dict[str, Any], bool]]
) -> None:
    directory = tmp_path_factory.mktemp("x")
    index, rows = index_of(directory, files_of(catalog))
    archive = described(directory / f"{DATASET}.tar.gz")
    assert Counter(map(as_naive, rows)) == naive_rows(archive)
    assert index.assets == len(rows)
    assert index.files == len({row["save_path"] for row in rows})
    check_save_paths(rows)
    _, backwards = index_of(directory / "backwards", files_of(catalog)[::-1])
    assert places_of(rows) == places_of(backwards)


def places_of(rows: list[dict[str, Any]]) -> set[tuple[str, str, str, str, str]]:
    names = ("collection_id", "item_id", "asset_key", "href", "save_path")
    return {tuple(row[name] for name in names) for row in rows}  # type: ignore[misc]


def check_save_paths(rows: list[dict[str, Any]]) -> None:
    owner: dict[str, tuple[str, str]] = {}
    for row in rows:
        path = row["save_path"]
        assert not path.startswith("/")
        assert 2 <= len(path.split("/")) <= 3
        assert not {"", ".", ".."} & set(path.split("/"))
        # One place, one file, and one spelling, even where case does not count.
        assert owner.setdefault(case_key(path), (path, row["href"])) == (path, row["href"])
        assert row["common_asset"] == ("_common" in path.split("/"))
        if row["common_asset"]:
            assert row["asset_key"] in COMMON_ASSET_KEYS
            assert path.endswith(safe_name(row["asset_key"]) + extension(row["href"]))
    for key in COMMON_ASSET_KEYS:
        of_key = [row for row in rows if row["asset_key"] == key]
        if len({row["href"] for row in of_key}) == 1:
            assert all(row["save_path"].startswith("_common/") for row in of_key)


PEAK = """
import resource, sys
from pathlib import Path
from mlhub_core.index.build import index_assets
from tests.index.kit import paths_in
from mlhub_core.sources.archive import CatalogArchive
path = Path(sys.argv[1])
archive = CatalogArchive(path, "demo", path.stat().st_size, "0")
index = index_assets(archive, paths_in(path.parent))
print(index.assets, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def write_large(path: Path, count: int) -> None:
    with tarfile.open(path, "w:gz", compresslevel=1) as packed:
        for number in range(count):
            assets = {f"B{band}": asset(f"https://x/{number}/{band}.tif") for band in range(9)}
            assets["documentation"] = asset("https://x/documentation.pdf")
            one = item(f"item_{number}", assets=assets, properties={"text": "x" * 2500})
            data = json.dumps(one).encode()
            info = tarfile.TarInfo(place(f"item_{number}"))
            info.size = len(data)
            packed.addfile(info, io.BytesIO(data))


@pytest.mark.slow
def test_memory_does_not_grow_with_the_catalog(tmp_path: Path) -> None:
    peaks = []
    for count in (50_000, 75_000):  # so many that items no longer stay in memory to be sorted
        path = tmp_path / f"{count}" / "demo.tar.gz"
        path.parent.mkdir()
        write_large(path, count)
        out = subprocess.run(
            [sys.executable, "-c", PEAK, str(path)], check=True, capture_output=True, text=True
        ).stdout.split()
        assert int(out[0]) == count * 10
        peaks.append(int(out[1]))
    # Kept by mistake, items would take 5,000 bytes each more, 375,000 kB of the larger catalog. The
    # difference of the two says less: the allocator's ups and downs are 100,000 kB.
    assert max(peaks) < 900_000, peaks
