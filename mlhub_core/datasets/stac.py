"""Collections and models of the hub, as PySTAC objects that can ask it for more."""

from __future__ import annotations

import builtins
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Self, Unpack

import pystac

from mlhub_core import client
from mlhub_core.client.endpoints import count_of, identified
from mlhub_core.http_errors import APIError, EntityDoesNotExist
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.index.datetimes import edges, microseconds
from mlhub_core.session import Login, given_or_known

log = logging.getLogger(__name__)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_VERSION = "1.0.0"
_WORLD = [-180.0, -90.0, 180.0, 90.0]
_ALWAYS: list[str | None] = [None, None]
_REQUIRED = ("id", "description", "license", "links")


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
        self.session_kwargs: Login = {"api_key": api_key, "profile": profile}

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
    def _of(cls, found: Any, **login: Unpack[Login]) -> Self:
        """Make one from the hub's answer, whatever that is."""
        found = identified(found, cls._ENDPOINT)
        with _reading_stac(f"{cls.__name__} {found['id']}"):
            return cls.from_dict(found, **login)


class Collection(_HubObject, pystac.Collection):
    """A collection of the hub; required fields that its description lacks are filled in."""

    _ENDPOINT = "collections"

    @classmethod
    def from_dict(cls, d: dict[str, Any], *args: Any, **kwargs: Any) -> Self:
        """Make a collection from a STAC Collection object, as old or careless as it may be."""
        return super().from_dict(complete_collection(d), *args, **kwargs)

    @classmethod
    def fetch(cls, collection_id: str, **login: Unpack[Login]) -> Self:
        """One collection by its id.

        Raises:
            EntityDoesNotExist: if the hub has none of that id.
            MLHubException: all that the session raises.
        """
        return cls._of(client.get_collection(collection_id, **login), **login)

    @classmethod
    def list(cls, **login: Unpack[Login]) -> builtins.list[Self]:
        """All collections of the hub.

        Raises:
            MLHubException: all that the session raises.
        """
        return [cls._of(found, **login) for found in client.list_collections(**login)]

    def get_items(self, *ids: str, recursive: bool = False) -> Iterator[pystac.Item]:
        """Not to be had: collections hold up to millions of items, one request for a page each.

        Raises:
            NotImplementedError: always, with what to use instead.
        """
        raise NotImplementedError(
            "Items are not fetched one by one: use Dataset.download(catalog_only=True), whose "
            "catalog holds them all, or mlhub_core.client.list_collection_items for a few."
        )

    def fetch_item(self, item_id: str, **login: Unpack[Login]) -> pystac.Item:
        """One item of this collection.

        Raises:
            EntityDoesNotExist: if there is none of that id.
            MLHubException: all that the session raises.
        """
        found = client.get_collection_item(
            self.id, item_id, **given_or_known(login, self.session_kwargs)
        )
        with _reading_stac(f"Item {item_id}"):
            return pystac.Item.from_dict(found, migrate=False)

    def download(
        self,
        output_dir: str | Path | None = None,
        *,
        if_exists: DownloadIfExistsOpts | str = DownloadIfExistsOpts.resume,
        **login: Unpack[Login],
    ) -> Path:
        """Download the archive of this collection.

        Arguments, result and errors are those of
        :func:`~mlhub_core.client.download_collection_archive`.
        """
        return client.download_collection_archive(
            self.id,
            output_dir,
            if_exists=if_exists,
            **given_or_known(login, self.session_kwargs),
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
    def fetch(cls, model_id: str, **login: Unpack[Login]) -> Self:
        """One model by its id.

        Raises:
            EntityDoesNotExist: if the hub has none of that id.
            MLHubException: all that the session raises.
        """
        return cls._of(client.get_model_by_id(model_id, **login), **login)

    @classmethod
    def list(cls, **login: Unpack[Login]) -> builtins.list[Self]:
        """All models of the hub.

        Raises:
            MLHubException: all that the session raises.
        """
        return [cls._of(found, **login) for found in client.list_models(**login)]

    def __str__(self) -> str:
        return f"{self.id}: {self.properties.get('title', '')}"


@contextmanager
def _reading_stac(what: str) -> Iterator[None]:
    """Say in one line that an answer is no STAC: PySTAC fails on it in any way there is.

    Args:
        what: What the answer was to be.
    """
    try:
        yield
    except Exception as error:
        who, why = (" ".join(str(text).split())[:200] for text in (what, error))
        raise APIError(
            f"{who}: the hub's answer is not what STAC says ({type(error).__name__}: {why})."
        ) from error


def complete_collection(given: dict[str, Any]) -> dict[str, Any]:
    """Fill in required fields that are missing, and leave out what is of a wrong type.

    Before 1.0.0 collections had no ``type``, which PySTAC then forbids, and boxes and intervals
    that stood by themselves; they become collections of 1.0.0. What is left out is logged.
    """
    found = {name: value for name, value in given.items() if value is not None}
    before = {name: found.get(name) for name in _USABLE}
    for name, usable in _USABLE.items():
        if name in found or name in _REQUIRED:
            found[name] = usable(found.get(name))
    changed = [name for name, value in before.items() if value is not None and found[name] != value]
    if changed:
        log.warning("collection %r: read in part: %s", found["id"][:80], ", ".join(changed))
    extent = _fields(found.get("extent"))
    spatial, temporal = extent.get("spatial"), extent.get("temporal")
    found["extent"] = {
        **extent,
        "spatial": {**_fields(spatial), "bbox": _boxes(spatial)},
        "temporal": {**_fields(temporal), "interval": _intervals(temporal)},
    }
    version = found.get("stac_version")
    if not isinstance(version, str) or not version[:1].isdecimal() or _is_old(version):
        found["stac_version"] = _VERSION
    return found | {"type": "Collection"}


def _is_old(version: str) -> bool:
    return version.startswith("0.") or version.startswith("1.0.0-beta")


def _boxes(spatial: Any) -> list[list[float]]:
    boxes = spatial.get("bbox") if isinstance(spatial, dict) else spatial
    if _is_box(boxes):
        boxes = [boxes]
    return [box for box in _listed(boxes) if _is_box(box)] or [_WORLD]


def _is_box(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) in (4, 6)
        and all(isinstance(number, int | float) for number in value)
    )


def _intervals(temporal: Any) -> list[list[str | None]]:
    intervals = temporal.get("interval") if isinstance(temporal, dict) else temporal
    if isinstance(intervals, list) and intervals and not isinstance(intervals[0], list):
        intervals = [intervals]
    pairs = [pair for pair in _listed(intervals) if isinstance(pair, list) and len(pair) == 2]
    return [[_moment(pair[0], 0), _moment(pair[1], 1)] for pair in pairs] or [_ALWAYS]


def _moment(value: Any, side: int) -> str | None:
    """A moment as RFC 3339; of a year or month its first or last one, None of what is none."""
    if not isinstance(value, str):
        return None
    found = microseconds(value)
    if found is None:
        sides = edges(value)
        found = None if sides is None else sides[side]
    return None if found is None else (_EPOCH + timedelta(microseconds=found)).isoformat()


def _fields(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _links(value: Any) -> list[Any]:
    return [
        link
        for link in _listed(value)
        if isinstance(link, dict)
        and isinstance(link.get("rel"), str)
        and isinstance(link.get("href"), str)
    ]


def _providers(value: Any) -> list[Any]:
    return [one for one in _listed(value) if isinstance(one, dict) and "name" in one]


def _assets(value: Any) -> dict[str, Any]:
    return {
        key: asset
        for key, asset in _fields(value).items()
        if isinstance(asset, dict) and isinstance(asset.get("href"), str)
    }


_USABLE: dict[str, Callable[[Any], Any]] = {
    "id": lambda value: "" if value is None else str(value),
    "description": lambda value: value if isinstance(value, str) else "",
    "license": lambda value: value if isinstance(value, str) else "other",
    "links": _links,
    "providers": _providers,
    "assets": _assets,
    "summaries": _fields,
    "stac_extensions": lambda value: [one for one in _listed(value) if isinstance(one, str)],
}
