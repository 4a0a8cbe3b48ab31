"""Writes the local STAC: the part of a catalog whose files are here, with links to those files.

It is built beside the old one and takes its place when it is whole. What it was made of is written
down, so that a run that changes nothing writes nothing.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pyarrow as pa

from mlhub_core.exceptions import StorageError, storage_errors
from mlhub_core.index.hrefs import linked_id, linked_items
from mlhub_core.index.items import Item, links_of, read_collection_id, read_item, read_item_id
from mlhub_core.index.places import AT_ONCE, read_places
from mlhub_core.paths import (
    COMMON_DIRECTORY,
    PRODUCTS_NAME,
    DownloadPaths,
    item_name,
)
from mlhub_core.products.base import product_name
from mlhub_core.products.holdings import (
    Holdings,
    LocalAsset,
    collection_directory,
    item_directory,
)
from mlhub_core.products.items_table import ItemsTable
from mlhub_core.products.local_collections import (
    CollectionSummary,
    local_catalog,
    local_collection,
)
from mlhub_core.products.local_items import (
    GEOJSON_TYPE,
    JSON_TYPE,
    has_time,
    local_asset,
    local_item,
    outside,
    relative,
)
from mlhub_core.products.publishing import InPlace, Swap
from mlhub_core.progress import Progress, ProgressSink, Stage
from mlhub_core.sources import source_of
from mlhub_core.sources.archive import CatalogArchive
from mlhub_core.sources.base import Catalog
from mlhub_core.sources.document_store import StoredCatalog, store_path
from mlhub_core.sources.documents import Document, JsonObject, Kind
from mlhub_core.state import read_state, write_state
from mlhub_core.threads import StopFlag
from mlhub_core.work import Work

log = logging.getLogger(__name__)

STAC_DIRECTORY = "stac"
TABLE_NAME = "items.parquet"
PARQUET_TYPE = "application/vnd.apache.parquet"

_TELL_EVERY = 500
_PART, _HOLDINGS = "stac.part", "stac.sqlite"
_TABLE_PART = "items.parquet.part"
_SOURCES = frozenset({"source", "derived_from"})
"""Relations between items that may both be here."""


def write_local_stac(
    paths: DownloadPaths,
    catalog: Catalog,
    digest: str,
    mode: str,
    work: Work,
) -> dict[str, Any]:
    """Write the local STAC of a download.

    Args:
        paths: The download, its lock held and its journals merged.
        catalog: What describes it.
        digest: What tells this state of what is here from the next.
        mode: ``copy`` for a directory of its own, ``inplace`` for documents beside the files.
        work: Caps on what is read of the catalog, what ends it early, who is told how many items
            are written.

    Returns:
        What was written down of it.

    Raises:
        CatalogError: if the catalog cannot be read.
        StorageError: if the disk refuses, or something else lies in its place.
        Interrupted: if ``stop`` is set.
    """
    state = read_state(paths.state_dir / PRODUCTS_NAME) or {}
    part = paths.state_dir / _PART
    publisher: Swap | InPlace
    if mode == "inplace":
        publisher = InPlace(paths)
    else:
        publisher = Swap(paths, product_name(paths, STAC_DIRECTORY, state.get("stac") or None))
    table = product_name(paths, TABLE_NAME, state.get("table"))
    directory = publisher.directory
    with _errors(paths):
        publisher.recover()
        shutil.rmtree(part, ignore_errors=True)
        work.on_progress(Progress(Stage.STAC))
        try:
            with (
                Holdings(paths.state_dir / _HOLDINGS, paths, work.stop) as holdings,
                ItemsTable(paths.state_dir / _TABLE_PART) as items,
            ):
                place = _Place(part, directory, table)
                writing = _Writing(place, paths.dataset_id, holdings, items, work.on_progress)
                writing.read(catalog, work)
                writing.finish()
                items.finish(work.stop)
            # What lies in the place is ours from now on, whatever happens next.
            ours: dict[str, Any] = {"version": 1, "stac": directory, "mode": mode, "table": table}
            ours |= {name: state[name] for name in ("croissant",) if name in state}
            write_state(paths.state_dir / PRODUCTS_NAME, ours)
            publisher.publish(part)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        os.replace(paths.state_dir / _TABLE_PART, paths.asset_dir / table)
        _remove_other(paths, state, mode)
        ours |= {"digest": digest, "items": writing.items, "without_time": writing.without_time}
        write_state(paths.state_dir / PRODUCTS_NAME, ours)
    if writing.without_time:
        log.warning(
            "%d items have no time, as STAC asks for, and are left out of %s",
            writing.without_time,
            paths.asset_dir / directory / "catalog.json",
        )
    return ours


def catalog_here(paths: DownloadPaths, stop: StopFlag | None = None) -> Catalog | None:
    """The catalog of a download, without asking anybody; None where it is not here any more.

    Raises:
        StorageError: if it cannot be read.
        Interrupted: if ``stop`` is set.
    """
    if paths.archive.is_file():
        size = paths.archive.stat().st_size
        return CatalogArchive(paths.archive, paths.dataset_id, size, "")
    return source_of(paths).here(stop) or StoredCatalog.of(store_path(paths))


@contextmanager
def _errors(paths: DownloadPaths) -> Iterator[None]:
    """Tell what the disk refuses SQLite and Arrow as what it refuses us."""
    with storage_errors(f"write the local STAC of {paths.asset_dir}"):
        try:
            yield
        except (sqlite3.Error, pa.ArrowException) as error:
            raise StorageError(
                f"Cannot write the local STAC of {paths.asset_dir}: {error}."
            ) from error


def _remove_other(paths: DownloadPaths, state: dict[str, Any], mode: str) -> None:
    """Remove what was written in the other mode: there is one local STAC of a download."""
    if state.get("mode") == mode or not state:
        return
    if mode == "copy":
        InPlace(paths).remove()
    elif state.get("stac"):
        shutil.rmtree(paths.asset_dir / str(state["stac"]), ignore_errors=True)


class _Place(NamedTuple):
    """Where a local STAC is written, and what it will be called in the dataset's directory.

    Attributes:
        part: The directory to write, made here.
        directory: What it will be called.
        table: What the table of its items will be called.
    """

    part: Path
    directory: str
    table: str


class _Writing:
    """The writing of one local STAC, document by document.

    Args:
        place: Where.
        dataset_id: The dataset.
        holdings: What is here.
        table: Gets the items too.
        on_progress: Told how many items are written.
    """

    def __init__(
        self,
        place: _Place,
        dataset_id: str,
        holdings: Holdings,
        table: ItemsTable,
        on_progress: ProgressSink,
    ) -> None:
        self._on_progress = on_progress
        self._part = place.part
        self._top = f"{place.directory}/" if place.directory else ""
        self._mirror = place.table
        self._table = table
        self._dataset_id = dataset_id
        self._holdings = holdings
        self._root: JsonObject | None = None
        self._documents: dict[str, tuple[JsonObject, str | None]] = {}
        self._summaries: dict[str, CollectionSummary] = {}
        self._common = list(holdings.common())
        self._listed: dict[str, bytearray] = defaultdict(bytearray)
        self.items = self.without_time = 0
        place.part.mkdir(parents=True)

    def read(self, catalog: Catalog, work: Work) -> None:
        """Write the items of a catalog that are here, and note its collections."""
        waiting: list[tuple[Document, int]] = []
        for document in catalog.read(work):
            if document.kind is Kind.ITEMS:
                for number in range(len(document.objects)):
                    waiting.append((document, number))
                    if len(waiting) == AT_ONCE:
                        self._items(waiting)
                        waiting.clear()
            elif document.kind is Kind.COLLECTION:
                collection = document.objects[0]
                found = read_collection_id(collection, document.path, _ignore)
                self._documents[found] = (_without_structure(collection), document.base)
            elif document.kind is Kind.CATALOG and (self._root is None or "/" not in document.path):
                self._root = _without_structure(document.objects[0])
        self._items(waiting)

    def _items(self, waiting: list[tuple[Document, int]]) -> None:
        """Write those of some items that are here; their places are read together."""
        here = []
        for document, number in waiting:
            item = document.objects[number]
            item_id = read_item_id(item, document.path, _ignore, number)
            if assets := self._holdings.of_item(document.path, item_id):
                here.append((document, number, item, assets))
        places = read_places([item for _, _, item, _ in here])
        for (document, number, item, assets), place in zip(here, places, strict=True):
            try:
                read = read_item(item, document.path, _ignore, number, document.base, place)
            except RecursionError:
                continue  # the index has none of it, and the run has said so
            self._item(document, item, read, assets)
        for listing, links in self._listed.items():
            with open(listing, "ab") as file:
                file.write(links)
        self._listed.clear()

    def _item(
        self, document: Document, item: JsonObject, read: Item, assets: list[LocalAsset]
    ) -> None:
        read = read._replace(collection_id=assets[0].collection)
        place = self._place(assets, read)
        base = document.base or next(iter(links_of(item, "self")), None)
        links = [*self._own_links(read, place), *self._sources(item, read, place, base)]
        links += self._described(assets, place)
        local = local_item(item, read, assets, links, place, base)
        if not has_time(local["properties"]):
            self.without_time += 1
            return
        summary = self._summaries.get(read.collection_id)
        if summary is None:
            directory = collection_directory(assets, read.collection_id)
            summary = CollectionSummary(f"{self._top}{directory}")
            self._summaries[read.collection_id] = summary
        self._write_item(place, item_name(read.item_id), local)
        self._table.add(local, read, place)
        summary.add(read, local)
        self.items += 1
        if self.items % _TELL_EVERY == 0:
            self._on_progress(Progress(Stage.STAC, self.items))

    def _place(self, assets: list[LocalAsset], read: Item) -> str:
        """The directory of an item's document, of its own."""
        wanted = f"{self._top}{item_directory(assets)}"
        try:
            os.makedirs(self._made(wanted))
        except FileExistsError:
            told = f"{read.path}\n{read.item_id}".encode("utf-8", "surrogatepass")
            wanted += f"~{hashlib.sha256(told).hexdigest()[:8]}"
            os.makedirs(self._made(wanted), exist_ok=True)
        return wanted

    def _made(self, place: str) -> str:
        """Where something is written that will be in a place."""
        return f"{self._part}/{place.removeprefix(self._top)}"

    def _own_links(self, read: Item, place: str) -> Iterator[JsonObject]:
        root = relative(f"{self._top}catalog.json", place)
        collection = relative(f"{place.rpartition('/')[0]}/collection.json", place)
        yield {"rel": "root", "href": root, "type": JSON_TYPE}
        yield {"rel": "parent", "href": collection, "type": JSON_TYPE}
        yield {"rel": "collection", "href": collection, "type": JSON_TYPE}

    def _sources(
        self, item: JsonObject, read: Item, place: str, base: str | None
    ) -> Iterator[JsonObject]:
        """Links to the items that an item was made from: those here, else where they come from."""
        for link in item.get("links") or ():
            if not isinstance(link, dict) or link.get("rel") not in _SOURCES:
                continue
            href = link.get("href")
            if not isinstance(href, str) or not href:
                continue
            named = linked_items(href, read.path, base)
            target = self._holdings.named(named, linked_id(href))
            if target is not None:
                there = item_directory(self._holdings.of_item(*target))
                path = f"{self._top}{there}/{item_name(target[1])}.json"
                yield {"rel": link["rel"], "href": relative(path, place), "type": GEOJSON_TYPE}
                continue
            origin = outside(href, base)
            if origin is not None:
                yield {"rel": link["rel"], "href": origin, "type": GEOJSON_TYPE}

    def _described(self, assets: list[LocalAsset], place: str) -> Iterator[JsonObject]:
        """Links to the documentation of the dataset, where it is no asset of the item itself."""
        own = {asset.path for asset in assets}
        for asset in self._common:
            is_about_all = asset.path.startswith(f"{COMMON_DIRECTORY}/")
            if is_about_all and asset.key in ("documentation", "readme") and asset.path not in own:
                link = {"rel": "describedby", "href": relative(asset.path, place)}
                yield {**link, "type": asset.media_type} if asset.media_type else link

    def _write_item(self, place: str, name: str, local: JsonObject) -> None:
        self._write(f"{place}/{name}.json", local)
        listing = f"{self._made(place.rpartition('/')[0])}/items.part"
        href = relative(f"{place}/{name}.json", place.rpartition("/")[0])
        link = {"rel": "item", "href": href, "type": GEOJSON_TYPE}
        self._listed[listing] += orjson.dumps(link) + b"\n"

    def _write(self, place: str, value: JsonObject) -> None:
        with open(self._made(place), "wb") as file:
            file.write(_dump(value))

    def finish(self) -> None:
        """Write the collections, and the root."""
        own = self._holdings.of_collections()
        children = []
        for collection_id in sorted({*self._summaries, *own}):
            assets = own.get(collection_id, [])
            summary = self._summaries.get(collection_id)
            if summary is None:
                directory = collection_directory(assets, collection_id)
                summary = CollectionSummary(f"{self._top}{directory}")
            children.append(self._collection(collection_id, summary, assets))
        mirror = relative(self._mirror, self._top.rstrip("/"))
        root = local_catalog(self._root or {}, self._dataset_id, children, mirror)
        self._write(f"{self._top}catalog.json", root)
        self._on_progress(Progress(Stage.STAC, self.items, self.items, finished=True))

    def _collection(
        self, collection_id: str, summary: CollectionSummary, assets: list[LocalAsset]
    ) -> JsonObject:
        """Write a collection; the link to it."""
        document, base = self._documents.get(collection_id, ({}, None))
        origins = document.get("assets")
        origins = origins if isinstance(origins, dict) else {}
        place = summary.directory
        inside = place.removeprefix(self._top)
        common = [
            asset
            for asset in self._common
            if asset.path.startswith((f"{COMMON_DIRECTORY}/", f"{inside}/{COMMON_DIRECTORY}/"))
        ]
        roles = {"roles": ["metadata"]}
        described = {asset.key: local_asset(roles, asset, place) for asset in common}
        described |= {one.key: local_asset(origins.get(one.key), one, place) for one in assets}
        if summary.items:
            described.setdefault(
                "items",
                {
                    "href": relative(self._mirror, place),
                    "type": PARQUET_TYPE,
                    "title": "All items of the dataset in one table (stac-geoparquet)",
                    "roles": ["collection-mirror"],
                },
            )
        local = local_collection(document, collection_id, summary, described, base)
        root = relative(f"{self._top}catalog.json", place)
        local["links"] = [
            {"rel": "root", "href": root, "type": JSON_TYPE},
            {"rel": "parent", "href": root, "type": JSON_TYPE},
            *local["links"],
        ]
        os.makedirs(self._made(place), exist_ok=True)
        _write_with_items(f"{self._made(place)}/collection.json", local)
        link = {"rel": "child", "href": relative(f"{place}/collection.json", self._top.rstrip("/"))}
        title = local.get("title")
        return {**link, "type": JSON_TYPE, **({"title": title} if title else {})}


def _write_with_items(path: str, collection: JsonObject) -> None:
    """Write a collection and the links to its items, which may be many, one after the other."""
    listing = f"{path.rpartition('/')[0]}/items.part"
    links = collection.pop("links")
    text = _dump({**collection, "links": links})
    with open(path, "wb") as file:
        file.write(text.removesuffix(b"\n  ]\n}"))
        with suppress(FileNotFoundError), open(listing, "rb") as listed:
            for line in listed:
                file.write(b",\n    " + line.rstrip(b"\n"))
        file.write(b"\n  ]\n}")
    with suppress(FileNotFoundError):
        os.unlink(listing)


def _dump(value: JsonObject) -> bytes:
    try:
        return orjson.dumps(value, option=orjson.OPT_INDENT_2)
    except TypeError:  # integers beyond 64 bits
        import json

        return json.dumps(value, indent=2, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _without_structure(owner: JsonObject) -> JsonObject:
    """An object without its links to items and collections, which may be very many."""
    links = owner.get("links")
    listed = links if isinstance(links, list) else []
    within = ("item", "child", "items")
    return {
        **owner,
        "links": [
            link for link in listed if isinstance(link, dict) and link.get("rel") not in within
        ],
    }


def _ignore(_: str) -> None:
    """What is unusual about a catalog is told when it is indexed."""
