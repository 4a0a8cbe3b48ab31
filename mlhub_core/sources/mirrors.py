"""Mirrors that catalogs advertise: the items of a collection in one stac-geoparquet file.

A collection says so by a link of ``rel: collection-mirror`` (or ``items``), or by an asset of that
role or called ``items.parquet``. Its items are then read from there, not asked for one by one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

from mlhub_core.exceptions import InvalidArgument
from mlhub_core.net.documents import document_url
from mlhub_core.paths import https_url
from mlhub_core.sources.base import ReadInPlace
from mlhub_core.sources.document_store import StoredCatalog
from mlhub_core.sources.documents import Document, JsonObject, Kind
from mlhub_core.sources.naming import file_name
from mlhub_core.sources.parquet import ParquetItems
from mlhub_core.work import UNWATCHED, Work

_MEDIA_TYPES = ("application/vnd.apache.parquet", "application/x-parquet")
_MIRROR = "collection-mirror"
_NAME = "items.parquet"


def mirror_of(collection: JsonObject, base: str) -> str | None:
    """The URL of the mirror that a collection advertises; None where there is none to be asked.

    Args:
        collection: The collection.
        base: Its URL.
    """
    for href in _advertised(collection):
        try:
            return document_url(https_url(urljoin(base, href)))
        except (ValueError, InvalidArgument):  # in a store that is not asked from here
            continue
    return None


def _advertised(collection: JsonObject) -> Iterator[str]:
    links, assets = collection.get("links"), collection.get("assets")
    for link in _objects(links if isinstance(links, list) else []):
        if link.get("rel") in (_MIRROR, "items") and is_table(link):
            yield link["href"].strip()
    for asset in _objects([*assets.values()] if isinstance(assets, dict) else []):
        roles = asset.get("roles")
        is_mirror = isinstance(roles, list) and _MIRROR in roles
        if is_table(asset) and (is_mirror or file_name(asset["href"]) == _NAME):
            yield asset["href"].strip()


def _objects(values: list[Any]) -> Iterator[JsonObject]:
    return (value for value in values if isinstance(value, dict))


def is_table(named: JsonObject) -> bool:
    """Whether a link or an asset leads to a Parquet file."""
    href, media_type = named.get("href"), named.get("type")
    if not isinstance(href, str):
        return False
    said = isinstance(media_type, str) and media_type.partition(";")[0].strip() in _MEDIA_TYPES
    return said or href.partition("?")[0].endswith(".parquet")


@dataclass(frozen=True, slots=True)
class MirroredCatalog(ReadInPlace):
    """A crawled catalog, the items of some of whose collections come from their mirrors.

    Attributes:
        crawled: The catalog without them.
        mirrors: The mirrors.
    """

    crawled: StoredCatalog
    mirrors: tuple[ParquetItems, ...]

    @property
    def dataset_id(self) -> str:
        """The dataset it describes."""
        return self.crawled.dataset_id

    @property
    def size(self) -> int:
        """Bytes to be read."""
        return self.crawled.size + sum(one.size for one in self.mirrors)

    @property
    def sha256(self) -> str:
        """What tells one state of it from the next."""
        digests = [self.crawled.sha256, *sorted(one.sha256 for one in self.mirrors)]
        return hashlib.sha256("\n".join(digests).encode()).hexdigest()

    @property
    def left_out(self) -> str:
        """What was asked of any of them, where that left the rest out."""
        said = {self.crawled.left_out, *(one.left_out for one in self.mirrors)} - {""}
        return "\n".join(sorted(said))

    def read(
        self,
        work: Work = UNWATCHED,
        on_read: Callable[[int], None] = lambda _: None,
    ) -> Iterator[Document]:
        """Give its documents one at a time; collections are the crawled ones.

        Errors are those of :meth:`StoredCatalog.read` and :meth:`ParquetItems.read`.
        """
        yield from self.crawled.read(work, on_read)
        before = self.crawled.size

        def report(read: int) -> None:
            on_read(before + read)

        for one in self.mirrors:
            for document in one.read(work, report):
                if document.kind is not Kind.COLLECTION:
                    yield document
            before += one.size
