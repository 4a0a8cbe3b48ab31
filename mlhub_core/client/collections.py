"""The collection and item endpoints."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterator
from typing import Any

from mlhub_core.client._entity import fetch_list, fetch_object, identified, segment
from mlhub_core.client.search import as_words
from mlhub_core.exceptions import APIError, EntityDoesNotExist, InvalidArgument
from mlhub_core.session import get_session


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
