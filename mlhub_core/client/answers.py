"""Answers of the hub: fetching one JSON object or a list of them, and reading their fields."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from mlhub_core.exceptions import APIError, EntityDoesNotExist, InvalidArgument
from mlhub_core.redact import redact
from mlhub_core.session import get_session
from mlhub_core.settings import ApiSettings

_MOST_BYTES = 2**63 - 1


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


def fetch_object(
    path: str,
    missing: str,
    *,
    api_key: str | None,
    profile: str | None,
    settings: ApiSettings | None = None,
) -> dict[str, Any]:
    """GET one JSON object.

    Args:
        path: Relative to the hub's root.
        missing: What to say on 404.
        api_key: As for :func:`~mlhub_core.session.get_session`.
        profile: As for :func:`~mlhub_core.session.get_session`.
        settings: Time-outs and retries.

    Raises:
        EntityDoesNotExist: on 404.
        APIError: if the answer is no JSON object, or another error status.
    """
    with get_session(api_key=api_key, profile=profile, settings=settings) as session:
        try:
            answer = session.get_json(path)
        except EntityDoesNotExist as error:
            raise EntityDoesNotExist(missing, response=error.response) from error
    if not isinstance(answer, dict):
        raise APIError(f"{redact(path)} did not answer with a JSON object.")
    return answer


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


@contextmanager
def reading_stac(what: str) -> Iterator[None]:
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


def fetch_list(
    path: str,
    *,
    params: dict[str, Any] | None = None,
    member: str | None = None,
    api_key: str | None,
    profile: str | None,
) -> list[dict[str, Any]]:
    """GET a JSON list, or the list under one member of an object.

    Raises:
        APIError: if the answer is something else, or an error status.
    """
    with get_session(api_key=api_key, profile=profile) as session:
        answer = session.get_json(path, params=params)
    if member is not None and isinstance(answer, dict):
        answer = answer.get(member)
    if not isinstance(answer, list):
        raise APIError(f"{redact(path)} did not answer with a list of JSON objects.")
    return [identified(entry, path) for entry in answer]


def types_of(collection: dict[str, Any]) -> tuple[str, ...]:
    """What a collection is to its dataset, as that lists it."""
    types = collection.get("types")
    return tuple(kind for kind in types if isinstance(kind, str)) if isinstance(types, list) else ()


def count_of(value: Any) -> int | None:
    """A number of bytes, None where it is none."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number and 0 <= value <= _MOST_BYTES else None
