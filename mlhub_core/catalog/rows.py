"""Rows of the index while they are collected, and their way into Arrow.

What all assets of an item share is kept once an item and multiplied by Arrow: that is quicker than
a row at a time, and nothing outlives its batch.
"""

from __future__ import annotations

from typing import NamedTuple

import pyarrow as pa

from mlhub_core.catalog.hrefs import Relative
from mlhub_core.catalog.items import AssetEntry, ItemEntry
from mlhub_core.catalog.places import Bounds
from mlhub_core.catalog.savepaths import Claim
from mlhub_core.catalog.schema import aside_schema, box_array, index_schema, texts_type

_MAX_ROWS = 100_000
"""Of a row group: large enough to pack well, small enough to prune on."""
_MAX_TEXT = 48 * 1024 * 1024
"""Characters and bytes of a batch: long properties make smaller row groups, not more memory."""
_ROW_BYTES = 400
"""About what a row takes besides its texts."""


class Owner(NamedTuple):
    """Whose assets they are.

    Attributes:
        collection_id: The collection.
        item: The item; None for the collection's own assets.
    """

    collection_id: str
    item: ItemEntry | None


class Waiting(NamedTuple):
    """Why a row cannot be finished before the end of the archive.

    Attributes:
        common_name: Its name in a ``_common`` directory; None where it may not lie in one.
        claim: What it wants in its own directory.
        unsettled: Whether the save path is not known yet at all.
    """

    common_name: str | None
    claim: Claim
    unsettled: bool


class Rows:
    """Collects rows for one batch.

    Args:
        aside: Whether they wait for the end of the archive; then each comes with a reason.
    """

    def __init__(self, *, aside: bool = False) -> None:
        self._aside = aside
        self.clear()

    def clear(self) -> None:
        """Start a new batch."""
        self._text = 0
        self._owners: list[Owner] = []
        self._owner_of: list[int] = []
        self._assets: list[AssetEntry] = []
        self._save_paths: list[str] = []
        self._waiting: list[Waiting] = []

    def __len__(self) -> int:
        return len(self._assets)

    @property
    def is_full(self) -> bool:
        """Whether it is time to write the batch."""
        return len(self._assets) >= _MAX_ROWS or self._text >= _MAX_TEXT

    def add(
        self,
        owner: Owner,
        asset: AssetEntry,
        save_path: str,
        waiting: Waiting | None = None,
    ) -> None:
        """Add a row; those of one owner one after the other."""
        if not self._owners or self._owners[-1] is not owner:
            # Not before there is a row of it: a batch that gets none is never written and emptied.
            self._owners.append(owner)
        self._owner_of.append(len(self._owners) - 1)
        self._assets.append(asset)
        self._save_paths.append(save_path)
        self._text += _ROW_BYTES
        if owner.item is not None:
            self._text += len(owner.item.properties)
            self._text += len(owner.item.shape.wkb) if owner.item.shape else 0
        if waiting is not None:
            self._waiting.append(waiting)

    def to_batch(self) -> pa.RecordBatch:
        """The rows as Arrow."""
        assets, items = self._assets, [owner.item for owner in self._owners]
        owner_of = pa.array(self._owner_of, pa.int32())
        shared = {
            "collection_id": pa.array([owner.collection_id for owner in self._owners], pa.string()),
            "item_id": pa.array([item and item.item_id for item in items], pa.string()),
            "datetime": _moments([item and item.moment for item in items]),
            "start_datetime": _moments([item and item.start for item in items]),
            "end_datetime": _moments([item and item.end for item in items]),
            "item_bbox": box_array(item and item.bbox for item in items),
            "bbox": box_array(item and item.cover for item in items),
            "properties": pa.array([item and item.properties for item in items], pa.string()),
            "source_items": pa.array([item and item.sources for item in items], texts_type()),
            "geometry": pa.array(
                [item.shape.wkb if item and item.shape else None for item in items], pa.binary()
            ),
        }
        columns = {name: column.take(owner_of) for name, column in shared.items()}
        columns |= {
            "asset_key": pa.array([asset.key for asset in assets], pa.string()),
            "href": pa.array([_known_href(asset.href) for asset in assets], pa.string()),
            "media_type": pa.array([asset.media_type for asset in assets], pa.string()),
            "roles": pa.array([asset.roles for asset in assets], texts_type()),
            "save_path": pa.array(self._save_paths, pa.string()),
            "common_asset": pa.repeat(False, len(assets)),
            "file_size": pa.array([asset.file_size for asset in assets], pa.int64()),
            "checksum": pa.array([asset.checksum for asset in assets], pa.string()),
        }
        schema = index_schema()
        if self._aside:
            columns |= self._waiting_columns()
            schema = aside_schema()
        return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)

    def _waiting_columns(self) -> dict[str, pa.Array]:
        waiting, hrefs = self._waiting, [asset.href for asset in self._assets]
        text = pa.string()
        return {
            "_common_name": pa.array([reason.common_name for reason in waiting], text),
            "_identity": pa.array([reason.claim.identity for reason in waiting], text),
            "_stem": pa.array([reason.claim.stem for reason in waiting], text),
            "_suffix": pa.array([reason.claim.suffix for reason in waiting], text),
            "_unsettled": pa.array([reason.unsettled for reason in waiting], pa.bool_()),
            "_candidates": pa.array(
                [list(href.candidates) if isinstance(href, Relative) else None for href in hrefs],
                texts_type(),
            ),
            "_url": pa.array(
                [href.url if isinstance(href, Relative) else None for href in hrefs], text
            ),
        }


class Extent:
    """What the index as a whole spans, for its metadata."""

    def __init__(self) -> None:
        self.kinds: set[str] = set()
        self.bounds: Bounds | None = None

    def include(self, item: ItemEntry) -> None:
        """Widen it by an item."""
        if item.shape is not None:
            self.kinds.add(item.shape.kind)
        if item.cover is None:
            return
        if self.bounds is None:
            self.bounds = item.cover
            return
        west, south, east, north = self.bounds
        w, s, e, n = item.cover
        self.bounds = min(west, w), min(south, s), max(east, e), max(north, n)


def _moments(values: list[int | None]) -> pa.Array:
    return pa.array(values, pa.int64()).cast(pa.timestamp("us", tz="UTC"))


def _known_href(href: str | Relative) -> str:
    return href if isinstance(href, str) else ""
