"""An asset index of ours as a source, for whoever has nothing else: its rows are items again.

All rows of an item stand together but for those that had to wait until the index was written, such
as a common asset of many items. So the rows of items that stand in several places wait in a file on
disk until all have been read, and items come whole.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow.compute as pc

from mlhub_core.exceptions import InvalidArgument
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.net.body import digest_file
from mlhub_core.paths import DownloadPaths, user_path
from mlhub_core.sources.base import DatasetInfo, ReadInPlace, SourceSpec, Wanted, found_here
from mlhub_core.sources.documents import Document, JsonObject, Kind, called
from mlhub_core.sources.naming import is_index, stem
from mlhub_core.sources.stac_rows import geometries
from mlhub_core.sources.tables import Table, telling, told
from mlhub_core.threads import StopFlag
from mlhub_core.work import UNWATCHED, Work

Row = dict[str, Any]
Key = tuple[str, str | None]

_ABSOLUTE = re.compile("[A-Za-z][A-Za-z0-9+.-]+:")
_IDS = ["collection_id", "item_id"]
_COLUMNS = (
    *_IDS,
    *("asset_key", "href", "media_type", "roles", "file_size", "checksum", "updated"),
    *("title", "description", "bands", "details", "alternates", "license"),
    *("item_bbox", "properties", "source_items", "item_path", "item_url", "source_paths"),
    "geometry",
)
_HOW = "name a Parquet file that `mlhub download` or `mlhub index` wrote"
_SIDES = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True, slots=True)
class IndexedItems(ReadInPlace):
    """An asset index that is here, as a catalog.

    Attributes:
        path: The file.
        dataset_id: The dataset.
        size: Bytes.
        sha256: What tells one state of it from the next: what is left out is part of it.
        wanted: What may be left out.
    """

    path: Path
    dataset_id: str
    size: int
    sha256: str
    wanted: Wanted

    @property
    def left_out(self) -> str:
        """What is wanted of it."""
        return told(self.wanted)

    def read(
        self,
        work: Work = UNWATCHED,
        on_read: Callable[[int], None] = lambda _: None,
    ) -> Iterator[Document]:
        """Give its items one at a time, then its collections.

        Args:
            work: Caps, and what ends it early.
            on_read: Called with the bytes read so far, about.

        Raises:
            ArchiveCorrupt: if it is damaged.
            StorageError: if it cannot be read.
            Interrupted: if ``stop`` is set.
        """
        with telling(str(self.path)):
            table = IndexTable(self.path, str(self.path), self.size)
            check = work.stop.check
            apart = _standing_apart(table.runs(self.wanted))
            collections: dict[str, JsonObject] = {}
            with closing(_Waiting()) as waiting:
                for key, rows in groupby(table.rows(self.wanted), _key):
                    check()
                    on_read(int(self.size * table.share_read))
                    if key[1] is None:
                        _add_to_collection(collections, key[0], rows)
                    elif hash(key) in apart:
                        waiting.add(key, rows)
                    else:
                        yield self._document(key, list(rows), collections)
                for key, listed in waiting.items():
                    check()
                    yield self._document(key, listed, collections)
            for name, collection in collections.items():
                path = f"collections/{name}/collection.json"
                yield Document(path, Kind.COLLECTION, (collection,), base=self._base)

    @property
    def _base(self) -> str:
        """What hrefs without a scheme are next to: the directory that the download lies in."""
        return self.path.parent.parent.as_uri() + "/"

    def _document(self, key: Key, rows: list[Row], collections: dict[str, JsonObject]) -> Document:
        item = item_of(key, rows, self._base)
        own, license_ = item["properties"].get("license"), rows[0].get("license")
        if license_ is not None and own is None:
            _add_to_collection(collections, key[0], ())["license"] = license_
        path = rows[0].get("item_path") or called(item, self.dataset_id)
        return Document(path, Kind.ITEMS, (item,), base=rows[0].get("item_url") or self._base)


class IndexTable(Table):
    """An asset index, open."""

    collection_column = "collection_id"

    def check(self, shown: str, names: list[str]) -> None:
        """Check that it is one.

        Raises:
            InvalidArgument: if it is none.
        """
        if not is_index(names):
            raise InvalidArgument(f"{shown} is no asset index: {_HOW}.")

    def left_in(self, wanted: Wanted) -> Any:
        """What rows have to fulfil; a collection's own assets have no time and no place."""
        where = super().left_in(wanted)
        return where if where is None else where | pc.field("item_id").is_null()

    def runs(self, wanted: Wanted) -> Iterator[Key]:
        """Of all rows of an item that stand together its collection and id."""
        for key, _ in groupby(self._columns(wanted, _IDS), _key):
            yield key

    def rows(self, wanted: Wanted) -> Iterator[Row]:
        """Its rows, as JSON has them."""
        there = set(self.names)
        return self._columns(wanted, [name for name in _COLUMNS if name in there])

    def _columns(self, wanted: Wanted, names: list[str]) -> Iterator[Row]:
        for rows in self.batches(wanted, names):
            found = rows
            if "geometry" in names:
                place = names.index("geometry")
                found = rows.remove_column(place)
                shapes = geometries(rows.column(place))
            listed: list[Row] = found.to_pylist()
            if "geometry" in names:
                for row, shape in zip(listed, shapes, strict=True):
                    row["geometry"] = shape
            yield from listed


def _key(row: Row) -> Key:
    return row["collection_id"], row["item_id"]


def _standing_apart(keys: Iterable[Key]) -> set[int]:
    """Hashes of the items whose rows stand in several places."""
    hashes = np.sort(np.frombuffer(array("q", map(hash, keys)), dtype=np.int64))
    return set(hashes[1:][hashes[1:] == hashes[:-1]].tolist())


class _Waiting:
    """Rows on disk, until all of their items have come."""

    def __init__(self) -> None:
        self._rows = sqlite3.connect("")  # a file of its own that SQLite removes
        self._rows.execute("CREATE TABLE rows (collection TEXT, item TEXT, row BLOB)")

    def add(self, key: Key, rows: Iterable[Row]) -> None:
        """Take some rows of an item."""
        self._rows.executemany(
            "INSERT INTO rows VALUES (?, ?, ?)", ((*key, orjson.dumps(row)) for row in rows)
        )

    def items(self) -> Iterator[tuple[Key, list[Row]]]:
        """All items with their rows, in the order in which they came."""
        found = self._rows.execute(
            "SELECT collection, item, row FROM rows ORDER BY collection, item, rowid"
        )
        for key, rows in groupby(found, lambda row: (row[0], row[1])):
            yield key, [orjson.loads(row[2]) for row in rows]

    def close(self) -> None:
        """Let go of them."""
        self._rows.close()


def _add_to_collection(
    collections: dict[str, JsonObject], name: str, rows: Iterable[Row]
) -> JsonObject:
    """Add a collection's own assets to it."""
    empty: JsonObject = {"type": "Collection", "id": name, "links": [], "assets": {}}
    collection = collections.setdefault(name, empty)
    for row in rows:
        collection["assets"][row["asset_key"]] = _asset(row, row.get("updated"), "")
        if row.get("license") is not None:
            collection["license"] = row["license"]
    return collection


def item_of(key: Key, rows: list[Row], base: str) -> JsonObject:
    """The item of some rows.

    Args:
        key: Its collection and id.
        rows: Its rows.
        base: What hrefs without a scheme are next to.
    """
    first = rows[0]
    properties = orjson.loads(first["properties"] or "{}")
    updated = properties.get("updated")
    links = [{"rel": "source", "href": href} for href in _sources(first)]
    if first.get("item_url"):
        links.insert(0, {"rel": "self", "href": first["item_url"]})
    item: JsonObject = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": key[1],
        "collection": key[0],
        "geometry": first["geometry"],
        "properties": properties,
        "links": links,
        "assets": {
            row["asset_key"]: _asset(row, _own(row.get("updated"), updated), base) for row in rows
        },
    }
    if first["item_bbox"] is not None:
        item["bbox"] = [first["item_bbox"][side] for side in _SIDES]
    return item


def _own(both: str | None, of_item: Any) -> str | None:
    """When the asset itself was updated, of a text that says so of its item as well."""
    if both is None or both == of_item:
        return None
    return both.removesuffix(f" {of_item}")


def _sources(row: Row) -> list[str]:
    """Links to the sources of an item, that are read as those were which it had."""
    ids, paths = row["source_items"] or [], row.get("source_paths") or []
    urls = [path for path in paths if _ABSOLUTE.match(path)]
    if len(urls) >= len(ids):
        return urls
    if len(paths) >= len(ids):
        return [f"/{path}" for path in paths]
    return [f"/{one}.json" for one in ids]


def _asset(row: Row, updated: str | None, base: str) -> JsonObject:
    href = row["href"]
    asset: JsonObject = {"href": href if _ABSOLUTE.match(href) else base + href}
    named = {
        "type": row.get("media_type"),
        "roles": row.get("roles"),
        "title": row.get("title"),
        "description": row.get("description"),
        "file:size": row.get("file_size"),
        "file:checksum": row.get("checksum"),
        "updated": updated,
    }
    asset.update({name: value for name, value in named.items() if value not in (None, [])})
    bands = [
        {"name": band["name"], "eo:common_name": band["common_name"]}
        for band in row.get("bands") or ()
    ]
    if bands:
        asset["bands"] = [{name: value for name, value in band.items() if value} for band in bands]
    if row.get("alternates"):
        for name, place in orjson.loads(row["alternates"]):
            if place:
                asset.setdefault("alternate", {})[name] = {"href": place}
            else:
                asset["alternate:name"] = name
    return {**asset, **orjson.loads(row.get("details") or "{}")}


@dataclass(frozen=True, slots=True)
class IndexSource:
    """An asset index on this machine, as a source.

    Attributes:
        path: The file.
        dataset_id: Its dataset, as it was called when the index was made.
        wanted: What may be left out.
    """

    path: Path
    dataset_id: str
    wanted: Wanted

    @classmethod
    def open(cls, spec: SourceSpec, api_key: str | None, profile: str | None) -> IndexSource:
        """The index that is meant.

        Raises:
            InvalidArgument: if there is none.
            StorageError: if it cannot be read.
        """
        path = user_path(spec.text.strip())
        if not path.is_file():
            raise InvalidArgument(f"{path} is no file: {_HOW}.")
        with telling(str(path)):
            made_from = IndexTable(path, str(path), 0).noted("mlhub")
        found = made_from.get("dataset_id") if isinstance(made_from, dict) else None
        name = found if isinstance(found, str) and found else stem(str(path), "index")
        return cls(path, spec.dataset_id or name, spec.wanted)

    def describe(self) -> DatasetInfo:
        """Say what the dataset is: an index knows what it is called."""
        return DatasetInfo(self.dataset_id)

    def here(self, stop: StopFlag | None = None) -> IndexedItems:
        """The index, where it lies.

        Args:
            stop: Ends the work early.

        Raises:
            StorageError: if it cannot be read.
            Interrupted: if ``stop`` is set.
        """
        check = (stop or StopFlag()).check
        digest = digest_file(str(self.path), ["sha256"], check)["sha256"]
        digest = hashlib.sha256(f"{digest}\0{told(self.wanted)}".encode()).hexdigest()
        with telling(str(self.path)):
            size = self.path.stat().st_size
        return IndexedItems(self.path, self.dataset_id, size, digest, self.wanted)

    def identity(self, paths: DownloadPaths) -> str | None:
        """The digest of the file, which nobody has to be asked for."""
        return self.here().sha256

    def acquire(
        self,
        paths: DownloadPaths,
        if_exists: DownloadIfExistsOpts = DownloadIfExistsOpts.resume,
        work: Work = UNWATCHED,
    ) -> IndexedItems:
        """The index, read where it lies.

        Raises:
            InvalidArgument: if it is that of the download itself.
            StorageError: if it cannot be read, or the disk refuses.
            Interrupted: if ``stop`` is set.
        """
        if paths.index.exists() and paths.index.samefile(self.path):
            raise InvalidArgument(
                f"{self.path} is the index of the download itself: name another output directory, "
                "or the source that it was made from."
            )
        spec = SourceSpec(str(self.path), "index", self.dataset_id)
        return found_here(self.here(work.stop), paths, spec, work)
