"""Low-level functions for the endpoints of the MLHub API, with the reference client's names."""

from mlhub_core.client.archives import download_collection_archive, get_collection_archive_info
from mlhub_core.client.catalog_downloader import CatalogDownloader, CatalogDownloaderConfig
from mlhub_core.client.collections import (
    get_collection,
    get_collection_item,
    list_collection_items,
    list_collections,
)
from mlhub_core.client.datasets import (
    get_catalog_info,
    get_dataset,
    get_dataset_by_doi,
    get_dataset_by_id,
    list_datasets,
)
from mlhub_core.client.datetime_utils import (
    one_to_one_check,
    one_to_range_check,
    range_to_range_check,
)
from mlhub_core.client.ml_models import get_model_by_id, list_models
from mlhub_core.client.resumable_downloader import ResumableDownloader

__all__ = [
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
