"""Rows of the index on their way into Arrow.

What all assets of an item share is kept once an item, and multiplied by Arrow when the index is
written: nothing outlives its batch. Most rows are finished as soon as their item has been read.
Others wait until all has been: a common asset lies where it depends on whether all items agree on
its URL, a relative href on whether the catalog holds the file, and the name of an asset whose
directory others claim too on those others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import quote, urljoin

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlhub_core.index.findings import Agreement
from mlhub_core.index.hrefs import Relative, above_of
from mlhub_core.index.items import Asset, Item
from mlhub_core.index.save_paths import Claim, Clashes, claim_of
from mlhub_core.index.schema import bands_type, box_array, index_schema, texts_type
from mlhub_core.paths import COMMON_ASSET_KEYS, encode_first

Order = np.ndarray[tuple[int], np.dtype[np.int64]]

_MAX_ROWS = 25_000
"""Of a batch of items, in rows of the index."""
_MAX_TEXT = 32 * 1024 * 1024
"""Characters and bytes of a batch: long properties make smaller batches, not more memory."""
_ITEM_BYTES = 600
"""About what an item takes besides its properties and its assets."""
_ROW_BYTES = 250
"""About what an asset takes."""
_OF_ASSETS = (
    "asset_key",
    "href",
    "media_type",
    "roles",
    "file_size",
    "checksum",
    "updated",
    "alternates",
    "title",
    "description",
    "bands",
    "details",
)
"""Columns of the index that differ between the assets of an item."""
_MADE_LAST = ("save_path", "common_asset")
_OF_WAITING = (
    "collection_id",
    "item_id",
    "asset_key",
    "href",
    "save_path",
    "wanted",
    "url",
    "candidates",
    "item_updated",
)
"""What is looked at of rows that wait: not their geometries and properties."""


@cache
def items_schema() -> pa.Schema:
    """Items with their assets: the index before it is multiplied out.

    Besides what becomes a column, an item has its directory, and its own ``updated``; an asset its
    file name, None where that has to be settled with others, the one that it wants, and where to
    look for what a relative href points at.
    """
    index = index_schema()
    shared = [one for one in index if one.name not in (*_OF_ASSETS, *_MADE_LAST)]
    asset = [
        *(index.field(name) for name in _OF_ASSETS),
        pa.field("name", pa.string()),
        pa.field("wanted", pa.string()),
        pa.field("candidates", texts_type()),
        pa.field("url", pa.string()),
    ]
    return pa.schema(
        [
            *(field.with_nullable(True) for field in shared),
            pa.field("directory", pa.string()),
            pa.field("item_updated", pa.string()),
            pa.field("assets", pa.list_(pa.struct([one.with_nullable(True) for one in asset]))),
        ]
    )


class ItemBatch:
    """Collects items with some of their assets, for one batch.

    Args:
        is_waiting: Whether their rows wait until all has been read.
    """

    def __init__(self, *, is_waiting: bool = False) -> None:
        self.is_waiting = is_waiting
        self.clear()

    def clear(self) -> None:
        """Start a new batch."""
        self._text = 0
        self._items: list[Item | None] = []
        self._collections: list[str] = []
        self._directories: list[str] = []
        self._updates: list[str | None] = []
        self._offsets = [0]
        self._assets: list[Asset] = []
        self._names: list[str | None] = []

    def __len__(self) -> int:
        return len(self._items)

    @property
    def is_full(self) -> bool:
        """Whether it is time to write the batch."""
        return len(self._assets) >= _MAX_ROWS or self._text >= _MAX_TEXT

    def add(
        self,
        collection_id: str,
        item: Item | None,
        directory: str,
        assets: Sequence[Asset],
        names: Sequence[str | None],
        updated: str | None = None,
    ) -> None:
        """Add assets of an item, or of a collection.

        Args:
            collection_id: The collection.
            item: The item; None for the collection's own assets.
            directory: Where the assets go.
            assets: The assets.
            names: Their file names; None where they have to be settled with others.
            updated: When the collection was updated; items say so themselves.
        """
        if not assets:
            return
        shared = 0
        if item is not None:
            updated = item.updated
            shared = len(item.properties) + (len(item.shape.wkb) if item.shape is not None else 0)
        # What is long will be multiplied out a part at a time.
        step = max(1, _MAX_TEXT // max(1, shared))
        for at in range(0, len(assets), step):
            self._items.append(item)
            self._collections.append(collection_id)
            self._directories.append(directory)
            self._updates.append(updated)
            self._assets += assets[at : at + step]
            self._names += names[at : at + step]
            self._offsets.append(len(self._assets))
        self._text += _ITEM_BYTES + shared + _ROW_BYTES * len(assets)
        self._text += sum(len(one.description or "") + len(one.details or "") for one in assets)

    def to_arrow(self) -> pa.RecordBatch:
        """The batch as Arrow."""
        absent = (None,) * len(Item._fields)
        transposed = zip(*(item or absent for item in self._items), strict=True)
        of = dict(zip(Item._fields, transposed, strict=True))
        columns = {
            "collection_id": pa.array(self._collections, pa.string()),
            "item_id": pa.array(of["item_id"], pa.string()),
            "datetime": _moments(of["moment"]),
            "start_datetime": _moments(of["start"]),
            "end_datetime": _moments(of["end"]),
            "item_bbox": box_array(of["bbox"]),
            "bbox": box_array(of["cover"]),
            "properties": pa.array(of["properties"], pa.string()),
            "source_items": pa.array(of["sources"], texts_type()),
            "item_path": pa.array(of["path"], pa.string()),
            "item_url": pa.array(of["url"], pa.string()),
            "license": pa.array(of["license"], pa.string()),
            "source_paths": pa.array(of["source_paths"], texts_type()),
            "geometry": pa.array([shape and shape.wkb for shape in of["shape"]], pa.binary()),
            "directory": pa.array(self._directories, pa.string()),
            "item_updated": pa.array(self._updates, pa.string()),
            "assets": pa.ListArray.from_arrays(
                pa.array(self._offsets, pa.int32()), self._assets_to_arrow()
            ),
        }
        schema = items_schema()
        return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)

    def _assets_to_arrow(self) -> pa.StructArray:
        columns: list[Sequence[Any]] = [*zip(*self._assets, strict=True)]
        keys, hrefs, types, roles, sizes, sums, updates, alternates, wanted, *more = columns
        titles, descriptions, bands, details = more
        relative: list[Relative | None] = [None] * len(hrefs)
        if self.is_waiting:
            relative = [href if isinstance(href, Relative) else None for href in hrefs]
            hrefs = ["" if isinstance(href, Relative) else href for href in hrefs]
        else:
            wanted = [None] * len(wanted)
        parts = [
            pa.array(keys, pa.string()),
            pa.array(hrefs, pa.string()),
            pa.array(types, pa.string()),
            pa.array(roles, texts_type()),
            pa.array(sizes, pa.int64()),
            pa.array(sums, pa.string()),
            pa.array(updates, pa.string()),
            pa.array(alternates, pa.string()),
            pa.array(titles, pa.string()),
            pa.array(descriptions, pa.string()),
            pa.array(bands, bands_type()),
            pa.array(details, pa.string()),
            pa.array(self._names, pa.string()),
            pa.array(wanted, pa.string()),
            pa.array([href and href.candidates for href in relative], texts_type()),
            pa.array([href and href.url for href in relative], pa.string()),
        ]
        kind = items_schema().field("assets").type.value_type
        return pa.StructArray.from_arrays(parts, fields=list(kind))


def row_counts(items: pa.RecordBatch) -> Order:
    """How many rows each item becomes."""
    counts: Order = items.column("assets").value_lengths().to_numpy().astype(np.int64)
    return counts


def expand(
    items: pa.RecordBatch,
    order: Order,
    licenses: Mapping[str, str],
    finisher: Finisher | None = None,
) -> pa.RecordBatch:
    """Multiply items out: a row per asset, as it stands in the index.

    Args:
        items: Some items.
        order: Which of them, in which order.
        licenses: Those of collections, for items that have none of their own.
        finisher: Finishes rows that had to wait; None where none did.
    """
    assets = items.column("assets").flatten()
    counts = row_counts(items)
    firsts = np.cumsum(counts) - counts
    counts, firsts = counts[order], firsts[order]
    ends = np.cumsum(counts)
    # Of each row: which of its item's it is, and from that where it is among all assets.
    within = np.arange(counts.sum()) - np.repeat(ends - counts, counts)
    asset_of = np.repeat(firsts, counts) + within
    owner_of = np.repeat(order, counts)
    parts = (part.take(asset_of) for part in assets.flatten())
    columns = dict(zip((field.name for field in assets.type), parts, strict=True))
    for name in items.schema.names:
        if name != "assets":
            columns[name] = items.column(name).take(owner_of)
    columns["save_path"] = pc.binary_join_element_wise(columns["directory"], columns["name"], "/")
    columns["common_asset"] = pa.repeat(False, len(owner_of))
    if finisher is not None:
        columns |= finisher.finish(columns)
    columns["updated"] = _both_updated(columns)
    columns["license"] = _with_licenses(columns, licenses)
    schema = index_schema()
    return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)


@dataclass(frozen=True, slots=True)
class Finisher:
    """Fills in what was not known when an item was read.

    Attributes:
        root: The directory of the dataset, relative to the output directory.
        clashes: Where collections lie and which paths are held.
        agreement: On common assets.
        save_paths: Save paths by ``(collection id, item id, claim)`` of those that clashed.
        is_there: Whether the catalog holds a file, by its path.
        above: Where directories above the catalog's root are, by what they are called from there.
        complain: Told of hrefs that lead nowhere: collection or item, and what is wrong.
        outside: The URL of the catalog's directory, where what lies around it can be had.
    """

    root: str
    clashes: Clashes
    agreement: Agreement
    save_paths: Mapping[tuple[str, str | None, Claim], str]
    is_there: Callable[[str], bool]
    above: Mapping[str, str]
    complain: Callable[[str, str], None]
    outside: str | None = None

    def finish(self, columns: Mapping[str, Any]) -> dict[str, Any]:
        """The columns that some rows had to wait for."""
        listed = (columns[name].to_pylist() for name in _OF_WAITING)
        hrefs, paths, common, updates = [], [], [], []
        for row in zip(*listed, strict=True):
            collection_id, item_id, key, href, path, wanted, url, candidates, updated = row
            identity = href
            if candidates is not None:
                identity = Relative(tuple(candidates), url).identity
                href = self._href(item_id or collection_id, key, candidates, url)
            place = self._common_place(collection_id, item_id, key, wanted)
            if place is None and path is None:
                path = self.save_paths[collection_id, item_id, claim_of(key, wanted, identity)]
            hrefs.append(href)
            paths.append(place or path)
            common.append(place is not None)
            # A file of many items is not another one because one of these was written anew.
            updates.append(None if place is not None else updated)
        return {
            "href": pa.array(hrefs, pa.string()),
            "save_path": pa.array(paths, pa.string()),
            "common_asset": pa.array(common, pa.bool_()),
            "item_updated": pa.array(updates, pa.string()),
        }

    def _href(self, owner: str, key: str, candidates: Sequence[str], url: str | None) -> str:
        for candidate in candidates:
            if self.is_there(candidate):
                up = above_of(candidate)
                return f"{self.root}/{self.above.get(up, up)}{candidate.removeprefix(up)}"
        if url:
            return url
        up = above_of(candidates[0])
        if up and self.outside is not None:
            beyond = candidates[0].removeprefix(up)
            return urljoin(self.outside, "../" * up.count("/") + quote(beyond))
        self.complain(
            owner,
            f"asset {key[:80]!r} has a relative href that leads to no file of the "
            f"archive: {candidates[0][:80]!r}",
        )
        return f"{self.root}/{candidates[0]}"

    def _common_place(
        self, collection_id: str, item_id: str | None, key: str, name: str
    ) -> str | None:
        """The place of a common asset that items share; None of any other."""
        if item_id is None or key not in COMMON_ASSET_KEYS:
            return None
        directory = self.agreement.directory(collection_id, key, self.clashes)
        if directory is None:
            return None
        if self.clashes.is_reserved(f"{directory}/{name}"):
            name = encode_first(name)
        return f"{directory}/{name}"


def _both_updated(columns: Mapping[str, Any]) -> Any:
    """When each asset and its item were updated, as one text that changes with either."""
    own, of_item = columns["updated"], columns["item_updated"]
    both = pc.binary_join_element_wise(own, of_item, " ")
    either = pc.coalesce(own, of_item)
    return pc.if_else(pc.fill_null(pc.not_equal(own, of_item), False), both, either)


def _with_licenses(columns: Mapping[str, Any], licenses: Mapping[str, str]) -> Any:
    """The license of each asset: its item's own, else that of its collection."""
    own = columns["license"]
    if not licenses:
        return own
    which = pc.index_in(columns["collection_id"], pa.array(licenses, pa.string()))
    return pc.coalesce(own, pa.array(licenses.values(), pa.string()).take(which))


def _moments(moments: Sequence[int | None]) -> pa.Array:
    return pa.array(moments, pa.int64()).cast(pa.timestamp("us", tz="UTC"))
