"""A catalog of many items, each answer late: asked for once each, and then by validators."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.late_catalog import LateCatalog
from mlhub_core.index.build import index_assets
from mlhub_core.paths import DownloadPaths
from mlhub_core.sources import open_source
from mlhub_core.sources.base import SourceSpec


@pytest.mark.parametrize(
    ("items", "milliseconds"), [(300, 0), pytest.param(20_000, 20, marks=pytest.mark.slow)]
)
def test_each_document_is_asked_for_once(items: int, milliseconds: int, tmp_path: Path) -> None:
    documents = 1 + (items - 1) // 1000 + 1 + items
    paths = DownloadPaths.of("late", tmp_path)
    with LateCatalog(items, milliseconds) as server:
        source = open_source(SourceSpec(server.url, "static", "late"))
        catalog = source.acquire(paths)
        assert server.requests == documents
        index = index_assets(catalog, paths)
        assert (index.items, index.assets, index.missing) == (items, 4 * items, 0)
        again = source.acquire(paths)
        assert server.requests == 2 * documents
    assert again == catalog
    assert index_assets(again, paths).reused
