"""The endpoints of the MLHub API, a function each, with the reference client's names.

Each takes ``api_key`` and ``profile`` as :func:`~mlhub_core.session.get_session` does, and raises
what the session raises. Which datasets a search finds: ``docs/adr/0003``.
"""

from __future__ import annotations

import itertools
import operator
import re
from collections.abc import Iterable, Iterator
from typing import Any

from mlhub_core.client.answers import fetch_list, fetch_object, identified, segment
from mlhub_core.exceptions import APIError, EntityDoesNotExist, InvalidArgument
from mlhub_core.session import get_session
from mlhub_core.settings import ApiSettings

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


def get_collection_archive_info(
    archive_id: str, *, api_key: str | None = None, profile: str | None = None
) -> dict[str, Any]:
    """What is known of a collection's archive (``GET /archive/{archive_id}/info``).

    Args:
        archive_id: The collection's id.
        api_key: As for :func:`~mlhub_core.session.get_session`.
        profile: As for :func:`~mlhub_core.session.get_session`.

    Returns:
        ``collection``, ``dataset``, ``size`` (bytes) and ``types``.

    Raises:
        EntityDoesNotExist: if there is none.
        MLHubException: all that the session raises.
    """
    return fetch_object(
        f"archive/{segment('archive_id', archive_id)}/info",
        f'Archive "{archive_id}" does not exist on this hub.',
        api_key=api_key,
        profile=profile,
    )


def list_collections(
    *, api_key: str | None = None, profile: str | None = None
) -> list[dict[str, Any]]:
    """All collections of the hub (``GET /collections``), as STAC Collection objects.

    Raises:
        MLHubException: all that the session raises.
    """
    return fetch_list("collections", member="collections", api_key=api_key, profile=profile)


def get_collection(
    collection_id: str, *, api_key: str | None = None, profile: str | None = None
) -> dict[str, Any]:
    """One collection (``GET /collections/{collection_id}``), as a STAC Collection object.

    Raises:
        EntityDoesNotExist: if the hub has none of that id.
        MLHubException: all that the session raises.
    """
    return fetch_object(
        f"collections/{segment('collection_id', collection_id)}",
        f'Collection "{collection_id}" does not exist on this hub.',
        api_key=api_key,
        profile=profile,
    )


def list_collection_items(
    collection_id: str,
    *,
    page_size: int | None = None,
    extensions: list[str] | None = None,
    limit: int | None = 10,
    api_key: str | None = None,
    profile: str | None = None,
) -> Iterator[dict[str, Any]]:
    """Items of a collection, page by page (``GET /collections/{collection_id}/items``).

    For whole datasets, download the catalog instead: it is one request.

    Args:
        collection_id: The collection.
        page_size: Items asked for per page; None leaves it to the hub.
        extensions: Only items that use all of these STAC extensions.
        limit: Items at most in all, 0 for none; None means all there are.
        api_key: As for :func:`~mlhub_core.session.get_session`.
        profile: As for :func:`~mlhub_core.session.get_session`.

    Yields:
        STAC Item objects.

    Raises:
        InvalidArgument: if ``page_size`` or ``limit`` is no such number.
        EntityDoesNotExist: if the hub has no such collection.
        MLHubException: all that the session raises.
    """
    limit = _count("limit", limit, 0)
    page_size = _count("page_size", page_size, 1)
    path = f"collections/{segment('collection_id', collection_id)}/items"
    params: dict[str, Any] = {}
    if page_size is not None:
        params["limit"] = page_size
    if extensions is not None:
        params["extensions"] = list(as_words("extensions", extensions))

    def items() -> Iterator[dict[str, Any]]:
        with get_session(api_key=api_key, profile=profile) as session:
            try:
                for page in session.paginate(path, params=params):
                    features = page.get("features")
                    if not isinstance(features, list):
                        raise APIError(f"{path} answered with a page that has no features.")
                    yield from (identified(feature, path) for feature in features)
            except EntityDoesNotExist as error:
                raise EntityDoesNotExist(
                    f'Collection "{collection_id}" does not exist on this hub.',
                    response=error.response,
                ) from error

    return itertools.islice(items(), limit)


def get_collection_item(
    collection_id: str,
    item_id: str,
    api_key: str | None = None,
    profile: str | None = None,
) -> dict[str, Any]:
    """One item (``GET /collections/{collection_id}/items/{item_id}``), as a STAC Item object.

    Raises:
        EntityDoesNotExist: if the hub has no such collection or item.
        MLHubException: all that the session raises.
    """
    path = f"{segment('collection_id', collection_id)}/items/{segment('item_id', item_id)}"
    return fetch_object(
        f"collections/{path}",
        f'Collection "{collection_id}" or its item "{item_id}" does not exist on this hub.',
        api_key=api_key,
        profile=profile,
    )


def list_models(*, api_key: str | None = None, profile: str | None = None) -> list[dict[str, Any]]:
    """All models of the hub (``GET /models``), as STAC Item objects.

    Raises:
        MLHubException: all that the session raises.
    """
    return fetch_list("models", api_key=api_key, profile=profile)


def get_model_by_id(
    model_id: str, *, api_key: str | None = None, profile: str | None = None
) -> dict[str, Any]:
    """One model (``GET /models/{model_id}``), as a STAC Item object.

    Raises:
        EntityDoesNotExist: if the hub has none of that id.
        MLHubException: all that the session raises.
    """
    return fetch_object(
        f"models/{segment('model_id', model_id)}",
        f'MLModel "{model_id}" does not exist on this hub.',
        api_key=api_key,
        profile=profile,
    )


def as_words(label: str, value: str | Iterable[str] | None) -> tuple[str, ...]:
    """Turn one string or several into a tuple.

    Raises:
        InvalidArgument: if something in it is not a string, or empty.
    """
    if value is None:
        return ()
    if not isinstance(value, Iterable):
        raise InvalidArgument(f"{label} is {value!r}: use one or more non-empty strings.")
    words = (value,) if isinstance(value, str) else tuple(value)
    for word in words:
        if not isinstance(word, str) or not word.strip():
            raise InvalidArgument(f"{label} holds {word!r}: use one or more non-empty strings.")
    return words


def matches(dataset: dict[str, Any], tags: Iterable[str], text: Iterable[str]) -> bool:
    """Whether a dataset carries all tags, exactly, and all phrases somewhere in its texts.

    Phrases are compared without regard to case; a phrase has to stand within one text field.
    """
    own_tags = dataset.get("tags")
    if not all(tag in (own_tags if isinstance(own_tags, list) else ()) for tag in tags):
        return False
    phrases = [phrase.casefold() for phrase in text]
    if not phrases:
        return True
    fields = [field.casefold() for field in _texts(dataset)]
    return all(any(phrase in field for field in fields) for phrase in phrases)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _count(label: str, number: Any, least: int) -> int | None:
    """A whole number, of whatever library, or None.

    Raises:
        InvalidArgument: for anything else.
    """
    how = f"{label} is {number!r}: use a whole number, {least} or more, or None."
    if number is None:
        return None
    try:
        count = operator.index(number)
    except TypeError as error:
        raise InvalidArgument(how) from error
    if count < least:
        raise InvalidArgument(how)
    return count
