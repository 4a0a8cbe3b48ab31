"""The endpoints of the MLHub API, a function each, with the reference client's names.

Each takes ``api_key`` and ``profile`` as :func:`~mlhub_core.session.get_session` does, and raises
what the session raises. Which datasets a search finds: ``docs/adr/0003``.
"""

from __future__ import annotations

import itertools
import operator
import re
from collections.abc import Iterable, Iterator
from typing import Any, Unpack
from urllib.parse import quote

from mlhub_core.exceptions import InvalidArgument
from mlhub_core.http_errors import APIError, EntityDoesNotExist
from mlhub_core.redact import redact
from mlhub_core.session import Login, get_session
from mlhub_core.settings import ApiSettings

TagOrTagList = str | Iterable[str]
TextOrTextList = str | Iterable[str]

_DOI_PREFIX = re.compile(r"(?i)^(https?://(dx\.)?doi\.org/|doi:\s*)")
_MOST_BYTES = 2**63 - 1


def list_datasets(
    *,
    tags: TagOrTagList | None = None,
    text: TextOrTextList | None = None,
    **login: Unpack[Login],
) -> list[dict[str, Any]]:
    """All datasets of the hub that match (``GET /datasets``).

    Args:
        tags: Only datasets that carry all of these, exactly.
        text: Only datasets in whose texts all of these phrases stand, in any case.
        **login: As for :func:`~mlhub_core.session.get_session`.

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
    datasets = _get_list("datasets", params=params, **login)
    # Once more here: a mirror that is a plain file server knows no parameters.
    return [dataset for dataset in datasets if matches(dataset, wanted_tags, phrases)]


def get_dataset_by_id(dataset_id: str, **login: Unpack[Login]) -> dict[str, Any]:
    """One dataset by its id (``GET /datasets/{dataset_id}``).

    Raises:
        EntityDoesNotExist: if the hub has none of that id.
        MLHubException: all that the session raises.
    """
    return _get_object(
        f"datasets/{segment('dataset_id', dataset_id)}",
        f'Dataset "{dataset_id}" does not exist on this hub: `mlhub datasets list` shows those '
        "that do.",
        **login,
    )


def get_dataset_by_doi(dataset_doi: str, **login: Unpack[Login]) -> dict[str, Any]:
    """One dataset by its DOI (``GET /datasets/doi/{dataset_doi}``).

    Args:
        dataset_doi: Such as ``10.6084/m9.figshare.12047478.v2``; ``doi:`` or ``https://doi.org/``
            before it is taken off.
        **login: As for :func:`~mlhub_core.session.get_session`.

    Raises:
        EntityDoesNotExist: if the hub has none of that DOI.
        MLHubException: all that the session raises.
    """
    doi = _DOI_PREFIX.sub("", dataset_doi) if isinstance(dataset_doi, str) else dataset_doi
    return _get_object(
        f"datasets/doi/{segment('dataset_doi', doi, safe='/')}",
        f'Dataset with DOI "{doi}" does not exist on this hub: `mlhub datasets list` shows those '
        "that do.",
        **login,
    )


def get_dataset(dataset_id_or_doi: str, **login: Unpack[Login]) -> dict[str, Any]:
    """One dataset by its id or, if there is a ``/`` in it, by its DOI.

    Raises:
        EntityDoesNotExist: if the hub has no such dataset.
        MLHubException: all that the session raises.
    """
    is_doi = isinstance(dataset_id_or_doi, str) and (
        "/" in dataset_id_or_doi or bool(_DOI_PREFIX.match(dataset_id_or_doi))
    )
    get = get_dataset_by_doi if is_doi else get_dataset_by_id
    return get(dataset_id_or_doi, **login)


def get_catalog_info(
    dataset_id: str,
    *,
    settings: ApiSettings | None = None,
    **login: Unpack[Login],
) -> dict[str, Any]:
    """Sizes of a dataset (``GET /catalog/{dataset_id}/info``).

    Returns:
        ``dataset``, ``stac_catalog_size`` (bytes of the archive) and ``estimated_dataset_size``
        (bytes of all assets, as far as the hub knows).

    Raises:
        EntityDoesNotExist: if the dataset has no catalog.
        MLHubException: all that the session raises.
    """
    return _get_object(
        f"catalog/{segment('dataset_id', dataset_id)}/info",
        f'The hub has no catalog of the dataset "{dataset_id}".',
        **login,
        settings=settings,
    )


def get_collection_archive_info(archive_id: str, **login: Unpack[Login]) -> dict[str, Any]:
    """What is known of a collection's archive (``GET /archive/{archive_id}/info``).

    Args:
        archive_id: The collection's id.
        **login: As for :func:`~mlhub_core.session.get_session`.

    Returns:
        ``collection``, ``dataset``, ``size`` (bytes) and ``types``.

    Raises:
        EntityDoesNotExist: if there is none.
        MLHubException: all that the session raises.
    """
    return _get_object(
        f"archive/{segment('archive_id', archive_id)}/info",
        f'Archive "{archive_id}" does not exist on this hub.',
        **login,
    )


def list_collections(**login: Unpack[Login]) -> list[dict[str, Any]]:
    """All collections of the hub (``GET /collections``), as STAC Collection objects.

    Raises:
        MLHubException: all that the session raises.
    """
    return _get_list("collections", member="collections", **login)


def get_collection(collection_id: str, **login: Unpack[Login]) -> dict[str, Any]:
    """One collection (``GET /collections/{collection_id}``), as a STAC Collection object.

    Raises:
        EntityDoesNotExist: if the hub has none of that id.
        MLHubException: all that the session raises.
    """
    return _get_object(
        f"collections/{segment('collection_id', collection_id)}",
        f'Collection "{collection_id}" does not exist on this hub.',
        **login,
    )


def list_collection_items(
    collection_id: str,
    *,
    page_size: int | None = None,
    extensions: list[str] | None = None,
    limit: int | None = 10,
    **login: Unpack[Login],
) -> Iterator[dict[str, Any]]:
    """Items of a collection, page by page (``GET /collections/{collection_id}/items``).

    For whole datasets, download the catalog instead: it is one request.

    Args:
        collection_id: The collection.
        page_size: Items asked for per page; None leaves it to the hub.
        extensions: Only items that use all of these STAC extensions.
        limit: Items at most in all, 0 for none; None means all there are.
        **login: As for :func:`~mlhub_core.session.get_session`.

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
        with get_session(**login) as session:
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
    **login: Unpack[Login],
) -> dict[str, Any]:
    """One item (``GET /collections/{collection_id}/items/{item_id}``), as a STAC Item object.

    Raises:
        EntityDoesNotExist: if the hub has no such collection or item.
        MLHubException: all that the session raises.
    """
    path = f"{segment('collection_id', collection_id)}/items/{segment('item_id', item_id)}"
    return _get_object(
        f"collections/{path}",
        f'Collection "{collection_id}" or its item "{item_id}" does not exist on this hub.',
        **login,
    )


def list_models(**login: Unpack[Login]) -> list[dict[str, Any]]:
    """All models of the hub (``GET /models``), as STAC Item objects.

    Raises:
        MLHubException: all that the session raises.
    """
    return _get_list("models", **login)


def get_model_by_id(model_id: str, **login: Unpack[Login]) -> dict[str, Any]:
    """One model (``GET /models/{model_id}``), as a STAC Item object.

    Raises:
        EntityDoesNotExist: if the hub has none of that id.
        MLHubException: all that the session raises.
    """
    return _get_object(
        f"models/{segment('model_id', model_id)}",
        f'MLModel "{model_id}" does not exist on this hub.',
        **login,
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


def segment(label: str, value: str, *, safe: str = "") -> str:
    """Quote an id for use in a path.

    Args:
        label: What it is, for the error.
        value: The id.
        safe: Characters that stay as they are.

    Raises:
        InvalidArgument: if it is no string, empty, or would lead elsewhere.
    """
    if not isinstance(value, str) or not value.strip():
        raise InvalidArgument(f"{label} is {value!r}: give a non-empty id.")
    if any(part in (".", "..") for part in value.split("/")):
        raise InvalidArgument(f"{label} is {value!r}, which is no id: leave the dots out.")
    return quote(value.strip(), safe=safe)


def _get_object(
    path: str, missing: str, *, settings: ApiSettings | None = None, **login: Unpack[Login]
) -> dict[str, Any]:
    """GET one JSON object; ``missing`` is what to say on 404."""
    with get_session(settings=settings, **login) as session:
        try:
            answer = session.get_json(path)
        except EntityDoesNotExist as error:
            raise EntityDoesNotExist(missing, response=error.response) from error
    if not isinstance(answer, dict):
        raise APIError(f"{redact(path)} did not answer with a JSON object.")
    return answer


def _get_list(
    path: str,
    *,
    params: dict[str, Any] | None = None,
    member: str | None = None,
    **login: Unpack[Login],
) -> list[dict[str, Any]]:
    """GET a JSON list, or the list under one member of an object."""
    with get_session(**login) as session:
        answer = session.get_json(path, params=params)
    if member is not None and isinstance(answer, dict):
        answer = answer.get(member)
    if not isinstance(answer, list):
        raise APIError(f"{redact(path)} did not answer with a list of JSON objects.")
    return [identified(entry, path) for entry in answer]


def identified(entity: Any, path: str) -> dict[str, Any]:
    """Check that something is a JSON object with an id that can be asked for.

    Raises:
        APIError: if it is not.
    """
    entity_id = entity.get("id") if isinstance(entity, dict) else None
    if not isinstance(entity_id, str) or not entity_id.strip():
        raise APIError(f"{redact(path)} answered with something that has no id.")
    found: dict[str, Any] = entity
    return found


def types_of(collection: dict[str, Any]) -> tuple[str, ...]:
    """What a collection is to its dataset, as that lists it."""
    types = collection.get("types")
    return tuple(kind for kind in types if isinstance(kind, str)) if isinstance(types, list) else ()


def count_of(value: Any) -> int | None:
    """A number of bytes, None where it is none."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number and 0 <= value <= _MOST_BYTES else None


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
