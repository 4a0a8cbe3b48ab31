"""A source that is looked into from Python: its items and its index, in a place of its own."""

from __future__ import annotations

import logging
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlhub_core.datasets.indexes import index_source
from mlhub_core.sources.base import Catalog, SourceSpec
from mlhub_core.sources.documents import Kind

if TYPE_CHECKING:
    import geopandas
    import pystac

    from mlhub_core.session import Login

log = logging.getLogger(__name__)


class Opened:
    """A source, and what came of it: kept for as long as this lives.

    Args:
        source: The source.
        login: For hubs.
    """

    def __init__(self, source: SourceSpec, login: Login) -> None:
        self._source = source
        self._login = login
        self._place: str | None = None
        self._catalog: Catalog | None = None

    def items(self) -> Iterator[pystac.Item]:
        """Its items, one at a time, as PySTAC reads them.

        Raises:
            MLHubException: all that the source raises.
        """
        for document in self._acquired().read():
            if document.problem:
                log.warning("%s: %s", document.path, document.problem)
            if document.kind is Kind.ITEMS:
                for raw in document.objects:
                    item = _item(raw, document.path, document.base)
                    if item is not None:
                        yield item

    def index(self, output: str | Path | None) -> geopandas.GeoDataFrame:
        """Its asset index.

        Args:
            output: Where it goes; None for a place that is gone with this object.

        Raises:
            MLHubException: all that the source raises.
        """
        import geopandas

        place = self._directory() / "index.parquet" if output is None else output
        return geopandas.read_parquet(index_source(self._source, place, **self._login).path)

    def _directory(self) -> Path:
        if self._place is None:
            self._place = tempfile.mkdtemp(prefix="mlhub-")
            weakref.finalize(self, shutil.rmtree, self._place, ignore_errors=True)
        return Path(self._place)

    def _acquired(self) -> Catalog:
        from mlhub_core.paths import DownloadPaths
        from mlhub_core.sources import open_source, with_source

        if self._catalog is None:
            found = open_source(self._source, **self._login)
            self._catalog = found.here()
            if self._catalog is None:
                name = found.dataset_id or found.describe().id
                place = DownloadPaths.of(name, self._directory())
                self._catalog = found.acquire(with_source(place, self._source))
        return self._catalog


def _item(raw: dict[str, Any], path: str, base: str | None) -> pystac.Item | None:
    """An item as PySTAC reads it, of whatever version of STAC; None of one that it cannot read."""
    import pystac

    whole = {"links": [], "assets": {}, "geometry": None, "properties": {}, **raw}
    try:
        item = pystac.Item.from_dict(whole, href=base, preserve_dict=False, migrate=True)
    except (pystac.STACError, KeyError, TypeError, ValueError, AttributeError) as error:
        log.warning("%s is left out: PySTAC cannot read it (%s)", path, error)
        return None
    return item
