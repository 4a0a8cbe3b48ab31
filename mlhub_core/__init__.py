"""Find, filter and download geospatial machine-learning datasets published as MLHub catalogs.

The names are those of the reference client, ``radiant_mlhub``, the modules among them included:
``client``, ``exceptions``, ``if_exists``, ``models`` and ``session``. They are loaded when first
used: ``import mlhub_core`` itself is quick, and brings in neither GeoPandas nor PyArrow.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from mlhub_core._version import __version__
from mlhub_core.unsupported import why_not

if TYPE_CHECKING:
    from mlhub_core import client as client
    from mlhub_core import datasets as datasets
    from mlhub_core import exceptions as exceptions
    from mlhub_core import if_exists as if_exists
    from mlhub_core import models as models
    from mlhub_core import session as session
    from mlhub_core.datasets import Collection, Dataset, MLModel
    from mlhub_core.datasets.indexes import index_source, query_index
    from mlhub_core.if_exists import DownloadIfExistsOpts
    from mlhub_core.products.local import LocalDataset, open_local
    from mlhub_core.session import Session, get_session

# Arrow's allocator takes memory in large pages, and the system clears two megabytes for a few
# kilobytes of a column. It is only heard before Arrow is loaded, and what people have set stands.
os.environ.setdefault("MIMALLOC_ALLOW_THP", "0")

__all__ = [
    "Collection",
    "Dataset",
    "DownloadIfExistsOpts",
    "LocalDataset",
    "MLModel",
    "Session",
    "__version__",
    "get_session",
    "index_source",
    "open_local",
    "query_index",
]

_HOMES = {
    "Collection": "mlhub_core.datasets",
    "Dataset": "mlhub_core.datasets",
    "DownloadIfExistsOpts": "mlhub_core.if_exists",
    "LocalDataset": "mlhub_core.products.local",
    "MLModel": "mlhub_core.datasets",
    "Session": "mlhub_core.session",
    "get_session": "mlhub_core.session",
    "index_source": "mlhub_core.datasets.indexes",
    "open_local": "mlhub_core.products.local",
    "query_index": "mlhub_core.datasets.indexes",
}
_MODULES = ("client", "exceptions", "if_exists", "models", "session")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"mlhub_core.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if reason := why_not():
        raise ImportError(reason)
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted((*__all__, *_MODULES))
