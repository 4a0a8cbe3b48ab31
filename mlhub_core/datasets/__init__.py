"""Objects over the MLHub API: datasets, collections and models.

Those that are PySTAC's are loaded when first used: a download needs none of them, and PySTAC takes
longer to load than it takes to see that everything is there.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mlhub_core.datasets.dataset import CollectionList, CollectionType, Dataset

if TYPE_CHECKING:
    from mlhub_core.datasets.collection import Collection
    from mlhub_core.datasets.ml_model import MLModel

__all__ = ["Collection", "CollectionList", "CollectionType", "Dataset", "MLModel"]

_HOMES = {
    "Collection": "mlhub_core.datasets.collection",
    "MLModel": "mlhub_core.datasets.ml_model",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
