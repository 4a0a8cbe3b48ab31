"""Writes the demo: a hub's directory with one small dataset in it, the same every time.

About 240 items and 900 files of a few kilobytes, with everything in them that a download has to
cope with: files that all items share, checksums on some assets and not on others, items with an
interval for a time, a collection with an asset of its own, and two items that cross the
antimeridian.

What does not depend on the images lies in ``demo_descriptions``, as the API gives it. NAME stands
there for what is different in the id of each item.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from mlhub_core.exceptions import StorageError
from mlhub_core.hub import demo_scene
from mlhub_core.hub.demo_scene import Tile
from mlhub_core.png import png

Json = dict[str, Any]
ItemData = tuple[str, list[float], Json, dict[str, bytes]]
"""Of an item: its name, its box, properties, and files by asset key."""

DATASET_ID = "demo_crops"
SOURCE_ID = "demo_crops_source_sentinel_2"
LABELS_ID = "demo_crops_labels"
PLOTS_ID = "demo_crops_plots"

_DESCRIPTIONS = Path(__file__).parent / "demo_descriptions"
_THEIR_ASSETS = b"http://demo.invalid/files/assets"
_THEIR_ADDRESS = b"http://demo.invalid"
_DOI_LINK = {"rel": "cite-as", "href": "https://doi.org/10.12345/demo.crops"}
_YEAR = 2021
_SEASONS = ((3, 6), (5, 8), (7, 10), (3, 11))
"""First and last month of the plots, by number."""
_TEST_TILE = 3
"""Number of the tiles that the test split takes, in every place."""


def write_demo(directory: Path, asset_base_url: str) -> None:
    """Write the demo dataset into a hub's directory.

    Files that are there already with the same content are left as they are, so that their ETags
    stay; others of the same name are replaced.

    Args:
        directory: The directory; made where it is missing.
        asset_base_url: The URL of its ``assets`` directory.

    Raises:
        StorageError: if the disk refuses.
    """
    try:
        _Writer(Path(directory), asset_base_url.rstrip("/")).write()
    except OSError as error:
        raise StorageError(
            f"The demo cannot be written to {directory}: {error.strerror or error}."
        ) from error


class _Writer:
    """Writes one demo, and counts the bytes of its assets."""

    def __init__(self, directory: Path, base_url: str) -> None:
        self._directory = directory
        self._base_url = base_url
        self._asset_bytes = 0

    def write(self) -> None:
        items = {
            SOURCE_ID: [self._item(SOURCE_ID, *data) for data in _source_items()],
            LABELS_ID: [self._item(LABELS_ID, *data) for data in _label_items()],
            PLOTS_ID: [self._item(PLOTS_ID, *data) for data in _plot_items()],
        }
        self._write_shared_assets(items)
        sizes = {"dataset": DATASET_ID, "estimated_dataset_size": self._asset_bytes}
        self._put(f"catalogs/{DATASET_ID}.json", _json(sizes))
        weights = demo_scene.random("model").bytes(2048)
        self._asset(f"{DATASET_ID}/demo_crops_model/checkpoint.pt", weights)
        for kind in ("collections", "datasets", "models"):
            for path in (_DESCRIPTIONS / kind).iterdir():
                self._put(f"{kind}/{path.name}", self._description(f"{kind}/{path.name}"))
        for collection_id, own in items.items():
            lines = b"".join(orjson.dumps(item) + b"\n" for item in own)
            self._put(f"items/{collection_id}.jsonl", lines)
        self._write_archives(items)

    def _put(self, path: str, data: bytes) -> None:
        target = self._directory / path
        if target.is_file() and target.read_bytes() == data:
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)

    def _asset(self, path: str, data: bytes) -> None:
        self._put(f"assets/{path}", data)
        self._asset_bytes += len(data)

    def _description(self, path: str) -> bytes:
        """One of the descriptions, with the address of this hub in it."""
        address = urlsplit(self._base_url)
        text = (_DESCRIPTIONS / path).read_bytes().replace(_THEIR_ASSETS, self._base_url.encode())
        return text.replace(_THEIR_ADDRESS, f"{address.scheme}://{address.netloc}".encode())

    def _item(
        self,
        collection_id: str,
        name: str,
        bbox: list[float],
        properties: Json,
        files: dict[str, bytes],
    ) -> Json:
        """Write the files of an item, and describe it as the API does."""
        description = self._description(f"items/{collection_id}.json")
        item: Json = orjson.loads(description.replace(b"NAME", name.encode()))
        item |= {"geometry": demo_scene.geometry(bbox), "bbox": bbox}
        item["properties"] |= properties
        for key, data in files.items():
            asset = item["assets"][key]
            self._asset(asset["href"].removeprefix(f"{self._base_url}/"), data)
            if "file:checksum" in asset:
                digest = hashlib.sha256(data).hexdigest()
                asset |= {"file:size": len(data), "file:checksum": f"1220{digest}"}
        return item

    def _write_shared_assets(self, items: dict[str, list[Json]]) -> None:
        document = (_DESCRIPTIONS / "documentation.pdf").read_bytes()
        self._asset(f"{DATASET_ID}/_common/documentation.pdf", document)
        splits: dict[str, list[tuple[str]]] = {"train_split": [], "test_split": []}
        for (tile, _), item in zip(demo_scene.images(), items[LABELS_ID], strict=True):
            name = "test_split" if tile.number == _TEST_TILE else "train_split"
            splits[name].append((item["id"],))
        for name, ids in splits.items():
            table = demo_scene.csv(["item_id"], ids)
            self._asset(f"{DATASET_ID}/{LABELS_ID}/_common/{name}.csv", table)
        boxes = [(item["id"], *item["bbox"]) for item in items[PLOTS_ID]]
        table = demo_scene.csv(["item_id", "west", "south", "east", "north"], boxes)
        self._asset(f"{DATASET_ID}/{PLOTS_ID}/readme_plots.csv", table)

    def _write_archives(self, items: dict[str, list[Json]]) -> None:
        """The catalog, and the archive of the plots with their files."""
        catalog = {"catalog.json": (_DESCRIPTIONS / "catalog.json").read_bytes()}
        for collection_id, own in items.items():
            catalog |= self._archived(collection_id, own)
        members = {f"{DATASET_ID}/{name}": data for name, data in catalog.items()}
        self._put(f"catalogs/{DATASET_ID}.tar.gz", demo_scene.tar_gz(members))
        files = self._directory / "assets" / DATASET_ID
        plots = self._archived(PLOTS_ID, items[PLOTS_ID])
        for path in sorted((files / PLOTS_ID).rglob("*.*")):
            plots[path.relative_to(files).as_posix()] = path.read_bytes()
        self._put(f"archives/{PLOTS_ID}.tar.gz", demo_scene.tar_gz(plots))

    def _archived(self, collection_id: str, items: list[Json]) -> dict[str, bytes]:
        """A collection and its items as they lie in an archive, with relative links."""
        described = orjson.loads(self._description(f"collections/{collection_id}.json"))
        links = [_link("root", "../catalog.json"), _link("parent", "../catalog.json"), _DOI_LINK]
        links += [_link("item", f"{item['id']}/{item['id']}.json") for item in items]
        documents = {f"{collection_id}/collection.json": _json(described | {"links": links})}
        for item in items:
            relative = _json(item | {"links": list(_relative_links(item))})
            documents[f"{collection_id}/{item['id']}/{item['id']}.json"] = relative
        return documents


def _relative_links(item: Json) -> Iterator[Json]:
    for link in item["links"]:
        if link["rel"] == "source":
            source_id = link["href"].rpartition("/")[2]
            yield _link("source", f"../../{SOURCE_ID}/{source_id}/{source_id}.json")
    yield _link("root", "../../catalog.json")
    yield _link("collection", "../collection.json")
    yield _link("parent", "../collection.json")
    yield _link("self", f"{item['id']}.json")


def _source_items() -> Iterator[ItemData]:
    for tile, month in demo_scene.images():
        bands = {name: demo_scene.band(tile, month, name) for name in demo_scene.BANDS}
        files = {name: _tiff(pixels, tile.west, tile.north) for name, pixels in bands.items()}
        files["thumbnail"] = png(demo_scene.thumbnail(bands))
        cloud_cover = demo_scene.cloud_cover(tile, month)
        properties = {"datetime": _moment(tile, month), "eo:cloud_cover": cloud_cover}
        yield _name(tile, month), tile.bbox, properties, files


def _label_items() -> Iterator[ItemData]:
    for tile, month in demo_scene.images():
        classes = demo_scene.crops(tile)
        files = {
            "labels": _geojson(demo_scene.field_features(tile)),
            "raster_labels": _tiff(classes, tile.west, tile.north),
            "mask": demo_scene.npy(classes > 0),
        }
        yield _name(tile, month), tile.bbox, {"datetime": _moment(tile, month)}, files


def _plot_items() -> Iterator[ItemData]:
    for tile, number, bbox, pixels in demo_scene.plots():
        files = {
            "image": _tiff(pixels, bbox[0], bbox[3]),
            "labels": _geojson([demo_scene.feature(bbox, {"plot": number})]),
        }
        first, last = _SEASONS[number - 1]
        properties = {
            "start_datetime": f"{_YEAR}-{first:02d}-01T00:00:00Z",
            "end_datetime": f"{_YEAR}-{last:02d}-30T23:59:59Z",
        }
        yield f"{tile.name}_{number}", bbox, properties, files


def _tiff(pixels: Any, west: float, north: float) -> bytes:
    return demo_scene.geotiff(pixels, west, north, demo_scene.PIXEL)


def _geojson(features: list[Json]) -> bytes:
    return orjson.dumps({"type": "FeatureCollection", "features": features})


def _name(tile: Tile, month: int) -> str:
    return f"{tile.name}_{_YEAR}{month:02d}"


def _moment(tile: Tile, month: int) -> str:
    """When the satellite passed: some days apart from tile to tile, never at midnight."""
    return f"{_YEAR}-{month:02d}-{5 * tile.number:02d}T{tile.hour:02d}:{10 + tile.number}:00Z"


def _link(rel: str, href: str) -> dict[str, str]:
    return {"rel": rel, "href": href, "type": "application/json"}


def _json(content: Json) -> bytes:
    return orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n"
