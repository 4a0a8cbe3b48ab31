"""Writes a dataset that a plain web server can serve: the hub's answers, the catalog, the files.

The files lie in the tree that a download gives, so that ``cp -r`` makes the same one.
"""

from __future__ import annotations

import io
import json
import random
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.shapes import Shape
from mlhub_core.selection.partition import Asset, Partition, write_assets

DATASET = "bench_chips"
COLLECTION = "bench_chips_source"
HUB_RULES = "rewrite ^(.*/catalog/[^/]+)/info$ $1.info break;"
"""For nginx: what is known of a catalog has a path below that of the catalog, which is a file."""
_SEED = 20201123
_NOISE = 4_000_000


@dataclass(frozen=True, slots=True)
class Served:
    """A generated dataset on disk.

    Attributes:
        api: Root of the hub's server.
        assets: Root of the asset server.
        curl: Its list in the form of a curl configuration, outputs relative.
        partitions: The list as made partitions.
        files: How many.
        size: Their bytes.
    """

    api: Path
    assets: Path
    curl: Path
    partitions: tuple[Partition, ...]
    files: int
    size: int


def generate(root: Path, shape: Shape, base_url: str, parts: int = 4) -> Served:
    """Write a dataset.

    Args:
        root: An empty directory.
        shape: How many files of which size.
        base_url: Of the asset server, without a slash at the end.
        parts: How many partitions the made plan has.
    """
    api = root / "api" / "mlhub" / "v1"
    for folder in ("datasets", "collections", "catalog"):
        (api / folder).mkdir(parents=True)
    sizes = _write_files(root / "assets", shape)
    assets = list(_assets(shape, base_url))
    archive = api / "catalog" / DATASET
    _write_catalog(archive, assets, shape.per_item)
    info = {
        "dataset": DATASET,
        "stac_catalog_size": archive.stat().st_size,
        "estimated_dataset_size": sizes,
    }
    archive.with_suffix(".info").write_text(json.dumps(info))
    listed = [{"id": COLLECTION, "types": ["source_imagery"]}]
    dataset = {"id": DATASET, "title": "Chips", "collections": listed}
    (api / "datasets" / DATASET).write_text(json.dumps(dataset))
    (api / "collections" / COLLECTION).write_text(json.dumps(_collection()))
    curl = root / "curl.list"
    with curl.open("w") as file:
        for asset in assets:
            file.write(f'url = "{asset.href}"\noutput = "{asset.save_path}"\n')
    partitions = tuple(_partitions(root, assets, parts))
    return Served(root / "api", root / "assets", curl, partitions, shape.files, sizes)


def _write_files(root: Path, shape: Shape) -> int:
    numbers = random.Random(_SEED)
    noise = numbers.randbytes(_NOISE) * (1 + shape.largest // _NOISE)
    total = 0
    for number in range(shape.files):
        item, key = _names(number, shape.per_item)
        folder = root / COLLECTION / item
        if number % shape.per_item == 0:
            folder.mkdir(parents=True)
        start = numbers.randrange(_NOISE // 2)
        size = numbers.randint(shape.smallest, shape.largest)
        # Not all alike: a server or a client that mixes files up would pass unseen.
        (folder / f"{key}.tif").write_bytes((number.to_bytes(8) + noise[start:])[:size])
        total += size
    return total


def _names(number: int, per_item: int) -> tuple[str, str]:
    return f"chip_{number // per_item:06d}", f"B{number % per_item + 1:02d}"


def _assets(shape: Shape, base_url: str) -> Iterator[Asset]:
    for number in range(shape.files):
        item, key = _names(number, shape.per_item)
        path = f"{COLLECTION}/{item}/{key}.tif"
        yield Asset(path, f"{base_url}/{path}", COLLECTION, item, key)


def _partitions(root: Path, assets: list[Asset], parts: int) -> Iterator[Partition]:
    for number in range(parts):
        path = root / "plan" / f"{number + 1}.parquet"
        share = assets[len(assets) * number // parts : len(assets) * (number + 1) // parts]
        yield Partition(number + 1, parts, path, write_assets(path, share))


def _write_catalog(path: Path, assets: list[Asset], per_item: int) -> None:
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        _add(archive, f"{DATASET}/catalog.json", {"type": "Catalog", "id": DATASET, "links": []})
        _add(archive, f"{DATASET}/{COLLECTION}/collection.json", _collection())
        for first in range(0, len(assets), per_item):
            mine = assets[first : first + per_item]
            name = str(mine[0].item_id)
            member = f"{DATASET}/{COLLECTION}/{name}/{name}.json"
            _add(archive, member, _item(name, first // per_item, mine))


def _collection() -> dict[str, Any]:
    extent = {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}}
    return {
        "type": "Collection",
        "id": COLLECTION,
        "stac_version": "1.0.0",
        "description": "Generated",
        "license": "CC0-1.0",
        "extent": extent,
        "links": [],
    }


def _item(name: str, number: int, assets: list[Asset]) -> dict[str, Any]:
    west = -180 + number % 3500 / 10
    ring = [[west, 0], [west + 0.1, 0], [west + 0.1, 0.1], [west, 0.1], [west, 0]]
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "collection": COLLECTION,
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": [west, 0, west + 0.1, 0.1],
        "properties": {"datetime": "2020-01-01T00:00:00Z"},
        "links": [],
        "assets": {asset.asset_key: {"href": asset.href, "type": "image/tiff"} for asset in assets},
    }


def _add(archive: tarfile.TarFile, name: str, content: dict[str, Any]) -> None:
    data = json.dumps(content).encode()
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))
