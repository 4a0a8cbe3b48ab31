"""Catalogs in the manner of real ones: their items, one after the other, from a seed.

Places, times, names, links and sizes are made up, but of the kind that the real ones have. The
order is that of a directory as ``tar`` meets it: collections one after the other, scenes in no
order of place.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

_SEED = 20170613
HOST = "https://files.example/mlhub"
"""What the URLs of all assets begin with."""
_METRES_PER_DEGREE = 111_320.0

_COUNTRIES = (
    ("Austria", 29, (9.6, 46.4, 17.0, 48.9)),
    ("Belgium", 31, (2.6, 49.6, 6.2, 51.4)),
    ("Finland", 35, (21.0, 60.0, 30.0, 68.0)),
    ("Ireland", 29, (-9.9, 51.6, -6.2, 55.2)),
    ("Kosovo", 34, (20.1, 41.9, 21.7, 43.2)),
    ("Lithuania", 34, (21.1, 53.9, 26.7, 56.4)),
    ("Luxembourg", 31, (5.8, 49.5, 6.5, 50.1)),
    ("Portugal", 29, (-9.0, 37.0, -6.3, 42.0)),
    ("Serbia", 34, (19.0, 42.3, 22.9, 46.1)),
    ("Switzerland", 32, (6.0, 45.9, 10.4, 47.7)),
)
_AFRICA = (-17.0, -34.0, 48.0, 34.0)

_BANDS = {
    "B01": 60,
    "B02": 10,
    "B03": 10,
    "B04": 10,
    "B05": 20,
    "B06": 20,
    "B07": 20,
    "B08": 10,
    "B8A": 20,
    "B09": 60,
    "B11": 20,
    "B12": 20,
}
"""Metres of a pixel of each."""
_GEOTIFF = "image/tiff; application=geotiff"
_LABELS = (
    "Discontinuous urban fabric",
    "Non-irrigated arable land",
    "Pastures",
    "Complex cultivation patterns",
    "Broad-leaved forest",
    "Coniferous forest",
    "Mixed forest",
    "Transitional woodland/shrub",
    "Water bodies",
    "Sea and ocean",
)


class Document(NamedTuple):
    """One JSON file of a catalog.

    Attributes:
        path: In the archive.
        content: What is in it.
        assets: How many assets it has.
    """

    path: str
    content: dict[str, Any]
    assets: int


class _Patch(NamedTuple):
    name: str
    moment: datetime
    ring: list[list[float]]
    cloud: float
    zone: int
    country: str


def bigearthnet(items: int) -> Iterator[Document]:
    """An item of 12 bands per patch, and one of labels that points to it: 7 assets an item."""
    dataset = "bigearthnet_v1"
    source, labels = f"{dataset}_source", f"{dataset}_labels"
    yield from _head(dataset, (source, labels))
    for patch in _patches((items + 1) // 2):
        yield _item(source, f"{source}_{patch.name}", patch, _source_properties(patch), _bands)
    for patch in _patches(items // 2):
        linked = f"{source}_{patch.name}"
        yield _item(
            labels,
            f"{labels}_{patch.name}",
            patch,
            _label_properties(patch),
            _label_assets,
            [f"../../{source}/{linked}/{linked}.json"],
        )


def landcovernet(items: int) -> Iterator[Document]:
    """A time series of 72 dates per chip, 14 assets each, and an item of labels per chip."""
    dates = 72
    dataset = "ref_landcovernet_af_v1"
    source, labels = f"{dataset}_source_sentinel_2", f"{dataset}_labels"
    yield from _head(dataset, (source, labels))
    chips = max(1, items // (dates + 1))
    for chip in _chips(chips):
        for date in _dates(chip, dates):
            yield _item(source, _dated(source, date), date, _source_properties(date), _series)
    for chip in _chips(chips):
        names = [_dated(source, date) for date in _dates(chip, dates)]
        linked = [f"../../{source}/{name}/{name}.json" for name in names]
        name = f"{labels}_{chip.name}"
        yield _item(labels, name, chip, _year_properties(chip), _chip_labels, linked)


MANNERS = {"bigearthnet": bigearthnet, "landcovernet": landcovernet}


def _patches(count: int, per_scene: int = 1000) -> Iterator[_Patch]:
    """Patches of 1.2 km, up to a thousand out of a satellite scene."""
    numbers = random.Random(_SEED)
    made = 0
    while made < count:
        country, zone, (west, south, east, north) = numbers.choice(_COUNTRIES)
        lon, lat = numbers.uniform(west, east), numbers.uniform(south, north)
        tilt = numbers.uniform(-0.05, 0.05)
        moment = datetime(2017, 6, 13, 10, tzinfo=UTC) + timedelta(
            days=numbers.randrange(350), seconds=numbers.randrange(7200)
        )
        scene = f"S2{numbers.choice('AB')}_MSIL2A_{moment:%Y%m%dT%H%M%S}"
        here = min(per_scene, count - made)
        for cell in numbers.sample(range(90 * 90), here):
            column, row = cell % 90, cell // 90
            ring = _square(lon, lat, tilt, column * 1200.0, row * 1200.0, 1200.0)
            cloud = round(numbers.random() ** 3 * 100, 2)
            yield _Patch(f"{scene}_{column}_{row}", moment, ring, cloud, zone, country)
        made += here


def _chips(count: int) -> Iterator[_Patch]:
    """Chips of 2.56 km, thirty of them out of a tile."""
    numbers = random.Random(_SEED)
    west, south, east, north = _AFRICA
    for number in range(count):
        if number % 30 == 0:
            lon, lat = numbers.uniform(west, east), numbers.uniform(south, north)
            zone = int((lon + 180) // 6) + 1
            tile = f"{zone}{''.join(numbers.choices('ABCDEFGHJKLMNPQRSTUVWX', k=3))}"
            places = numbers.sample(range(40 * 40), 30)
        place = places[number % 30]
        ring = _square(lon, lat, 0.01, place % 40 * 2560.0, place // 40 * 2560.0, 2560.0)
        moment = datetime(2018, 1, 1 + number % 5, 10, number % 60, tzinfo=UTC)
        yield _Patch(f"{tile}_{number % 30:02d}", moment, ring, 0.0, zone, "Africa")


def _dates(chip: _Patch, count: int) -> Iterator[_Patch]:
    numbers = random.Random(chip.name)
    for number in range(count):
        moment = chip.moment + timedelta(days=5 * number)
        yield chip._replace(moment=moment, cloud=round(numbers.random() ** 2 * 100, 2))


def _dated(collection: str, patch: _Patch) -> str:
    return f"{collection}_{patch.name}_{patch.moment:%Y%m%d}"


def _square(lon: float, lat: float, tilt: float, x: float, y: float, side: float) -> Any:
    """A square of a metric grid, as degrees: no two of its corners share a coordinate."""
    ring = []
    for dx, dy in ((0, 0), (side, 0), (side, side), (0, side), (0, 0)):
        north = (y + dy) * math.cos(tilt) - (x + dx) * math.sin(tilt)
        east = (x + dx) * math.cos(tilt) + (y + dy) * math.sin(tilt)
        latitude = lat + north / _METRES_PER_DEGREE
        width = _METRES_PER_DEGREE * math.cos(math.radians(latitude))
        ring.append([lon + east / width, latitude])
    return ring


def _head(dataset: str, collections: tuple[str, ...]) -> Iterator[Document]:
    links = [{"rel": "child", "href": f"./{name}/collection.json"} for name in collections]
    catalog = {"type": "Catalog", "id": dataset, "stac_version": "1.0.0", "links": links}
    yield Document(f"{dataset}/catalog.json", catalog, 0)
    for name in collections:
        spatial = {"bbox": [[-180, -90, 180, 90]]}
        temporal = {"interval": [["2017-06-13T00:00:00Z", "2019-01-01T00:00:00Z"]]}
        collection = {
            "type": "Collection",
            "id": name,
            "stac_version": "1.0.0",
            "description": f"{name}, generated",
            "license": "CDLA-Permissive-1.0",
            "extent": {"spatial": spatial, "temporal": temporal},
            "links": [],
        }
        yield Document(f"{dataset}/{name}/collection.json", collection, 0)


def _item(
    collection: str,
    name: str,
    patch: _Patch,
    properties: dict[str, Any],
    assets_of: Any,
    sources: list[str] | None = None,
) -> Document:
    longitudes, latitudes = zip(*patch.ring, strict=True)
    assets = assets_of(collection, patch)
    above = [
        {"rel": relation, "href": "../collection.json", "type": "application/json"}
        for relation in ("root", "collection", "parent")
    ]
    links = [{"rel": "source", "href": href, "type": "application/json"} for href in sources or ()]
    item = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "properties": properties,
        "geometry": {"type": "Polygon", "coordinates": [patch.ring]},
        "links": [*links, *above, {"rel": "self", "href": f"{name}.json"}],
        "assets": assets,
        "bbox": [min(longitudes), min(latitudes), max(longitudes), max(latitudes)],
        "stac_extensions": ["https://stac-extensions.github.io/eo/v1.0.0/schema.json"],
        "collection": collection,
    }
    dataset = "bigearthnet_v1" if collection.startswith("big") else "ref_landcovernet_af_v1"
    return Document(f"{dataset}/{collection}/{name}/{name}.json", item, len(assets))


def _source_properties(patch: _Patch) -> dict[str, Any]:
    return {
        "datetime": f"{patch.moment:%Y-%m-%dT%H:%M:%SZ}",
        "platform": "sentinel-2",
        "constellation": "sentinel-2",
        "instruments": ["msi"],
        "eo:cloud_cover": patch.cloud,
        "proj:epsg": 32600 + patch.zone,
        "country": patch.country,
    }


def _label_properties(patch: _Patch) -> dict[str, Any]:
    at = int(patch.cloud * 100)
    return {
        "datetime": f"{patch.moment:%Y-%m-%dT%H:%M:%SZ}",
        "label:properties": ["labels"],
        "label:type": "vector",
        "label:tasks": ["classification"],
        "label:description": "CORINE land cover of a patch",
        "labels": [_LABELS[at % 10], _LABELS[(at // 10 + 1) % 10]],
    }


def _year_properties(patch: _Patch) -> dict[str, Any]:
    return {
        "datetime": None,
        "start_datetime": "2018-01-01T00:00:00Z",
        "end_datetime": "2018-12-31T23:59:59Z",
        "label:properties": None,
        "label:type": "raster",
        "label:tasks": ["segmentation"],
        "label:description": "Land cover of a chip in 2018",
    }


def _bands(_: str, patch: _Patch) -> dict[str, Any]:
    scene = patch.name.rsplit("_", 2)[0]
    folder = f"{HOST}/bigearthnet/BigEarthNet-v1.0/{scene}/{patch.name}"
    return {
        band: {
            "href": f"{folder}/{patch.name}_{band}.tif",
            "type": _GEOTIFF,
            "roles": ["data"],
            "title": f"Band {band}",
            # 16 bits a pixel, as those files are: not packed, so all of one band have one size.
            "file:size": 2 * (1200 // metres) ** 2 + 504,
        }
        for band, metres in _BANDS.items()
    }


def _label_assets(_: str, patch: _Patch) -> dict[str, Any]:
    folder = f"{HOST}/bigearthnet/labels/{patch.name}"
    return {
        "labels": {"href": f"{folder}_labels.geojson", "type": "application/geo+json"},
        "metadata": {"href": f"{folder}_labels_metadata.json", "type": "application/json"},
    }


def _series(_: str, patch: _Patch) -> dict[str, Any]:
    tile, _, chip = patch.name.partition("_")
    day = f"{patch.moment:%Y%m%d}"
    folder = f"{HOST}/landcovernet_af/S2/{tile}/{chip}/{day}"
    return {
        band: {
            "href": f"{folder}/{patch.name}_{day}_{band}_10m.tif",
            "type": _GEOTIFF,
            "roles": ["data"],
        }
        for band in (*_BANDS, "CLD", "SCL")
    }


def _chip_labels(_: str, patch: _Patch) -> dict[str, Any]:
    folder = f"{HOST}/landcovernet_af/labels/{patch.name}"
    return {
        "labels": {"href": f"{folder}_labels.tif", "type": _GEOTIFF, "roles": ["labels"]},
        "source_dates": {"href": f"{folder}_dates.csv", "type": "text/csv"},
        "documentation": {"href": f"{HOST}/landcovernet_af/readme.pdf", "type": "application/pdf"},
    }
