"""Rows that cannot be finished before the end of the archive, while they are collected."""

from __future__ import annotations

from typing import NamedTuple

import pyarrow as pa

from mlhub_core.buffers import numbers_of, text_lists_of, texts_of, truths_of
from mlhub_core.index.hrefs import Relative
from mlhub_core.index.items import AssetEntry, ItemEntry
from mlhub_core.index.rows import item_columns, known_href
from mlhub_core.index.save_paths import Claim
from mlhub_core.index.schema import aside_schema, texts_type

_MAX_ROWS = 100_000
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


class WaitingRows:
    """Collects rows for one batch, each with the reason why it waits.

    Attributes:
        at: Which member of the archive the next ones are of: their order.
    """

    def __init__(self) -> None:
        self.at = 0
        self.clear()

    def clear(self) -> None:
        """Start a new batch."""
        self._text = 0
        self._owners: list[Owner] = []
        self._owner_of: list[int] = []
        self._assets: list[AssetEntry] = []
        self._save_paths: list[str] = []
        self._numbers: list[int] = []
        self._waiting: list[Waiting] = []

    def __len__(self) -> int:
        return len(self._assets)

    @property
    def is_full(self) -> bool:
        """Whether it is time to write the batch."""
        return len(self._assets) >= _MAX_ROWS or self._text >= _MAX_TEXT

    def add(self, owner: Owner, asset: AssetEntry, save_path: str, waiting: Waiting) -> None:
        """Add a row; those of one owner one after the other."""
        if not self._owners or self._owners[-1] is not owner:
            # Not before there is a row of it: a batch that gets none is never written and emptied.
            self._owners.append(owner)
        self._owner_of.append(len(self._owners) - 1)
        self._assets.append(asset)
        self._save_paths.append(save_path)
        self._numbers.append(self.at)
        self._text += _ROW_BYTES
        if owner.item is not None:
            self._text += len(owner.item.properties)
            self._text += len(owner.item.shape.wkb) if owner.item.shape else 0
        self._waiting.append(waiting)

    def to_batch(self) -> pa.RecordBatch:
        """The rows as Arrow."""
        assets = self._assets
        owner_of = numbers_of(self._owner_of, pa.int32())
        shared = item_columns([owner.item for owner in self._owners])
        shared["collection_id"] = texts_of([owner.collection_id for owner in self._owners])
        columns = {name: column.take(owner_of) for name, column in shared.items()}
        columns |= {
            "asset_key": texts_of([asset.key for asset in assets]),
            "href": texts_of([known_href(asset) for asset in assets]),
            "media_type": texts_of([asset.media_type for asset in assets]),
            "roles": text_lists_of([asset.roles for asset in assets], texts_type()),
            "save_path": texts_of(self._save_paths),
            "common_asset": truths_of([False] * len(assets)),
            "file_size": numbers_of([asset.file_size for asset in assets], pa.int64()),
            "checksum": texts_of([asset.checksum for asset in assets]),
            "updated": texts_of([asset.updated for asset in assets]),
            "_item_updated": texts_of([self._item_updated(number) for number in self._owner_of]),
            "_number": numbers_of(self._numbers, pa.int64()),
            **self._waiting_columns(),
        }
        schema = aside_schema()
        return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)

    def _item_updated(self, owner: int) -> str | None:
        item = self._owners[owner].item
        return None if item is None else item.updated

    def _waiting_columns(self) -> dict[str, pa.Array]:
        waiting, hrefs = self._waiting, [asset.href for asset in self._assets]
        return {
            "_common_name": texts_of([reason.common_name for reason in waiting]),
            "_identity": texts_of([reason.claim.identity for reason in waiting]),
            "_stem": texts_of([reason.claim.stem for reason in waiting]),
            "_suffix": texts_of([reason.claim.suffix for reason in waiting]),
            "_unsettled": truths_of([reason.unsettled for reason in waiting]),
            "_candidates": text_lists_of(
                [list(href.candidates) if isinstance(href, Relative) else None for href in hrefs],
                texts_type(),
            ),
            "_url": texts_of([href.url if isinstance(href, Relative) else None for href in hrefs]),
        }
