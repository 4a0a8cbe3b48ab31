"""Archives to test with, well made and badly made."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from mlhub_core.index.build import AssetIndex, index_assets
from mlhub_core.paths import DownloadPaths
from mlhub_core.sources.archive import CatalogArchive

DATASET = "demo"

SQUARE = {
    "type": "Polygon",
    "coordinates": [[[10.0, 50.0], [11.0, 50.0], [11.0, 51.0], [10.0, 51.0], [10.0, 50.0]]],
}


def item(item_id: str, collection: str | None = "coll", **changes: Any) -> dict[str, Any]:
    """A plain item with one asset; ``changes`` replace fields, None removes them."""
    fields: dict[str, Any] = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": item_id,
        "collection": collection,
        "bbox": [10.0, 50.0, 11.0, 51.0],
        "geometry": SQUARE,
        "properties": {"datetime": "2021-05-01T10:00:00Z"},
        "links": [],
        "assets": {"image": {"href": f"https://files.test/{item_id}.tif", "type": "image/tiff"}},
    }
    fields.update(changes)
    return {key: value for key, value in fields.items() if value is not None}


def place(item_id: str, collection: str = "coll") -> str:
    """Where an item lies in an archive that keeps the rules."""
    return f"{DATASET}/{collection}/{item_id}/{item_id}.json"


def asset(href: str, **more: Any) -> dict[str, Any]:
    return {"href": href, **more}


def tree(*items: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Files of a catalog with these items; ``more`` maps paths to content."""
    files: dict[str, Any] = {f"{DATASET}/catalog.json": {"type": "Catalog", "id": DATASET}}
    for one in items:
        collection = one.get("collection", "coll")
        files[f"{DATASET}/{collection}/collection.json"] = {"type": "Collection", "id": collection}
        files[place(one["id"], collection)] = one
    return files | more


def add(archive: tarfile.TarFile, name: str, content: Any) -> None:
    """Add a file: bytes as they are, a TarInfo as it is, anything else as JSON."""
    if isinstance(content, tarfile.TarInfo):
        content.name = name
        archive.addfile(content)
        return
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    info = tarfile.TarInfo(name)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))


def tar_bytes(files: Mapping[str, Any] | list[tuple[str, Any]], **options: Any) -> bytes:
    """A plain tar of files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", **options) as archive:
        for name, content in files.items() if isinstance(files, Mapping) else files:
            add(archive, name, content)
    return buffer.getvalue()


def described(path: Path, dataset: str = DATASET) -> CatalogArchive:
    data = path.read_bytes()
    return CatalogArchive(path, dataset, len(data), hashlib.sha256(data).hexdigest())


def write_archive(
    directory: Path, files: Mapping[str, Any] | list[tuple[str, Any]], dataset: str = DATASET
) -> CatalogArchive:
    """A ``tar.gz`` of files."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{dataset}.tar.gz"
    path.write_bytes(gzip.compress(tar_bytes(files), compresslevel=1, mtime=0))
    return described(path, dataset)


def paths_in(directory: Path, dataset: str = DATASET) -> DownloadPaths:
    return DownloadPaths.of(dataset, directory / "out")


def index_of(
    directory: Path, files: Mapping[str, Any] | list[tuple[str, Any]], dataset: str = DATASET
) -> tuple[AssetIndex, list[dict[str, Any]]]:
    """Index an archive of these files; returns the index and its rows."""
    index = index_assets(write_archive(directory, files, dataset), paths_in(directory, dataset))
    return index, rows_of(index)


def rows_of(index: AssetIndex) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(index.path).to_pylist()
    return rows


def save_paths(rows: list[dict[str, Any]]) -> dict[tuple[str, str | None, str, str], str]:
    return {
        (row["collection_id"], row["item_id"], row["asset_key"], row["href"]): row["save_path"]
        for row in rows
    }
