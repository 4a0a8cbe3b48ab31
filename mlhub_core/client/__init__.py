"""Low-level functions for the endpoints of the MLHub API, with the reference client's names."""

import importlib
import sys
from typing import Any

from mlhub_core.client.downloads import (
    ResumableDownloader,
    download_collection_archive,
    one_to_one_check,
    one_to_range_check,
    range_to_range_check,
)
from mlhub_core.client.endpoints import (
    get_catalog_info,
    get_collection,
    get_collection_archive_info,
    get_collection_item,
    get_dataset,
    get_dataset_by_doi,
    get_dataset_by_id,
    get_model_by_id,
    list_collection_items,
    list_collections,
    list_datasets,
    list_models,
)

__all__ = [
    "COMMON_ASSET_NAMES",
    "CatalogDownloader",
    "CatalogDownloaderConfig",
    "ResumableDownloader",
    "download_collection_archive",
    "get_catalog_info",
    "get_collection",
    "get_collection_archive_info",
    "get_collection_item",
    "get_dataset",
    "get_dataset_by_doi",
    "get_dataset_by_id",
    "get_model_by_id",
    "list_collection_items",
    "list_collections",
    "list_datasets",
    "list_models",
    "one_to_one_check",
    "one_to_range_check",
    "range_to_range_check",
]

# The reference client has a module for each of these; scripts import from it.
for _name in (
    *("catalog_downloader", "collections", "datasets", "datetime_utils", "ml_models"),
    "resumable_downloader",
):
    sys.modules[f"{__name__}.{_name}"] = globals()[_name] = sys.modules[__name__]


def __getattr__(name: str) -> Any:
    # What downloads a dataset is made on top of this package, and loaded when it is asked for.
    if name in ("CatalogDownloader", "CatalogDownloaderConfig", "COMMON_ASSET_NAMES"):
        return getattr(importlib.import_module("mlhub_core.datasets.downloader"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
