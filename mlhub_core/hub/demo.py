"""Writes the demo: a hub's directory with one small dataset in it, the same every time.

About 240 items and 900 files of a few kilobytes, with everything in them that a download has to
cope with: files that all items share, checksums on some assets and not on others, items with an
interval for a time, a collection with an asset of its own, and two items that cross the
antimeridian.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson

from mlhub_core.exceptions import StorageError
from mlhub_core.hub import demo_files, demo_scene, demo_stac
from mlhub_core.hub.demo_scene import Tile
from mlhub_core.hub.demo_stac import DATASET_ID, LABELS_ID, PLOTS_ID, SOURCE_ID, ItemText

_YEAR = 2021
_TIFF = "image/tiff; application=geotiff"
_SEASONS = ((3, 6), (5, 8), (7, 10), (3, 11))
"""First and last month of the plots, by number."""
_TEST_TILE = 3
"""Number of the tiles that the test split takes, in every place."""

_MANUAL = (
    "Images of fields in Kenya, Bavaria, Iowa and Fiji, March to October 2021,",
    "with labels of the crops. All of it is generated; nothing was measured.",
    "",
    f"{SOURCE_ID}: bands B02, B03, B04, B08, reflectance times 10,000.",
    f"{LABELS_ID}: fields as outlines, as classes and as a mask of what is known.",
    f"{PLOTS_ID}: single fields over a season.",
    "",
    "Classes: "
    + ", ".join(f"{number} {name}" for number, name in demo_scene.CROPS.items())
    + "; 0 is unknown.",
)


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
    """Writes one demo. Keeps the descriptions, which the archives need at the end."""

    def __init__(self, directory: Path, base_url: str) -> None:
        self._directory = directory
        self._base_url = base_url
        self._asset_bytes = 0

    def write(self) -> None:
        documentation = self._documentation()
        splits = self._splits()
        items = {
            SOURCE_ID: list(self._source_items(documentation)),
            LABELS_ID: list(self._label_items({**documentation, **splits})),
            PLOTS_ID: list(self._plot_items(documentation)),
        }
        assets: dict[str, dict[str, Any]] = {key: {} for key in items}
        assets[PLOTS_ID] = {"readme_plots": self._plot_table(items[PLOTS_ID])}
        self._write_api(items, assets, documentation["documentation"]["href"])
        self._write_catalog(items, assets)
        self._write_plots_archive(items[PLOTS_ID], assets[PLOTS_ID])

    # -- assets -----------------------------------------------------------------------------

    def _asset(
        self,
        path: str,
        data: bytes,
        media_type: str,
        title: str,
        roles: Iterable[str] = ("data",),
        *,
        checksum: bool = False,
    ) -> dict[str, Any]:
        """Write a file below ``assets`` and describe it."""
        path = f"{DATASET_ID}/{path}"
        _put(self._directory / "assets" / path, data)
        self._asset_bytes += len(data)
        described: dict[str, Any] = {
            "href": f"{self._base_url}/{path}",
            "type": media_type,
            "title": title,
            "roles": list(roles),
        }
        if checksum:
            described["file:size"] = len(data)
            described["file:checksum"] = demo_files.multihash(data)
        return described

    def _documentation(self) -> dict[str, Any]:
        data = demo_files.pdf("Demo Crops", _MANUAL)
        path = "_common/documentation.pdf"
        described = self._asset(path, data, "application/pdf", "Documentation", ["metadata"])
        return {"documentation": described}

    def _splits(self) -> dict[str, Any]:
        rows: dict[str, list[tuple[str]]] = {"train_split": [], "test_split": []}
        for tile in demo_scene.tiles():
            name = "test_split" if tile.number == _TEST_TILE else "train_split"
            rows[name] += [(_item_id(LABELS_ID, tile, month),) for month in tile.months]
        return {
            name: self._asset(
                f"{LABELS_ID}/_common/{name}.csv",
                demo_files.csv(["item_id"], ids),
                "text/csv",
                name.replace("_", " ").capitalize(),
                ["metadata"],
            )
            for name, ids in rows.items()
        }

    def _tiff(self, path: str, tile: Tile, pixels: Any, title: str) -> dict[str, Any]:
        data = demo_files.geotiff(pixels, tile.west, tile.north, demo_scene.PIXEL)
        return self._asset(path, data, _TIFF, title, checksum=True)

    # -- items ------------------------------------------------------------------------------

    def _source_items(self, shared: dict[str, Any]) -> Iterator[ItemText]:
        for tile in demo_scene.tiles():
            for month in tile.months:
                item_id = _item_id(SOURCE_ID, tile, month)
                place = f"{SOURCE_ID}/{item_id}"
                bands = {name: demo_scene.band(tile, month, name) for name in demo_scene.BANDS}
                assets = {
                    name: self._tiff(f"{place}/{name}.tif", tile, pixels, f"Band {name}")
                    for name, pixels in bands.items()
                }
                picture = demo_files.png(demo_scene.thumbnail(bands))
                path = f"{place}/thumbnail.png"
                assets["thumbnail"] = self._asset(
                    path, picture, "image/png", "Thumbnail", ["thumbnail"]
                )
                cover = demo_scene.cloud_cover(tile, month)
                properties = {"datetime": _moment(tile, month), "eo:cloud_cover": cover}
                yield demo_stac.item(
                    item_id,
                    SOURCE_ID,
                    tile.box,
                    properties,
                    {**assets, **shared},
                    extensions=("eo", "file"),
                )

    def _label_items(self, shared: dict[str, Any]) -> Iterator[ItemText]:
        for tile in demo_scene.tiles():
            classes = demo_scene.crops(tile)
            outlines = demo_files.geojson(demo_scene.field_features(tile))
            mask = demo_files.npy(classes > 0)
            for month in tile.months:
                item_id = _item_id(LABELS_ID, tile, month)
                place = f"{LABELS_ID}/{item_id}"
                assets = {
                    "labels": self._asset(
                        f"{place}/labels.geojson",
                        outlines,
                        "application/geo+json",
                        "Fields",
                        ["labels", "labels-vector"],
                        checksum=True,
                    ),
                    "raster_labels": self._tiff(
                        f"{place}/raster_labels.tif", tile, classes, "Classes"
                    ),
                    "mask": self._asset(
                        f"{place}/mask.npy", mask, "application/octet-stream", "What is known"
                    ),
                }
                properties = {
                    "datetime": _moment(tile, month),
                    **demo_stac.label_properties("vector"),
                }
                yield demo_stac.item(
                    item_id,
                    LABELS_ID,
                    tile.box,
                    properties,
                    {**assets, **shared},
                    extensions=("file", "label"),
                    source_id=_item_id(SOURCE_ID, tile, month),
                )

    def _plot_items(self, shared: dict[str, Any]) -> Iterator[ItemText]:
        side = demo_scene.PIXELS // demo_scene.FIELDS
        for tile in demo_scene.tiles():
            if tile.months != demo_scene.MONTHS:
                continue
            image = demo_scene.band(tile, demo_scene.MONTHS[0], "B08")
            for number, box in demo_scene.plots(tile):
                item_id = f"{PLOTS_ID}_{tile.name}_{number}"
                first, last = _SEASONS[number - 1]
                pixels = image[:side, (number - 1) * side : number * side]
                picture = demo_files.geotiff(pixels, box.west, box.north, demo_scene.PIXEL)
                outline = demo_files.geojson([demo_scene.feature(box, {"plot": number})])
                place = f"{PLOTS_ID}/{item_id}"
                assets = {
                    "image": self._asset(f"{place}/image.tif", picture, _TIFF, "Near infrared"),
                    "labels": self._asset(
                        f"{place}/labels.geojson",
                        outline,
                        "application/geo+json",
                        "Outline",
                        ["labels", "labels-vector"],
                    ),
                }
                properties = {
                    "datetime": None,
                    "start_datetime": f"{_YEAR}-{first:02d}-01T00:00:00Z",
                    "end_datetime": f"{_YEAR}-{last:02d}-30T23:59:59Z",
                    **demo_stac.label_properties("vector"),
                }
                yield demo_stac.item(
                    item_id,
                    PLOTS_ID,
                    box,
                    properties,
                    {**assets, **shared},
                    extensions=("label",),
                )

    def _plot_table(self, items: list[ItemText]) -> dict[str, Any]:
        rows = [(text.item_id, *text.body["bbox"]) for text in items]
        data = demo_files.csv(["item_id", "west", "south", "east", "north"], rows)
        path = f"{PLOTS_ID}/readme_plots.csv"
        return self._asset(path, data, "text/csv", "All plots", ["metadata"])

    # -- descriptions -----------------------------------------------------------------------

    def _write_api(
        self,
        items: dict[str, list[ItemText]],
        assets: dict[str, dict[str, Any]],
        documentation_url: str,
    ) -> None:
        root = self._directory
        _put(root / "datasets" / f"{DATASET_ID}.json", _json(demo_stac.dataset(documentation_url)))
        for collection_id, texts in items.items():
            described = demo_stac.served_collection(collection_id, assets[collection_id])
            _put(root / "collections" / f"{collection_id}.json", _json(described))
            lines = b"".join(orjson.dumps(text.served()) + b"\n" for text in texts)
            _put(root / "items" / f"{collection_id}.jsonl", lines)
        sizes = {"dataset": DATASET_ID, "estimated_dataset_size": self._asset_bytes}
        _put(root / "catalogs" / f"{DATASET_ID}.json", _json(sizes))
        weights = demo_scene.random("model").bytes(2048)
        checkpoint = self._asset(
            f"{demo_stac.MODEL_ID}/checkpoint.pt",
            weights,
            "application/octet-stream",
            "Checkpoint",
            ["ml-model:checkpoint"],
        )
        _put(root / "models" / f"{demo_stac.MODEL_ID}.json", _json(demo_stac.model(checkpoint)))

    def _write_catalog(
        self, items: dict[str, list[ItemText]], assets: dict[str, dict[str, Any]]
    ) -> None:
        members = {f"{DATASET_ID}/catalog.json": _json(demo_stac.catalog())}
        for collection_id, texts in items.items():
            place = f"{DATASET_ID}/{collection_id}"
            ids = [text.item_id for text in texts]
            described = demo_stac.archived_collection(collection_id, assets[collection_id], ids)
            members[f"{place}/collection.json"] = _json(described)
            for text in texts:
                member = f"{place}/{text.item_id}/{text.item_id}.json"
                members[member] = _json(text.archived())
        _put(self._directory / "catalogs" / f"{DATASET_ID}.tar.gz", demo_files.tar_gz(members))

    def _write_plots_archive(self, items: list[ItemText], assets: dict[str, Any]) -> None:
        ids = [text.item_id for text in items]
        described = demo_stac.archived_collection(PLOTS_ID, assets, ids)
        members = {f"{PLOTS_ID}/collection.json": _json(described)}
        for text in items:
            members[f"{PLOTS_ID}/{text.item_id}/{text.item_id}.json"] = _json(text.archived())
        files = self._directory / "assets" / DATASET_ID
        for path in sorted((files / PLOTS_ID).rglob("*.*")):
            members[path.relative_to(files).as_posix()] = path.read_bytes()
        _put(self._directory / "archives" / f"{PLOTS_ID}.tar.gz", demo_files.tar_gz(members))


def _item_id(collection_id: str, tile: Tile, month: int) -> str:
    return f"{collection_id}_{tile.name}_{_YEAR}{month:02d}"


def _moment(tile: Tile, month: int) -> str:
    """When the satellite passed: some days apart from tile to tile, never at midnight."""
    return f"{_YEAR}-{month:02d}-{5 * tile.number:02d}T{tile.hour:02d}:{10 + tile.number}:00Z"


def _json(content: dict[str, Any]) -> bytes:
    return orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n"


def _put(path: Path, data: bytes) -> None:
    if path.is_file() and path.read_bytes() == data:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
