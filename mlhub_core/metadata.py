"""What the hub says about a dataset, as a small value that travels between steps."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import Any

from mlhub_core.client.endpoints import get_catalog_info, get_dataset
from mlhub_core.exceptions import APIError, EntityDoesNotExist, HubUnreachable
from mlhub_core.redact import without_secrets
from mlhub_core.settings import ApiSettings

log = logging.getLogger(__name__)

_FOR_SHOW = ApiSettings(connect_timeout=5, read_timeout=10, max_attempts=2)
"""How the hub is asked for what a run can do without."""

_MOST_BYTES = 2**63 - 1
_MARKDOWN_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """A collection as its dataset lists it.

    Attributes:
        id: Its id.
        types: ``source_imagery``, ``labels``, or both.
        license: In plain text, None when not given.
    """

    id: str
    types: tuple[str, ...] = ()
    license: str | None = None


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """A dataset as the hub describes it.

    Attributes:
        id: Its id; also the name of its directory.
        title: None when not given.
        doi: None when there is none.
        citation: How to cite it.
        registry_url: Its page.
        collections: What it consists of.
        stac_catalog_size: Bytes of the catalog archive, None when unknown.
        estimated_dataset_size: Bytes of all assets, None when unknown.
    """

    id: str
    title: str | None = None
    doi: str | None = None
    citation: str | None = None
    registry_url: str | None = None
    collections: tuple[CollectionInfo, ...] = ()
    stac_catalog_size: int | None = None
    estimated_dataset_size: int | None = None

    @classmethod
    def from_api(cls, dataset: dict[str, Any], sizes: dict[str, Any] | None = None) -> DatasetInfo:
        """Read the API's objects; what is missing or of the wrong type is None.

        Raises:
            APIError: if the object has no id.
        """
        dataset_id = _text(dataset.get("id"))
        if dataset_id is None:
            raise APIError("The hub answered with a dataset that has no id.")
        listed = dataset.get("collections")
        sizes = sizes or {}
        return cls(
            dataset_id,
            _words(dataset.get("title")),
            _text(dataset.get("doi")),
            _words(dataset.get("citation")),
            _text(dataset.get("registry")),
            tuple(
                CollectionInfo(
                    entry["id"],
                    types_of(entry),
                    _plain(_words(entry.get("license"))),
                )
                for entry in (listed if isinstance(listed, list) else ())
                if isinstance(entry, dict) and _text(entry.get("id"))
            ),
            count_of(sizes.get("stac_catalog_size")),
            count_of(sizes.get("estimated_dataset_size")),
        )


def fetch_metadata(
    dataset_id_or_doi: str, *, api_key: str | None = None, profile: str | None = None
) -> DatasetInfo:
    """Ask the hub about a dataset: the dataset itself, and the sizes of its catalog and data.

    Sizes are for show: a hub that does not tell them, for whatever reason, may still have the
    catalog.

    Raises:
        EntityDoesNotExist: if the hub has no such dataset.
        MLHubException: all that the session raises.
    """
    dataset = get_dataset(dataset_id_or_doi, api_key=api_key, profile=profile)
    info = DatasetInfo.from_api(dataset)
    try:
        sizes = get_catalog_info(info.id, api_key=api_key, profile=profile, settings=_FOR_SHOW)
    except EntityDoesNotExist:
        return info
    except (APIError, HubUnreachable) as error:
        log.warning("The sizes of %s are not known: %s", info.id, error)
        return info
    return DatasetInfo.from_api(dataset, sizes)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def _words(value: Any) -> str | None:
    """A text for people; some hubs repeat in it what was asked, the key included."""
    text = _text(value)
    return text and without_secrets(text)


def _plain(text: str | None) -> str | None:
    return text and _MARKDOWN_LINK.sub(r"\1", text)


def types_of(collection: dict[str, Any]) -> tuple[str, ...]:
    """What a collection is to its dataset, as that lists it."""
    types = collection.get("types")
    return tuple(kind for kind in types if isinstance(kind, str)) if isinstance(types, list) else ()


def count_of(value: Any) -> int | None:
    """A number of bytes, None where it is none."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number and 0 <= value <= _MOST_BYTES else None
