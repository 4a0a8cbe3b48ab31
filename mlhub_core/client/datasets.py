"""The dataset endpoints."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from mlhub_core.client._entity import fetch_list, fetch_object, segment
from mlhub_core.client.archives import download_collection_archive, get_collection_archive_info
from mlhub_core.client.search import as_words, matches
from mlhub_core.settings import ApiSettings

__all__ = [
    "download_collection_archive",
    "get_catalog_info",
    "get_collection_archive_info",
    "get_dataset",
    "get_dataset_by_doi",
    "get_dataset_by_id",
    "list_datasets",
]

TagOrTagList = str | Iterable[str]
TextOrTextList = str | Iterable[str]

_DOI_PREFIX = re.compile(r"(?i)^(https?://(dx\.)?doi\.org/|doi:\s*)")


def list_datasets(
    *,
    tags: TagOrTagList | None = None,
    text: TextOrTextList | None = None,
    api_key: str | None = None,
    profile: str | None = None,
) -> list[dict[str, Any]]:
    """All datasets of the hub that match (``GET /datasets``).

    Args:
        tags: Only datasets that carry all of these, exactly.
        text: Only datasets in whose texts all of these phrases stand, in any case.
        api_key: As for :func:`~mlhub_core.session.get_session`.
        profile: As for :func:`~mlhub_core.session.get_session`.

    Returns:
        Dataset objects as the API gives them.

    Raises:
        InvalidArgument: if a tag or phrase is empty.
        MLHubException: all that the session raises.
    """
    wanted_tags, phrases = as_words("tags", tags), as_words("text", text)
    params: dict[str, Any] = {}
    if wanted_tags:
        params["tags"] = list(wanted_tags)
    if phrases:
        params["text"] = list(phrases)
    datasets = fetch_list("datasets", params=params, api_key=api_key, profile=profile)
    # Once more here: a mirror that is a plain file server knows no parameters.
    return [dataset for dataset in datasets if matches(dataset, wanted_tags, phrases)]


def get_dataset_by_id(
    dataset_id: str, *, api_key: str | None = None, profile: str | None = None
) -> dict[str, Any]:
    """One dataset by its id (``GET /datasets/{dataset_id}``).

    Raises:
        EntityDoesNotExist: if the hub has none of that id.
        MLHubException: all that the session raises.
    """
    return fetch_object(
        f"datasets/{segment('dataset_id', dataset_id)}",
        f'Dataset "{dataset_id}" does not exist on this hub: `mlhub datasets list` shows those '
        "that do.",
        api_key=api_key,
        profile=profile,
    )


def get_dataset_by_doi(
    dataset_doi: str, *, api_key: str | None = None, profile: str | None = None
) -> dict[str, Any]:
    """One dataset by its DOI (``GET /datasets/doi/{dataset_doi}``).

    Args:
        dataset_doi: Such as ``10.6084/m9.figshare.12047478.v2``; ``doi:`` or ``https://doi.org/``
            before it is taken off.
        api_key: As for :func:`~mlhub_core.session.get_session`.
        profile: As for :func:`~mlhub_core.session.get_session`.

    Raises:
        EntityDoesNotExist: if the hub has none of that DOI.
        MLHubException: all that the session raises.
    """
    doi = _DOI_PREFIX.sub("", dataset_doi) if isinstance(dataset_doi, str) else dataset_doi
    return fetch_object(
        f"datasets/doi/{segment('dataset_doi', doi, safe='/')}",
        f'Dataset with DOI "{doi}" does not exist on this hub: `mlhub datasets list` shows those '
        "that do.",
        api_key=api_key,
        profile=profile,
    )


def get_dataset(
    dataset_id_or_doi: str, *, api_key: str | None = None, profile: str | None = None
) -> dict[str, Any]:
    """One dataset by its id or, if there is a ``/`` in it, by its DOI.

    Raises:
        EntityDoesNotExist: if the hub has no such dataset.
        MLHubException: all that the session raises.
    """
    is_doi = isinstance(dataset_id_or_doi, str) and (
        "/" in dataset_id_or_doi or bool(_DOI_PREFIX.match(dataset_id_or_doi))
    )
    get = get_dataset_by_doi if is_doi else get_dataset_by_id
    return get(dataset_id_or_doi, api_key=api_key, profile=profile)


def get_catalog_info(
    dataset_id: str,
    *,
    api_key: str | None = None,
    profile: str | None = None,
    settings: ApiSettings | None = None,
) -> dict[str, Any]:
    """Sizes of a dataset (``GET /catalog/{dataset_id}/info``).

    Returns:
        ``dataset``, ``stac_catalog_size`` (bytes of the archive) and ``estimated_dataset_size``
        (bytes of all assets, as far as the hub knows).

    Raises:
        EntityDoesNotExist: if the dataset has no catalog.
        MLHubException: all that the session raises.
    """
    return fetch_object(
        f"catalog/{segment('dataset_id', dataset_id)}/info",
        f'The hub has no catalog of the dataset "{dataset_id}".',
        api_key=api_key,
        profile=profile,
        settings=settings,
    )
