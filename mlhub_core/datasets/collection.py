"""Collections, as PySTAC collections that can ask the hub for more."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pystac

from mlhub_core import client
from mlhub_core.client._entity import identified, reading_stac
from mlhub_core.exceptions import EntityDoesNotExist
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.metadata import count_of
from mlhub_core.datasets.lenient import complete_collection


class Collection(pystac.Collection):
    """A collection of the hub.

    Args:
        *args: As for :class:`pystac.Collection`.
        api_key: Used by everything this object asks the hub later.
        profile: Likewise.
        **kwargs: As for :class:`pystac.Collection`.
    """

    def __init__(
        self,
        id: str,
        description: str,
        extent: pystac.Extent,
        *args: Any,
        api_key: str | None = None,
        profile: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(id, description, extent, *args, **kwargs)
        self.session_kwargs: dict[str, Any] = {"api_key": api_key, "profile": profile}

    @classmethod
    def from_dict(
        cls,
        d: dict[str, Any],
        href: str | None = None,
        root: pystac.Catalog | None = None,
        migrate: bool = False,
        preserve_dict: bool = True,
        *,
        api_key: str | None = None,
        profile: str | None = None,
    ) -> Collection:
        """Make a collection from a STAC Collection object; missing required fields are filled."""
        complete = complete_collection(d)
        collection: Collection = super().from_dict(complete, href, root, migrate, preserve_dict)
        collection.session_kwargs = {"api_key": api_key, "profile": profile}
        return collection

    @classmethod
    def fetch(
        cls, collection_id: str, *, api_key: str | None = None, profile: str | None = None
    ) -> Collection:
        """One collection by its id.

        Raises:
            EntityDoesNotExist: if the hub has none of that id.
            MLHubException: all that the session raises.
        """
        found = client.get_collection(collection_id, api_key=api_key, profile=profile)
        return cls._of(found, api_key, profile)

    @classmethod
    def list(
        cls, *, api_key: str | None = None, profile: str | None = None
    ) -> builtins.list[Collection]:
        """All collections of the hub.

        Raises:
            MLHubException: all that the session raises.
        """
        listed = client.list_collections(api_key=api_key, profile=profile)
        return [cls._of(found, api_key, profile) for found in listed]

    @classmethod
    def _of(cls, found: dict[str, Any], api_key: str | None, profile: str | None) -> Collection:
        found = identified(found, "collections")
        with reading_stac(f"Collection {found['id']}"):
            return cls.from_dict(found, api_key=api_key, profile=profile)

    def _session_kwargs(self, api_key: str | None, profile: str | None) -> dict[str, Any]:
        return {
            "api_key": api_key or self.session_kwargs["api_key"],
            "profile": profile or self.session_kwargs["profile"],
        }

    def get_items(self, *ids: str, recursive: bool = False) -> Iterator[pystac.Item]:
        """Not to be had: collections hold up to millions of items, one request for a page each.

        Raises:
            NotImplementedError: always; use :meth:`Dataset.download
                <mlhub_core.datasets.dataset.Dataset.download>`, whose asset index holds them all, or
                :func:`~mlhub_core.client.list_collection_items` for a few.
        """
        raise NotImplementedError(
            "Items are not fetched one by one: use Dataset.download(catalog_only=True), whose "
            "catalog holds them all, or mlhub_core.client.list_collection_items for a few."
        )

    def fetch_item(
        self, item_id: str, *, api_key: str | None = None, profile: str | None = None
    ) -> pystac.Item:
        """One item of this collection.

        Raises:
            EntityDoesNotExist: if there is none of that id.
            MLHubException: all that the session raises.
        """
        found = client.get_collection_item(
            self.id, item_id, **self._session_kwargs(api_key, profile)
        )
        with reading_stac(f"Item {item_id}"):
            return pystac.Item.from_dict(found, migrate=False)

    def download(
        self,
        output_dir: str | Path | None = None,
        *,
        if_exists: DownloadIfExistsOpts | str = DownloadIfExistsOpts.resume,
        api_key: str | None = None,
        profile: str | None = None,
    ) -> Path:
        """Download the archive of this collection.

        Arguments, result and errors are those of
        :func:`~mlhub_core.client.download_collection_archive`.
        """
        return client.download_collection_archive(
            self.id, output_dir, if_exists=if_exists, **self._session_kwargs(api_key, profile)
        )

    @property
    def registry_url(self) -> str | None:
        """The collection's page, by its DOI; None if it has none."""
        doi = self.extra_fields.get("sci:doi")
        return f"https://mlhub.earth/{doi}" if doi else None

    @property
    def archive_size(self) -> int | None:
        """Bytes of the collection's archive, None if there is none. Asks the hub each time."""
        try:
            info = client.get_collection_archive_info(self.id, **self.session_kwargs)
        except EntityDoesNotExist:
            return None
        return count_of(info.get("size"))

    def __str__(self) -> str:
        return f"{self.id}: {self.description}"
