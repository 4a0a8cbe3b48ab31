"""The demo's descriptions: STAC items, collections and catalog, and the API's dataset and model.

An item or collection is the same in the archive and in the API but for its links, which are
relative in the one and absolute in the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from mlhub_core.hub.demo_scene import CROPS, Box
from mlhub_core.settings import DEFAULT_ROOT_URL

DATASET_ID = "demo_crops"
SOURCE_ID = "demo_crops_source_sentinel_2"
LABELS_ID = "demo_crops_labels"
PLOTS_ID = "demo_crops_plots"
MODEL_ID = "demo_crops_model"
DOI = "10.12345/demo.crops"

Json = dict[str, Any]

_TITLE = "Demo Crops: fields that never were"
_CITATION = f'mlhub-flows (2021) "Demo Crops", Version 1.0, generated data. https://doi.org/{DOI}'
_DESCRIPTION = (
    "Generated images of fields of maize, wheat, sugarcane and grassland in Kenya, Bavaria, Iowa "
    "and Fiji, March to October 2021, with labels. Made for trying out a download: nothing in it "
    "was ever measured."
)
_LICENSE = "CC-BY-4.0"
_LICENSE_LINK = f"[{_LICENSE}](https://creativecommons.org/licenses/by/4.0/)"
_PROVIDERS = [{"name": "mlhub-flows", "roles": ["producer", "licensor", "processor"]}]
_WORLD = [-180.0, -17.62, 180.0, 48.84]
"""Fiji lies on both sides of the antimeridian, so the whole goes around the globe."""

_EXTENSIONS = {
    name: f"https://stac-extensions.github.io/{name}/v{version}/schema.json"
    for name, version in (
        ("eo", "1.0.0"),
        ("file", "2.1.0"),
        ("label", "1.0.1"),
        ("ml-model", "1.0.0"),
        ("scientific", "1.0.0"),
    )
}


@dataclass(frozen=True, slots=True)
class CollectionText:
    """What is particular to a collection.

    Attributes:
        types: What the dataset lists it as.
        title: Its title.
        description: Its description.
        interval: First and last moment.
    """

    types: tuple[str, ...]
    title: str
    description: str
    interval: tuple[str, str]


COLLECTIONS: Mapping[str, CollectionText] = {
    SOURCE_ID: CollectionText(
        ("source_imagery",),
        "Demo Crops: imagery",
        "Four bands at about ten metres, once a month.",
        ("2021-03-01T00:00:00Z", "2021-10-31T23:59:59Z"),
    ),
    LABELS_ID: CollectionText(
        ("labels",),
        "Demo Crops: labels",
        "Which crop grows on each field, for every image.",
        ("2021-03-01T00:00:00Z", "2021-10-31T23:59:59Z"),
    ),
    PLOTS_ID: CollectionText(
        ("source_imagery", "labels"),
        "Demo Crops: plots",
        "Single fields over a season: a mean image and the outline of the field.",
        ("2021-03-01T00:00:00Z", "2021-11-30T23:59:59Z"),
    ),
}


@dataclass(frozen=True, slots=True)
class ItemText:
    """An item without its links.

    Attributes:
        item_id: Its id.
        collection_id: Its collection.
        body: The STAC item, links left out.
        source_id: The item of the source collection that it labels, if any.
    """

    item_id: str
    collection_id: str
    body: Json
    source_id: str | None = None

    def archived(self) -> Json:
        """The item as it lies in the catalog archive."""
        links = [
            _link("root", "../../catalog.json"),
            _link("collection", "../collection.json"),
            _link("parent", "../collection.json"),
            _link("self", f"{self.item_id}.json"),
        ]
        if self.source_id:
            href = f"../../{SOURCE_ID}/{self.source_id}/{self.source_id}.json"
            links.insert(0, _link("source", href))
        return {**self.body, "links": links}

    def served(self) -> Json:
        """The item as the API gives it."""
        collection = f"{DEFAULT_ROOT_URL}collections/{self.collection_id}"
        links = [
            _link("root", DEFAULT_ROOT_URL),
            _link("collection", collection),
            _link("parent", collection),
            _link("self", f"{collection}/items/{self.item_id}", "application/geo+json"),
        ]
        if self.source_id:
            href = f"{DEFAULT_ROOT_URL}collections/{SOURCE_ID}/items/{self.source_id}"
            links.append(_link("source", href, "application/geo+json"))
        return {**self.body, "links": links}


def item(
    item_id: str,
    collection_id: str,
    box: Box,
    properties: Json,
    assets: Json,
    *,
    extensions: Sequence[str],
    source_id: str | None = None,
) -> ItemText:
    """An item.

    Args:
        item_id: Its id.
        collection_id: Its collection.
        box: Where it lies.
        properties: Its properties, the time among them.
        assets: Its assets by key.
        extensions: Short names of the STAC extensions it uses.
        source_id: The item of the source collection that it labels, if any.
    """
    body = {
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
    return ItemText(item_id, collection_id, body, source_id)


def label_properties(kind: str) -> Json:
    """The label extension's properties; ``kind`` is ``raster`` or ``vector``."""
    return {
        "label:type": kind,
        "label:description": "What grows on the field",
        "label:tasks": ["segmentation"],
        "label:properties": None if kind == "raster" else ["crop"],
        "label:classes": [{"name": "crop", "classes": list(CROPS.values())}],
    }


def archived_collection(collection_id: str, assets: Json, item_ids: Sequence[str]) -> Json:
    """A collection as it lies in the catalog archive."""
    links = [_link("root", "../catalog.json"), _link("parent", "../catalog.json")]
    links += [{"rel": "cite-as", "href": f"https://doi.org/{DOI}"}]
    links += [_link("item", f"{item_id}/{item_id}.json") for item_id in item_ids]
    return {**_collection(collection_id, assets), "links": links}


def served_collection(collection_id: str, assets: Json) -> Json:
    """A collection as the API gives it."""
    here = f"{DEFAULT_ROOT_URL}collections/{collection_id}"
    links = [
        _link("items", f"{here}/items", "application/geo+json"),
        _link("parent", DEFAULT_ROOT_URL),
        _link("root", DEFAULT_ROOT_URL),
        _link("self", here),
    ]
    return {**_collection(collection_id, assets), "links": links}


def catalog() -> Json:
    """The catalog at the top of the archive."""
    return {
        "type": "Catalog",
        "id": DATASET_ID,
        "stac_version": "1.0.0",
        "stac_extensions": [],
        "title": _TITLE,
        "description": _DESCRIPTION,
        "links": [
            _link("root", "catalog.json"),
            *(_link("child", f"{collection_id}/collection.json") for collection_id in COLLECTIONS),
            _link("self", "catalog.json"),
        ],
    }


def dataset(documentation_url: str) -> Json:
    """The dataset as the API gives it."""
    address = urlsplit(documentation_url)
    west, south, east, north = _WORLD
    ring = [[east, south], [east, north], [west, north], [west, south], [east, south]]
    return {
        "id": DATASET_ID,
        "bbox": {"type": "MultiPolygon", "coordinates": [[ring]]},
        "citation": _CITATION,
        "collections": [
            {"id": collection_id, "types": list(text.types), "license": _LICENSE_LINK}
            for collection_id, text in COLLECTIONS.items()
        ],
        "creator_contact": {"contact": None, "creator": "mlhub-flows"},
        "date_added": "2021-11-30T12:00:00.000000+00:00",
        "date_modified": "2021-12-01T12:00:00.000000+00:00",
        "description": _DESCRIPTION,
        "documentation_link": documentation_url,
        "doi": DOI,
        "publications": None,
        "registry": f"{address.scheme}://{address.netloc}/",
        "status": "ready",
        "tags": ["crop type", "agriculture", "segmentation", "sentinel-2", "demo"],
        "title": _TITLE,
        "tools_applications": None,
        "tutorials": None,
    }


def model(checkpoint: Json) -> Json:
    """A machine-learning model as the API gives it; ``checkpoint`` is its one asset."""
    here = f"{DEFAULT_ROOT_URL}collections/{MODEL_ID}"
    box = Box(*_WORLD)
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [_EXTENSIONS["ml-model"], _EXTENSIONS["scientific"]],
        "id": MODEL_ID,
        "collection": MODEL_ID,
        "geometry": box.geometry,
        "bbox": box.bbox,
        "properties": {
            "title": "A model that tells maize from wheat, on paper",
            "description": "Stands in for a model in the demo; its checkpoint is random numbers.",
            "license": _LICENSE,
            "sci:doi": DOI,
            "sci:citation": _CITATION,
            "providers": _PROVIDERS,
            "datetime": None,
            "start_datetime": "2021-03-01T00:00:00Z",
            "end_datetime": "2021-10-31T23:59:59Z",
            "ml-model:type": "ml-model",
            "ml-model:architecture": "cnn",
            "ml-model:prediction_type": "segmentation",
            "ml-model:learning_approach": "supervised",
            "ml-model:training-os": "linux",
            "ml-model:training-processor-type": "cpu",
        },
        "assets": {"inferencing-checkpoint": checkpoint},
        "links": [
            _link("collection", here),
            _link("parent", here),
            _link("root", DEFAULT_ROOT_URL),
            _link("self", f"{DEFAULT_ROOT_URL}models/{MODEL_ID}", "application/geo+json"),
            _link("ml-model:train-data", f"{DEFAULT_ROOT_URL}collections/{SOURCE_ID}"),
            _link("ml-model:train-data", f"{DEFAULT_ROOT_URL}collections/{LABELS_ID}"),
        ],
    }


def _collection(collection_id: str, assets: Json) -> Json:
    text = COLLECTIONS[collection_id]
    return {
        "type": "Collection",
        "id": collection_id,
        "stac_version": "1.0.0",
        "stac_extensions": [_EXTENSIONS["scientific"]],
        "title": text.title,
        "description": text.description,
        "license": _LICENSE,
        "providers": _PROVIDERS,
        "sci:doi": DOI,
        "sci:citation": _CITATION,
        "extent": {
            "spatial": {"bbox": [_WORLD]},
            "temporal": {"interval": [list(text.interval)]},
        },
        "assets": assets,
    }


def _link(rel: str, href: str, media_type: str = "application/json") -> Json:
    return {"rel": rel, "href": href, "type": media_type}
