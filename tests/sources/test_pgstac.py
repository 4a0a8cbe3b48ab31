"""A STAC API that others wrote, with 20,000 items, as a source beside an archive of the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest

from mlhub_core.cli import main
from tests.acceptance.kit import tar_gz
from tests.sources.pgstac import Server, pgstac

pytestmark = pytest.mark.slow

COUNT = 20_000
PAGE = 500
COLLECTION = {
    "type": "Collection",
    "stac_version": "1.0.0",
    "id": "fields",
    "description": "Fields",
    "license": "CC0-1.0",
    "extent": {
        "spatial": {"bbox": [[-180, -90, 180, 90]]},
        "temporal": {"interval": [["2020-01-01T00:00:00Z", None]]},
    },
    "links": [],
}


def item(number: int) -> dict[str, Any]:
    west, south = number % 200 * 1.79 - 180, number // 200 * 1.2 - 60
    east, north = west + 1, south + 1
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": f"field-{number:05}",
        "collection": "fields",
        "bbox": [west, south, east, north],
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {
            "datetime": f"2020-{number % 12 + 1:02}-01T12:00:00Z",
            "eo:cloud_cover": number % 100,
            "platform": f"sat-{number % 3}",
        },
        "links": [],
        "assets": {"image": {"href": f"https://data.example/{number}.tif", "type": "image/tiff"}},
    }


class Both(NamedTuple):
    api: Server
    archive: Path


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    home = tmp_path_factory.mktemp("pgstac")
    items = [item(number) for number in range(COUNT)]
    members = {"fields/catalog.json": {"type": "Catalog", "id": "fields", "links": []}}
    members["fields/fields/collection.json"] = COLLECTION
    for one in items:
        members[f"fields/fields/{one['id']}/{one['id']}.json"] = one
    archive = home / "fields.tar.gz"
    archive.write_bytes(tar_gz({name: json.dumps(one).encode() for name, one in members.items()}))
    with pgstac(home, COLLECTION, items) as server:
        yield Both(server, archive)


def rows(directory: Path) -> list[dict[str, Any]]:
    found = pq.read_table(next(directory.glob("*/mlhub_stac_assets.parquet"))).to_pylist()
    for row in found:
        del row["item_url"]  # an API gives items a self link
        row["properties"] = json.loads(row["properties"])
        row["item_bbox"], row["bbox"] = (
            {side: round(value, 9) for side, value in (row[name] or {}).items()}
            for name in ("item_bbox", "bbox")
        )
    return sorted(found, key=lambda row: (row["item_id"], row["asset_key"]))


def planned(directory: Path) -> int:
    """Files of the plan that was made last."""
    plans = sorted(directory.rglob("plan.json"), key=lambda path: path.stat().st_mtime_ns)
    return int(json.loads(plans[-1].read_text())["files"])


def command(source: object, out: Path, *words: str) -> list[str]:
    return [
        "download",
        str(source),
        "--output-dir",
        str(out),
        "--dry-run",
        "--no-unarchive",
        *words,
    ]


def test_the_same_rows_as_of_an_archive_in_spite_of_a_kill(both: Both, tmp_path: Path) -> None:
    assert main(command(both.archive, both.archive.parent / "out")) == 0
    words = command(f"{both.api.url}/collections/fields", tmp_path / "api")
    both.api.searches()
    running = subprocess.Popen([sys.executable, "-m", "mlhub_core", *words], env={**os.environ})
    before = [both.api.wait_for("/search") for _ in range(10)]
    running.send_signal(signal.SIGKILL)
    running.wait(300)
    before += both.api.searches()
    assert main(words) == 0
    after = both.api.searches()
    pages = COUNT // PAGE
    assert pages <= len(before) + len(after) <= pages + 2  # those that were under way
    assert len(after) <= pages - 9
    of_api, of_archive = rows(tmp_path / "api"), rows(both.archive.parent / "out")
    assert len(of_api) == COUNT
    assert of_api == of_archive


@pytest.mark.parametrize(
    "words",
    [
        ["--datetime", "2020-03"],
        ["--bbox", "0.5,0.5,9.5,9.5"],
        ["--bbox", "178.5,-90,-178.5,90"],
        ["--where", "eo:cloud_cover < 3 AND platform = 'sat-1'"],
        ["--where", "id IN ('field-00001', 'field-19999')"],
        ["--where", "NOT platform = 'sat-1' AND eo:cloud_cover IN (3, 5)"],
    ],
    ids=["datetime", "bbox", "antimeridian", "where", "ids", "not"],
)
def test_no_more_pages_than_match(both: Both, words: list[str], tmp_path: Path) -> None:
    both.api.searches()
    assert main(command(f"{both.api.url}/collections/fields", tmp_path, *words)) == 0
    asked = len(both.api.searches())
    ids = {row["item_id"] for row in rows(tmp_path)}
    assert main(command(both.archive, both.archive.parent / "out", *words)) == 0
    assert planned(both.archive.parent) == len(ids) > 0
    assert asked == -(-len(ids) // PAGE)
