"""Machine-learning models, as PySTAC items."""

from __future__ import annotations

import builtins
import datetime as dt
from typing import Any

import pystac

from mlhub_core import client
from mlhub_core.client._entity import identified, reading_stac


class MLModel(pystac.Item):
    """A model of the hub, described by the STAC ml-model extension.

    Args:
        *args: As for :class:`pystac.Item`.
        api_key: Used by everything this object asks the hub later.
        profile: Likewise.
        **kwargs: As for :class:`pystac.Item`.
    """

    def __init__(
        self,
        id: str,
        geometry: dict[str, Any] | None,
        bbox: builtins.list[float] | None,
        datetime: dt.datetime | None,
        properties: dict[str, Any],
        *args: Any,
        api_key: str | None = None,
        profile: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(id, geometry, bbox, datetime, properties, *args, **kwargs)
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
    ) -> MLModel:
        """Make a model from a STAC Item object."""
        model: MLModel = super().from_dict(d, href, root, migrate, preserve_dict)
        model.session_kwargs = {"api_key": api_key, "profile": profile}
        return model

    @classmethod
    def fetch(
        cls, model_id: str, *, api_key: str | None = None, profile: str | None = None
    ) -> MLModel:
        """One model by its id.

        Raises:
            EntityDoesNotExist: if the hub has none of that id.
            MLHubException: all that the session raises.
        """
        found = client.get_model_by_id(model_id, api_key=api_key, profile=profile)
        return cls._of(found, api_key, profile)

    @classmethod
    def list(
        cls, *, api_key: str | None = None, profile: str | None = None
    ) -> builtins.list[MLModel]:
        """All models of the hub.

        Raises:
            MLHubException: all that the session raises.
        """
        listed = client.list_models(api_key=api_key, profile=profile)
        return [cls._of(found, api_key, profile) for found in listed]

    @classmethod
    def _of(cls, found: dict[str, Any], api_key: str | None, profile: str | None) -> MLModel:
        found = identified(found, "models")
        with reading_stac(f"MLModel {found['id']}"):
            return cls.from_dict(found, api_key=api_key, profile=profile)

    def __str__(self) -> str:
        return f"{self.id}: {self.properties.get('title', '')}"
