"""Writes the demo: a hub's directory with one small dataset in it, the same every time.

About 240 items and 900 files of a few kilobytes, with everything in them that a download has to
cope with: files that all items share, checksums on some assets and not on others, items with an
interval for a time, a collection with an asset of its own, and two items that cross the
antimeridian.

What does not depend on the images lies in ``demo_descriptions``, as the API gives it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from mlhub_core.exceptions import StorageError
from mlhub_core.hub import demo_files, demo_scene
from mlhub_core.hub.demo_scene import Box, Tile
from mlhub_core.settings import DEFAULT_ROOT_URL

Json = dict[str, Any]

DATASET_ID = "demo_crops"
SOURCE_ID = "demo_crops_source_sentinel_2"
LABELS_ID = "demo_crops_labels"
PLOTS_ID = "demo_crops_plots"

_DESCRIPTIONS = Path(__file__).parent / "demo_descriptions"
_THEIR_ASSETS = b"http://demo.invalid/files/assets"
_THEIR_ADDRESS = b"http://demo.invalid"
_DOI_LINK = {"rel": "cite-as", "href": "https://doi.org/10.12345/demo.crops"}
_EXTENSIONS = {
    "eo": "https://stac-extensions.github.io/eo/v1.0.0/schema.json",
    "file": "https://stac-extensions.github.io/file/v2.1.0/schema.json",
    "label": "https://stac-extensions.github.io/label/v1.0.1/schema.json",
}
_MEDIA_TYPES = {
    ".csv": "text/csv",
    ".geojson": "application/geo+json",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".tif": "image/tiff; application=geotiff",
}
_LABEL_PROPERTIES = {
    "label:type": "vector",
    "label:description": "What grows on the field",
    "label:tasks": ["segmentation"],
    "label:properties": ["crop"],
    "label:classes": [{"name": "crop", "classes": list(demo_scene.CROPS.values())}],
}
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


@dataclass(frozen=True, slots=True)
class _Item:
    """An item: without its links, and the id of the item of imagery that it labels, if any."""

    body: Json
    source_id: str | None = None

    @property
    def id(self) -> str:
        return str(self.body["id"])

    def archived(self) -> Json:
        """The item as it lies in the catalog archive, with relative links."""
        links = [
            _link("root", "../../catalog.json"),
            _link("collection", "../collection.json"),
            _link("parent", "../collection.json"),
            _link("self", f"{self.id}.json"),
        ]
        if self.source_id:
            href = f"../../{SOURCE_ID}/{self.source_id}/{self.source_id}.json"
            links.insert(0, _link("source", href))
        return {**self.body, "links": links}

    def served(self) -> Json:
        """The item as the API gives it, with absolute links."""
        collections = f"{DEFAULT_ROOT_URL}collections"
        collection = f"{collections}/{self.body['collection']}"
        links = [
            _link("root", DEFAULT_ROOT_URL),
            _link("collection", collection),
            _link("parent", collection),
            _link("self", f"{collection}/items/{self.id}", "application/geo+json"),
        ]
        if self.source_id:
            href = f"{collections}/{SOURCE_ID}/items/{self.source_id}"
            links.append(_link("source", href, "application/geo+json"))
        return {**self.body, "links": links}


class _Writer:
    """Writes one demo, and counts the bytes of its assets."""

    def __init__(self, directory: Path, base_url: str) -> None:
        self._directory = directory
        self._base_url = base_url
        self._asset_bytes = 0

    def write(self) -> None:
        document = (_DESCRIPTIONS / "documentation.pdf").read_bytes()
        common = "_common/documentation.pdf"
        shared = {"documentation": self._asset(common, document, "Documentation", "metadata")}
        items = {
            SOURCE_ID: list(self._source_items(shared)),
            LABELS_ID: list(self._label_items({**shared, **self._splits()})),
            PLOTS_ID: list(self._plot_items(shared)),
        }
        self._write_plot_table(items[PLOTS_ID])
        sizes = {"dataset": DATASET_ID, "estimated_dataset_size": self._asset_bytes}
        weights = demo_scene.random("model").bytes(2048)
        self._asset("demo_crops_model/checkpoint.pt", weights, "Checkpoint")
        self._put(f"catalogs/{DATASET_ID}.json", _json(sizes))
        self._write_descriptions()
        for collection_id, members in items.items():
            lines = b"".join(orjson.dumps(item.served()) + b"\n" for item in members)
            self._put(f"items/{collection_id}.jsonl", lines)
        self._write_catalog(items)
        self._write_plots_archive(items[PLOTS_ID])

    def _put(self, path: str, data: bytes) -> None:
        target = self._directory / path
        if target.is_file() and target.read_bytes() == data:
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)

    # -- assets -----------------------------------------------------------------------------

    def _asset(
        self, path: str, data: bytes, title: str, *roles: str, checksum: bool = False
    ) -> Json:
        """Write a file below ``assets`` and describe it; its role is ``data`` unless others are."""
        path = f"{DATASET_ID}/{path}"
        self._put(f"assets/{path}", data)
        self._asset_bytes += len(data)
        described: Json = {
            "href": f"{self._base_url}/{path}",
            "type": _MEDIA_TYPES.get(Path(path).suffix, "application/octet-stream"),
            "title": title,
            "roles": list(roles or ("data",)),
        }
        if checksum:
            described |= {"file:size": len(data), "file:checksum": demo_files.multihash(data)}
        return described

    def _splits(self) -> Json:
        rows: dict[str, list[tuple[str]]] = {"train_split": [], "test_split": []}
        for tile in demo_scene.tiles():
            name = "test_split" if tile.number == _TEST_TILE else "train_split"
            rows[name] += [(_item_id(LABELS_ID, tile, month),) for month in tile.months]
        return {
            name: self._asset(
                f"{LABELS_ID}/_common/{name}.csv",
                demo_files.csv(["item_id"], ids),
                name.replace("_", " ").capitalize(),
                "metadata",
            )
            for name, ids in rows.items()
        }

    def _tiff(self, path: str, tile: Tile, pixels: Any, title: str) -> Json:
        data = demo_files.geotiff(pixels, tile.west, tile.north, demo_scene.PIXEL)
        return self._asset(path, data, title, checksum=True)

    def _write_plot_table(self, items: list[_Item]) -> None:
        rows = [(item.id, *item.body["bbox"]) for item in items]
        data = demo_files.csv(["item_id", "west", "south", "east", "north"], rows)
        self._asset(f"{PLOTS_ID}/readme_plots.csv", data, "All plots", "metadata")

    # -- items ------------------------------------------------------------------------------

    def _source_items(self, shared: Json) -> Iterator[_Item]:
        for tile, month in demo_scene.images():
            item_id = _item_id(SOURCE_ID, tile, month)
            place = f"{SOURCE_ID}/{item_id}"
            bands = {name: demo_scene.band(tile, month, name) for name in demo_scene.BANDS}
            picture = demo_files.png(demo_scene.thumbnail(bands))
            assets = {
                name: self._tiff(f"{place}/{name}.tif", tile, pixels, f"Band {name}")
                for name, pixels in bands.items()
            }
            assets["thumbnail"] = self._asset(
                f"{place}/thumbnail.png", picture, "Thumbnail", "thumbnail"
            )
            properties = {
                "datetime": _moment(tile, month),
                "eo:cloud_cover": demo_scene.cloud_cover(tile, month),
            }
            body = _body(SOURCE_ID, item_id, tile.box, properties, assets | shared, "eo", "file")
            yield _Item(body)

    def _label_items(self, shared: Json) -> Iterator[_Item]:
        for tile, month in demo_scene.images():
            classes = demo_scene.crops(tile)
            outlines = demo_files.geojson(demo_scene.field_features(tile))
            item_id = _item_id(LABELS_ID, tile, month)
            place = f"{LABELS_ID}/{item_id}"
            roles = ("labels", "labels-vector")
            assets = {
                "labels": self._asset(
                    f"{place}/labels.geojson", outlines, "Fields", *roles, checksum=True
                ),
                "raster_labels": self._tiff(f"{place}/raster_labels.tif", tile, classes, "Classes"),
                "mask": self._asset(
                    f"{place}/mask.npy", demo_files.npy(classes > 0), "What is known"
                ),
            }
            properties = {"datetime": _moment(tile, month), **_LABEL_PROPERTIES}
            body = _body(LABELS_ID, item_id, tile.box, properties, assets | shared, "file", "label")
            yield _Item(body, _item_id(SOURCE_ID, tile, month))

    def _plot_items(self, shared: Json) -> Iterator[_Item]:
        for tile, number, box in demo_scene.plots():
            item_id = f"{PLOTS_ID}_{tile.name}_{number}"
            place = f"{PLOTS_ID}/{item_id}"
            pixels = demo_scene.plot_pixels(tile, number)
            picture = demo_files.geotiff(pixels, box.west, box.north, demo_scene.PIXEL)
            outline = demo_files.geojson([demo_scene.feature(box, {"plot": number})])
            roles = ("labels", "labels-vector")
            assets = {
                "image": self._asset(f"{place}/image.tif", picture, "Near infrared"),
                "labels": self._asset(f"{place}/labels.geojson", outline, "Outline", *roles),
            }
            first, last = _SEASONS[number - 1]
            properties = {
                "datetime": None,
                "start_datetime": f"{_YEAR}-{first:02d}-01T00:00:00Z",
                "end_datetime": f"{_YEAR}-{last:02d}-30T23:59:59Z",
                **_LABEL_PROPERTIES,
            }
            yield _Item(_body(PLOTS_ID, item_id, box, properties, assets | shared, "label"))

    # -- descriptions -----------------------------------------------------------------------

    def _description(self, path: Path) -> bytes:
        """One of the descriptions, with the address of this hub in it."""
        address = urlsplit(self._base_url)
        text = path.read_bytes().replace(_THEIR_ASSETS, self._base_url.encode())
        return text.replace(_THEIR_ADDRESS, f"{address.scheme}://{address.netloc}".encode())

    def _write_descriptions(self) -> None:
        for path in _DESCRIPTIONS.glob("*/*.json"):
            self._put(path.relative_to(_DESCRIPTIONS).as_posix(), self._description(path))

    def _archived_collection(self, collection_id: str, items: list[_Item]) -> bytes:
        """A collection as it lies in an archive, with relative links."""
        described = orjson.loads(
            self._description(_DESCRIPTIONS / "collections" / f"{collection_id}.json")
        )
        links = [_link("root", "../catalog.json"), _link("parent", "../catalog.json"), _DOI_LINK]
        links += [_link("item", f"{item.id}/{item.id}.json") for item in items]
        return _json(described | {"links": links})

    def _write_catalog(self, items: dict[str, list[_Item]]) -> None:
        members = {f"{DATASET_ID}/catalog.json": (_DESCRIPTIONS / "catalog.json").read_bytes()}
        for collection_id, own in items.items():
            place = f"{DATASET_ID}/{collection_id}"
            members[f"{place}/collection.json"] = self._archived_collection(collection_id, own)
            members |= {f"{place}/{item.id}/{item.id}.json": _json(item.archived()) for item in own}
        self._put(f"catalogs/{DATASET_ID}.tar.gz", demo_files.tar_gz(members))

    def _write_plots_archive(self, items: list[_Item]) -> None:
        members = {f"{PLOTS_ID}/collection.json": self._archived_collection(PLOTS_ID, items)}
        members |= {
            f"{PLOTS_ID}/{item.id}/{item.id}.json": _json(item.archived()) for item in items
        }
        files = self._directory / "assets" / DATASET_ID
        for path in sorted((files / PLOTS_ID).rglob("*.*")):
            members[path.relative_to(files).as_posix()] = path.read_bytes()
        self._put(f"archives/{PLOTS_ID}.tar.gz", demo_files.tar_gz(members))


def _body(
    collection_id: str, item_id: str, box: Box, properties: Json, assets: Json, *extensions: str
) -> Json:
    """An item without its links; extensions are named by their short names."""
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [_EXTENSIONS[name] for name in extensions],
        "id": item_id,
        "collection": collection_id,
        "geometry": box.geometry,
        "bbox": box.bbox,
        "properties": properties,
        "assets": assets,
    }


def _item_id(collection_id: str, tile: Tile, month: int) -> str:
    return f"{collection_id}_{tile.name}_{_YEAR}{month:02d}"


def _moment(tile: Tile, month: int) -> str:
    """When the satellite passed: some days apart from tile to tile, never at midnight."""
    return f"{_YEAR}-{month:02d}-{5 * tile.number:02d}T{tile.hour:02d}:{10 + tile.number}:00Z"


def _link(rel: str, href: str, media_type: str = "application/json") -> dict[str, str]:
    return {"rel": rel, "href": href, "type": media_type}


def _json(content: Json) -> bytes:
    return orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n"
