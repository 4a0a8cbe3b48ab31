"""The reference client's name of :mod:`mlhub_core.datasets`, and of the modules in it."""

import sys
from typing import Any

from mlhub_core import datasets

# Who imports `mlhub_core.models.dataset` imports this module first, and finds that one then.
for _name in ("dataset", "collection", "ml_model"):
    sys.modules[f"{__name__}.{_name}"] = datasets


def __getattr__(name: str) -> Any:
    return getattr(datasets, name)
