"""Objects over the MLHub API: datasets, collections and models.

Those that are PySTAC's are loaded when first used: a download needs none of them, and PySTAC takes
longer to load than it takes to see that everything is there.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mlhub_core.datasets.dataset import CollectionList, CollectionType, Dataset

if TYPE_CHECKING:
    from mlhub_core.datasets.stac import Collection, MLModel

__all__ = ["Collection", "CollectionList", "CollectionType", "Dataset", "MLModel"]


def __getattr__(name: str) -> Any:
    if name in ("Collection", "MLModel"):
        return getattr(importlib.import_module("mlhub_core.datasets.stac"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
