"""Rows of the index while they are collected, and their way into Arrow.

What all assets of an item share is kept once an item, what many items share once a batch, and both
are multiplied by Arrow: that is quicker than a row at a time, and nothing outlives its batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlhub_core.buffers import (
    bytes_of,
    mask_array,
    number_array,
    numbers_of,
    text_lists_of,
    texts_of,
    values,
)
from mlhub_core.index.items import AssetEntry, ItemEntry
from mlhub_core.index.places import Bounds
from mlhub_core.index.plain import AssetKind
from mlhub_core.index.schema import box_array, box_type, index_schema, texts_type

Order = np.ndarray[tuple[int], np.dtype[np.int64]]

_MAX_ROWS = 25_000
"""Of a batch of items, in rows of the index."""
_MAX_TEXT = 32 * 1024 * 1024
"""Characters and bytes of a batch: long properties make smaller batches, not more memory."""
_ITEM_BYTES = 600
"""About what an item takes besides its properties and its assets."""
_ROW_BYTES = 250
"""About what an asset takes."""


@cache
def items_schema() -> pa.Schema:
    """Items with their assets: the index before it is multiplied out."""
    moment = pa.timestamp("us", tz="UTC")
    return pa.schema(
        [
            pa.field("collection_id", pa.string()),
            pa.field("item_id", pa.string()),
            pa.field("datetime", moment),
            pa.field("start_datetime", moment),
            pa.field("end_datetime", moment),
            pa.field("item_bbox", box_type()),
            pa.field("bbox", box_type()),
            pa.field("properties", pa.string()),
            pa.field("source_items", texts_type()),
            pa.field("item_path", pa.string()),
            pa.field("source_paths", texts_type()),
            pa.field("geometry", pa.binary()),
            pa.field("directory", pa.string()),
            pa.field("number", pa.int64()),
            pa.field("assets", pa.list_(_asset_type())),
        ]
    )


@cache
def _asset_type() -> pa.DataType:
    return pa.struct(
        [
            pa.field("asset_key", pa.string()),
            pa.field("media_type", pa.string()),
            pa.field("roles", texts_type()),
            pa.field("name", pa.string()),
            pa.field("href", pa.string()),
            pa.field("file_size", pa.int64()),
            pa.field("checksum", pa.string()),
            pa.field("updated", pa.string()),
        ]
    )


class ItemRows:
    """Collects items and those of their assets whose rows are finished, for one batch.

    Attributes:
        at: Which member of the archive the next ones are of: settles the order of equal ones.
    """

    def __init__(self) -> None:
        self.at = 0
        self.clear()

    def clear(self) -> None:
        """Start a new batch."""
        self._text = 0
        self._items: list[ItemEntry] = []
        self._directories: list[str] = []
        self._numbers: list[int] = []
        self._offsets = [0]
        self._kinds: dict[AssetKind, int] = {}
        self._codes_of: dict[int, tuple[tuple[AssetKind, ...], list[int]]] = {}
        self._codes: list[int] = []
        self._hrefs: list[str] = []
        self._sizes: list[int | None] = []
        self._checksums: list[str | None] = []
        self._updates: list[str | None] = []

    def __len__(self) -> int:
        return len(self._items)

    @property
    def is_full(self) -> bool:
        """Whether it is time to write the batch."""
        return len(self._hrefs) >= _MAX_ROWS or self._text >= _MAX_TEXT

    def add(
        self,
        item: ItemEntry,
        directory: str,
        kinds: tuple[AssetKind, ...],
        hrefs: Sequence[str],
        sizes: Sequence[int | None],
        checksums: Sequence[str | None],
        updates: Sequence[str | None] | None = None,
    ) -> None:
        """Add an item with some assets: a kind, URL, size, checksum and ``updated`` each."""
        updates = [None] * len(hrefs) if updates is None else updates
        shared = len(item.properties) + (len(item.shape.wkb) if item.shape is not None else 0)
        if shared * len(hrefs) > _MAX_TEXT:  # it will be multiplied out, a part at a time
            step = max(1, _MAX_TEXT // shared)
            for at in range(0, len(hrefs), step):
                self._add(
                    item,
                    directory,
                    kinds[at : at + step],
                    hrefs[at : at + step],
                    sizes[at : at + step],
                    checksums[at : at + step],
                    updates[at : at + step],
                )
        else:
            self._add(item, directory, kinds, hrefs, sizes, checksums, updates)
        self._text += _ITEM_BYTES + shared + _ROW_BYTES * len(hrefs)

    def _add(
        self,
        item: ItemEntry,
        directory: str,
        kinds: tuple[AssetKind, ...],
        hrefs: Sequence[str],
        sizes: Sequence[int | None],
        checksums: Sequence[str | None],
        updates: Sequence[str | None],
    ) -> None:
        # By identity: items of one pattern share the tuple, and its hash is not kept anywhere.
        of, codes = self._codes_of.get(id(kinds)) or ((), [])
        if of is not kinds:
            known = self._kinds
            codes = [known.setdefault(kind, len(known)) for kind in kinds]
            self._codes_of[id(kinds)] = kinds, codes
        self._items.append(item)
        self._directories.append(directory)
        self._numbers.append(self.at)
        self._codes += codes
        self._hrefs += hrefs
        self._sizes += sizes
        self._checksums += checksums
        self._updates += updates
        self._offsets.append(len(self._hrefs))

    def to_batch(self) -> pa.RecordBatch:
        """The items as Arrow."""
        columns = {
            **item_columns(self._items),
            "collection_id": texts_of([item.collection_id for item in self._items]),
            "directory": texts_of(self._directories),
            "number": numbers_of(self._numbers, pa.int64()),
            "assets": pa.ListArray.from_arrays(
                numbers_of(self._offsets, pa.int32()), self._assets()
            ),
        }
        schema = items_schema()
        return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)

    def _assets(self) -> pa.StructArray:
        codes = numbers_of(self._codes, pa.int32())
        kinds = list(self._kinds)
        parts = [
            texts_of([kind.key for kind in kinds]).take(codes),
            texts_of([kind.media_type for kind in kinds]).take(codes),
            text_lists_of([kind.roles for kind in kinds], texts_type()).take(codes),
            texts_of([kind.name for kind in kinds]).take(codes),
            texts_of(self._hrefs),
            numbers_of(self._sizes, pa.int64()),
            texts_of(self._checksums),
            texts_of(self._updates),
        ]
        return pa.StructArray.from_arrays(parts, fields=list(_asset_type()))


def expand(items: pa.RecordBatch, order: Order) -> pa.RecordBatch:
    """Multiply items out: a row per asset, as it stands in the index.

    Args:
        items: Some items.
        order: Which of them, in which order.
    """
    assets = items.column("assets").flatten()
    counts = row_counts(items).astype(np.int64)
    firsts = np.cumsum(counts) - counts
    counts, firsts = counts[order], firsts[order]
    ends = np.cumsum(counts)
    # Of each row: which of its item's it is, and from that where it is among all assets.
    within = np.arange(counts.sum()) - np.repeat(ends - counts, counts)
    asset_of = number_array(np.repeat(firsts, counts) + within)
    owner_of = number_array(np.repeat(order, counts))
    names = [field.name for field in assets.type]
    parts = (part.take(asset_of) for part in assets.flatten())
    columns = dict(zip(names, parts, strict=True))
    for name in items.schema.names:
        if name not in ("assets", "number"):
            columns[name] = items.column(name).take(owner_of)
    slash = texts_of(["/"])[0]
    columns["save_path"] = pc.binary_join_element_wise(columns["directory"], columns["name"], slash)
    columns["common_asset"] = mask_array(np.zeros(len(owner_of), bool))
    schema = index_schema()
    return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)


def row_counts(items: pa.RecordBatch) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    """How many rows each item becomes."""
    counts: np.ndarray[tuple[int], np.dtype[np.int32]]
    counts = values(items.column("assets").value_lengths())
    return counts


def item_columns(items: Sequence[ItemEntry | None]) -> dict[str, pa.Array]:
    """The columns that all assets of an item share; null for a collection's own assets."""
    absent = (None,) * len(ItemEntry._fields)
    fields = list(zip(*(item or absent for item in items), strict=True)) or [()] * len(absent)
    found: dict[str, Sequence[Any]] = dict(zip(ItemEntry._fields, fields, strict=True))
    shapes = found["shape"]
    return {
        "item_id": texts_of(found["item_id"]),
        "datetime": _moments(found["moment"]),
        "start_datetime": _moments(found["start"]),
        "end_datetime": _moments(found["end"]),
        "item_bbox": box_array(found["bbox"]),
        "bbox": box_array(found["cover"]),
        "properties": texts_of(found["properties"]),
        "source_items": text_lists_of(found["sources"], texts_type()),
        "item_path": texts_of(found["path"]),
        "source_paths": text_lists_of(found["source_paths"], texts_type()),
        "geometry": bytes_of([shape and shape[0] for shape in shapes]),
    }


class Extent:
    """What the index as a whole spans, for its metadata.

    Attributes:
        kinds: Of geometries.
        bounds: Around everything; None where nothing has a place.
        boxes_agree: Whether the box of every item, as it gives it, is the one that covers it.
    """

    def __init__(self) -> None:
        self.kinds: set[str] = set()
        self.bounds: Bounds | None = None
        self.boxes_agree = True

    def include(self, item: ItemEntry) -> None:
        """Widen it by an item."""
        if item.shape is not None:
            self.kinds.add(item.shape.kind)
        if item.cover is not None:
            self._widen(item.cover)
        self.boxes_agree = self.boxes_agree and item.bbox == item.cover

    def merge(self, other: Extent) -> None:
        """Widen it by another one."""
        self.kinds |= other.kinds
        if other.bounds is not None:
            self._widen(other.bounds)
        self.boxes_agree = self.boxes_agree and other.boxes_agree

    def _widen(self, cover: Bounds) -> None:
        if self.bounds is None:
            self.bounds = cover
            return
        west, south, east, north = self.bounds
        w, s, e, n = cover
        if w < west or s < south or e > east or n > north:
            self.bounds = min(west, w), min(south, s), max(east, e), max(north, n)


def known_href(asset: AssetEntry) -> str:
    """The URL of an asset; empty where it is only known at the end of the archive."""
    return asset.href if isinstance(asset.href, str) else ""


def _moments(moments: Sequence[int | None]) -> pa.Array:
    return numbers_of(moments, pa.int64()).cast(pa.timestamp("us", tz="UTC"))
