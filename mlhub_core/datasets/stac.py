"""Collections and models of the hub, as PySTAC objects that can ask it for more."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Self

import pystac

from mlhub_core import client
from mlhub_core.client.answers import count_of, identified, reading_stac
from mlhub_core.datasets.lenient import complete_collection
from mlhub_core.exceptions import EntityDoesNotExist
from mlhub_core.if_exists import DownloadIfExistsOpts


class _HubObject(pystac.STACObject):
    """What collections and models share: made of the hub's answers, they know how to ask it again.

    Args:
        *args: As for PySTAC's class.
        api_key: Used by everything this object asks the hub later.
        profile: Likewise.
        **kwargs: As for PySTAC's class.
    """

    _ENDPOINT: ClassVar[str]

    def __init__(
        self, *args: Any, api_key: str | None = None, profile: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.session_kwargs: dict[str, Any] = {"api_key": api_key, "profile": profile}

    @classmethod
    def from_dict(
        cls,
        d: dict[str, Any],
        *args: Any,
        api_key: str | None = None,
        profile: str | None = None,
        **kwargs: Any,
    ) -> Self:
        """Make one from a STAC object; the other arguments are those of PySTAC's class."""
        made = super().from_dict(d, *args, **kwargs)
        made.session_kwargs = {"api_key": api_key, "profile": profile}
        return made

    @classmethod
    def _of(cls, found: Any, api_key: str | None, profile: str | None) -> Self:
        """Make one from the hub's answer, whatever that is."""
        found = identified(found, cls._ENDPOINT)
        with reading_stac(f"{cls.__name__} {found['id']}"):
            return cls.from_dict(found, api_key=api_key, profile=profile)


class Collection(_HubObject, pystac.Collection):
    """A collection of the hub; required fields that its description lacks are filled in."""

    _ENDPOINT = "collections"

    @classmethod
    def from_dict(cls, d: dict[str, Any], *args: Any, **kwargs: Any) -> Self:
        """Make a collection from a STAC Collection object, as old or careless as it may be."""
        return super().from_dict(complete_collection(d), *args, **kwargs)

    @classmethod
    def fetch(
        cls, collection_id: str, *, api_key: str | None = None, profile: str | None = None
    ) -> Self:
        """One collection by its id.

        Raises:
            EntityDoesNotExist: if the hub has none of that id.
            MLHubException: all that the session raises.
        """
        found = client.get_collection(collection_id, api_key=api_key, profile=profile)
        return cls._of(found, api_key, profile)

    @classmethod
    def list(cls, *, api_key: str | None = None, profile: str | None = None) -> builtins.list[Self]:
        """All collections of the hub.

        Raises:
            MLHubException: all that the session raises.
        """
        listed = client.list_collections(api_key=api_key, profile=profile)
        return [cls._of(found, api_key, profile) for found in listed]

    def _session_kwargs(self, api_key: str | None, profile: str | None) -> dict[str, Any]:
        return {
            "api_key": api_key or self.session_kwargs["api_key"],
            "profile": profile or self.session_kwargs["profile"],
        }

    def get_items(self, *ids: str, recursive: bool = False) -> Iterator[pystac.Item]:
        """Not to be had: collections hold up to millions of items, one request for a page each.

        Raises:
            NotImplementedError: always, with what to use instead.
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


class MLModel(_HubObject, pystac.Item):
    """A model of the hub, described by the STAC ml-model extension."""

    _ENDPOINT = "models"

    @classmethod
    def fetch(
        cls, model_id: str, *, api_key: str | None = None, profile: str | None = None
    ) -> Self:
        """One model by its id.

        Raises:
            EntityDoesNotExist: if the hub has none of that id.
            MLHubException: all that the session raises.
        """
        found = client.get_model_by_id(model_id, api_key=api_key, profile=profile)
        return cls._of(found, api_key, profile)

    @classmethod
    def list(cls, *, api_key: str | None = None, profile: str | None = None) -> builtins.list[Self]:
        """All models of the hub.

        Raises:
            MLHubException: all that the session raises.
        """
        listed = client.list_models(api_key=api_key, profile=profile)
        return [cls._of(found, api_key, profile) for found in listed]

    def __str__(self) -> str:
        return f"{self.id}: {self.properties.get('title', '')}"
