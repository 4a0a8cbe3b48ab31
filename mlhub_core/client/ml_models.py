"""The model endpoints."""

from __future__ import annotations

from typing import Any

from mlhub_core.client._entity import fetch_list, fetch_object, segment


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
