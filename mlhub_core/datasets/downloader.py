"""The reference client's way to download: a configuration, and what downloads when it is called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from mlhub_core.datasets.dataset import Dataset
from mlhub_core.exceptions import InvalidArgument
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.paths import COMMON_ASSET_KEYS, DownloadPaths
from mlhub_core.session import Session

COMMON_ASSET_NAMES = sorted(COMMON_ASSET_KEYS)
"""Assets that go to ``_common`` where they are one file."""


@dataclass(kw_only=True)
class CatalogDownloaderConfig:
    """What a :class:`CatalogDownloader` downloads.

    Attributes:
        dataset_id: Id of the dataset.
        output_dir: Where archive and catalog go.
        mlhub_api_session: Its key is used where neither ``api_key`` nor ``profile`` is given.
        asset_output_dir: Where assets go; None means ``output_dir``.
        temporal_query: What :meth:`Dataset.download` calls ``datetime``.

    All others are as for :meth:`Dataset.download <mlhub_core.datasets.dataset.Dataset.download>`.
    """

    dataset_id: str
    output_dir: str | Path
    mlhub_api_session: requests.Session | None = None
    api_key: str | None = None
    profile: str | None = None
    asset_output_dir: str | Path | None = None
    catalog_only: bool = False
    if_exists: DownloadIfExistsOpts | str = DownloadIfExistsOpts.resume
    bbox: Sequence[float] | None = None
    intersects: Any = None
    temporal_query: Any = None
    collection_filter: Mapping[str, Iterable[str]] | None = None

    def __post_init__(self) -> None:
        """Check what can be checked at once.

        Raises:
            InvalidArgument: if ``if_exists`` is no option.
        """
        self.if_exists = DownloadIfExistsOpts.of(self.if_exists)


class CatalogDownloader:
    """Downloads the catalog of a dataset and all assets that match, when it is called.

    Args:
        config: What to download, and where to.

    Attributes:
        config: As given.
        work_dir: Where the catalog goes.
        asset_dir: Where the assets go.
        err_report_path: Where that lists what failed; no such file where nothing did.

    Raises:
        InvalidArgument: if both ``bbox`` and ``intersects`` are given.
    """

    def __init__(self, config: CatalogDownloaderConfig) -> None:
        if config.bbox is not None and config.intersects is not None:
            raise InvalidArgument("bbox and intersects exclude each other: give one of them.")
        paths = DownloadPaths.of(config.dataset_id, config.output_dir, config.asset_output_dir)
        self.config = config
        self.work_dir = paths.catalog_dir
        self.asset_dir = paths.asset_dir
        self.err_report_path = paths.err_report

    def __call__(self) -> None:
        """Download; errors are those of :meth:`Dataset.download`."""
        c = self.config
        api_key = c.api_key
        if not (api_key or c.profile) and isinstance(c.mlhub_api_session, Session):
            api_key = c.mlhub_api_session.api_key
        Dataset(c.dataset_id, api_key=api_key, profile=c.profile).download(
            c.output_dir,
            asset_output_dir=c.asset_output_dir,
            catalog_only=c.catalog_only,
            if_exists=c.if_exists,
            bbox=c.bbox,
            intersects=c.intersects,
            datetime=c.temporal_query,
            collection_filter=c.collection_filter,
        )
