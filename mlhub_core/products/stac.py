"""The local STAC as a product: what a run must know of it, without what it takes to write one."""

from __future__ import annotations

import logging
from typing import Any

from mlhub_core.exceptions import InvalidArgument
from mlhub_core.paths import PRODUCTS_NAME, DownloadPaths
from mlhub_core.products.base import Made, digest
from mlhub_core.products.publishing import check_in_place
from mlhub_core.sources.base import Catalog
from mlhub_core.state import read_state
from mlhub_core.threads import StopFlag
from mlhub_core.work import Work

log = logging.getLogger(__name__)

_VERSION = 1


class StacProduct:
    """The local STAC, in mode ``copy`` in a directory of its own, ``inplace`` beside the files."""

    def check(self, mode: str, paths: DownloadPaths, *, unarchive: bool) -> None:
        """See :class:`~mlhub_core.products.base.Product`."""
        if mode == "inplace" and unarchive and paths.output_dir == paths.asset_output_dir:
            raise InvalidArgument(
                "stac inplace (--stac inplace) goes where the catalog is unarchived to: leave that "
                "in its archive (--no-unarchive), or name another asset_output_dir "
                "(--asset-output-dir)."
            )

    def check_place(self, mode: str, paths: DownloadPaths) -> None:
        """See :class:`~mlhub_core.products.base.Product`."""
        if mode == "inplace":
            check_in_place(paths)

    def last_mode(self, paths: DownloadPaths) -> str | None:
        """See :class:`~mlhub_core.products.base.Product`."""
        state = read_state(paths.state_dir / PRODUCTS_NAME)
        if state is None:
            return None
        return "inplace" if state.get("mode") == "inplace" else "copy"

    def write(
        self,
        paths: DownloadPaths,
        catalog: Catalog | None,
        mode: str,
        work: Work,
    ) -> Made | None:
        """See :class:`~mlhub_core.products.base.Product`."""
        found = digest(paths, _VERSION)
        if current := _current(paths, found, mode):
            self._describe(paths, work.stop)
            return current
        from mlhub_core.products.local_stac import catalog_here, write_local_stac

        catalog = catalog or catalog_here(paths, work.stop)
        if catalog is None:
            log.warning(
                "%s: its catalog is not here, so its local STAC stays as it is: download it again",
                paths.dataset_id,
            )
            return None
        state = write_local_stac(paths, catalog, found, mode, work)
        self._describe(paths, work.stop)
        return _made(paths, state, reused=False)

    def _describe(self, paths: DownloadPaths, stop: StopFlag) -> None:
        """Write ``croissant.json``, which is made of the local STAC, if it is of another one."""
        state = read_state(paths.state_dir / PRODUCTS_NAME) or {}
        is_current = state.get("described") == state.get("digest")
        if is_current and (paths.asset_dir / str(state.get("croissant"))).is_file():
            return
        from mlhub_core.products.croissant import write_croissant

        write_croissant(paths, state, stop)


def _current(paths: DownloadPaths, found: str, mode: str) -> Made | None:
    """The local STAC that is there, if it is of this state of what is here."""
    state = read_state(paths.state_dir / PRODUCTS_NAME) or {}
    if state.get("digest") != found or state.get("mode", "copy") != mode:
        return None
    made = _made(paths, state, reused=True)
    is_whole = made.path.is_file() and (paths.asset_dir / str(state.get("table"))).is_file()
    return made if is_whole else None


def _made(paths: DownloadPaths, state: dict[str, Any], *, reused: bool) -> Made:
    items = state.get("items", 0)
    contents = "1 item" if items == 1 else f"{items:,} items"
    return Made(paths.asset_dir / str(state.get("stac")) / "catalog.json", contents, reused)
