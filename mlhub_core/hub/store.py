"""What a hub has: datasets, collections and models read from a directory, and queries over them.

::

    datasets/*.json          a dataset, or a list of them
    collections/*.json       a collection, a list, or the API's {"collections": [...]}
    models/*.json            a model, or a list
    catalogs/{dataset_id}.tar.gz
    catalogs/{dataset_id}.json          optional: {"estimated_dataset_size": bytes}
    archives/{collection_id}.tar.gz
    items/{collection_id}.jsonl         a STAC item a line
    assets/**                           served as they are

The descriptions are read once, when the hub starts; archives, items and assets when asked for.
A page of items is named by the byte at which it begins: nothing is kept between requests, and a
file of millions of items costs no more memory than one page. Of files that single items are asked
of, 16 bytes an item are kept.
"""

from __future__ import annotations

from array import array
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from mlhub_core.client.endpoints import matches
from mlhub_core.exceptions import CatalogError, InvalidArgument, StorageError
from mlhub_core.http_errors import EntityDoesNotExist
from mlhub_core.paths import safe_name, user_path

Json = dict[str, Any]

MAX_LIMIT = 10_000
"""Items in one page; a page is built in memory."""


@dataclass(frozen=True, slots=True)
class HubStore:
    """The contents of a hub's directory.

    Attributes:
        directory: The directory.
        datasets: Datasets by id, in the order of the files.
        collections: Collections by id.
        models: Models by id.
        estimated_sizes: Bytes of a whole dataset by its file's name, where a file says so.
    """

    directory: Path
    datasets: dict[str, Json]
    collections: dict[str, Json]
    models: dict[str, Json]
    estimated_sizes: dict[str, int]

    @classmethod
    def load(cls, directory: str | Path) -> HubStore:
        """Read a directory.

        Raises:
            InvalidArgument: if there is no such directory, or a file in it is not what it
                should be; the message names the file.
            StorageError: if the disk refuses.
        """
        root = user_path(directory)
        if not root.is_dir():
            raise InvalidArgument(
                f"{root} is not a directory: name one with datasets/*.json, or make a demo there."
            )
        return cls(
            root,
            _load_folder(root, "datasets"),
            _load_folder(root, "collections"),
            _load_folder(root, "models"),
            _load_sizes(root),
        )

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to list."""
        return not (self.datasets or self.collections or self.models)

    def search(self, tags: Iterable[str] = (), text: Iterable[str] = ()) -> list[Json]:
        """Datasets that have all of the tags and hold all of the phrases."""
        return [dataset for dataset in self.datasets.values() if matches(dataset, tags, text)]

    def dataset(self, dataset_id: str) -> Json:
        """A dataset by its id.

        Raises:
            EntityDoesNotExist: if there is none.
        """
        return _get(self.datasets, "Dataset", dataset_id)

    def dataset_by_doi(self, doi: str) -> Json:
        """A dataset by its DOI; DOIs are the same in whatever case.

        Raises:
            EntityDoesNotExist: if there is none.
        """
        for dataset in self.datasets.values():
            known = dataset.get("doi")
            if isinstance(known, str) and known.casefold() == doi.casefold():
                return dataset
        raise EntityDoesNotExist(f"Dataset {doi} does not exist.", status=404)

    def collection(self, collection_id: str) -> Json:
        """A collection by its id.

        Raises:
            EntityDoesNotExist: if there is none.
        """
        return _get(self.collections, "Collection", collection_id)

    def model(self, model_id: str) -> Json:
        """A model by its id.

        Raises:
            EntityDoesNotExist: if there is none.
        """
        return _get(self.models, "Model", model_id)

    def items_file(self, collection_id: str) -> Path | None:
        """The items of a collection, None where there are none.

        Raises:
            EntityDoesNotExist: if there is no such collection.
        """
        self.collection(collection_id)
        path = self.directory / "items" / f"{safe_name(collection_id)}.jsonl"
        return path if path.is_file() else None

    def catalog_file(self, dataset_id: str) -> Path:
        """The catalog archive of a dataset.

        Raises:
            EntityDoesNotExist: if there is no such dataset, or no archive of it.
        """
        path = self.directory / "catalogs" / f"{safe_name(dataset_id)}.tar.gz"
        if dataset_id not in self.datasets or not path.is_file():
            raise EntityDoesNotExist(f"Catalog {dataset_id} does not exist.", status=404)
        return path

    def catalog_info(self, dataset_id: str) -> Json:
        """What the API tells about a catalog archive.

        Raises:
            EntityDoesNotExist: as :meth:`catalog_file`.
        """
        return {
            "dataset": dataset_id,
            "stac_catalog_size": self.catalog_file(dataset_id).stat().st_size,
            "estimated_dataset_size": self.estimated_sizes.get(safe_name(dataset_id)),
        }

    def archive_file(self, collection_id: str) -> Path:
        """The archive of a collection's files.

        Raises:
            EntityDoesNotExist: if there is no such collection, or no archive of it.
        """
        path = self.directory / "archives" / f"{safe_name(collection_id)}.tar.gz"
        if collection_id not in self.collections or not path.is_file():
            raise EntityDoesNotExist(f"Archive {collection_id} does not exist.", status=404)
        return path

    def archive_info(self, collection_id: str) -> Json:
        """What the API tells about the archive of a collection.

        Raises:
            EntityDoesNotExist: as :meth:`archive_file`.
        """
        size = self.archive_file(collection_id).stat().st_size
        dataset_id, types = self._membership(collection_id)
        return {"collection": collection_id, "dataset": dataset_id, "size": size, "types": types}

    def _membership(self, collection_id: str) -> tuple[str | None, list[str]]:
        for dataset_id, dataset in self.datasets.items():
            for entry in dataset.get("collections") or ():
                if isinstance(entry, dict) and entry.get("id") == collection_id:
                    return dataset_id, list(entry.get("types") or ())
        return None, []


def _get(entries: dict[str, Json], kind: str, key: str) -> Json:
    try:
        return entries[key]
    except KeyError:
        raise EntityDoesNotExist(f"{kind} {key} does not exist.", status=404) from None


def _read_json(path: Path) -> Any:
    try:
        return orjson.loads(path.read_bytes().removeprefix(BOM_UTF8))
    except orjson.JSONDecodeError as error:
        raise InvalidArgument(f"{path} is not JSON ({error}): repair or remove it.") from error
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror or error}.") from error


def _load_folder(root: Path, kind: str) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for path in sorted((root / kind).glob("*.json")):
        for entry in _entries(_read_json(path), kind):
            if not isinstance(entry, dict) or not isinstance(entry.get("id"), str):
                raise InvalidArgument(
                    f"{path} does not hold {kind}: each is a JSON object with an id of text."
                )
            if entry["id"] in found:
                raise InvalidArgument(
                    f"{path} holds {entry['id']!r}, which is there already: remove one of the two."
                )
            found[entry["id"]] = entry
    return found


def _entries(content: Any, kind: str) -> list[Any]:
    if isinstance(content, dict) and isinstance(content.get(kind), list) and "id" not in content:
        return list(content[kind])
    return content if isinstance(content, list) else [content]


def _load_sizes(root: Path) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for path in sorted((root / "catalogs").glob("*.json")):
        content = _read_json(path)
        size = content.get("estimated_dataset_size") if isinstance(content, dict) else None
        if not isinstance(size, int):
            raise InvalidArgument(f"{path} does not say estimated_dataset_size, in bytes.")
        sizes[path.stem] = size
    return sizes


def read_page(path: Path, start: int, limit: int) -> tuple[list[dict[str, Any]], int | None]:
    """Read the items of one page.

    Args:
        path: The file.
        start: The byte at which the page begins; 0, or what the page before gave.
        limit: Items at most.

    Returns:
        The items, and where the next page begins, None after the last one.

    Raises:
        InvalidArgument: if no line begins at ``start``.
        CatalogError: if a line is not a JSON object.
    """
    features: list[dict[str, Any]] = []
    with path.open("rb") as file:
        _seek_line(file, start)
        for position, line in _lines(file, start):
            if len(features) == limit:
                return features, position
            features.append(_parse(path, position, line))
    return features, None


class ItemIndex:
    """Where in a file of items each id first stands: two numbers an item, of one state of the file.

    Args:
        path: The file, which is read through once.
    """

    def __init__(self, path: Path) -> None:
        import numpy as np  # here, because few hubs are asked for single items

        self._path = path
        self._bad: CatalogError | None = None
        numbers = array("q")
        with path.open("rb") as file:
            for position, line in _lines(file, 0):
                try:
                    item = _parse(path, position, line)
                except CatalogError as error:
                    self._bad = self._bad or error
                else:
                    numbers.extend((hash(str(item.get("id"))), position))
        table = np.frombuffer(numbers, dtype=np.int64).reshape(-1, 2)
        self._hashes, self._places = table[np.argsort(table[:, 0], kind="stable")].T

    def find(self, item_id: str) -> dict[str, Any] | None:
        """Read the first item of an id; None where there is none.

        Raises:
            CatalogError: if there is none, but a line that cannot be read and that may be it.
        """
        wanted = hash(item_id)
        first, last = (int(self._hashes.searchsorted(wanted, side)) for side in ("left", "right"))
        with self._path.open("rb") as file:
            for position in map(int, self._places[first:last]):
                file.seek(position)
                item = _parse(self._path, position, file.readline())
                if item.get("id") == item_id:
                    return item
        if self._bad is not None:
            raise self._bad
        return None


def _seek_line(file: BinaryIO, start: int) -> None:
    if start == 0:
        return
    if start > 0:
        file.seek(start - 1)
    if start < 0 or file.read(1) != b"\n":
        raise InvalidArgument(f"token {start} names no page: follow the links as they are.")


def _lines(file: BinaryIO, position: int) -> Iterator[tuple[int, bytes]]:
    for line in file:
        if not line.isspace():
            yield position, line
        position += len(line)


def _parse(path: Path, position: int, line: bytes) -> dict[str, Any]:
    try:
        item = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise CatalogError(
            f"items/{path.name}: the line at byte {position} is not JSON: {error}"
        ) from error
    if not isinstance(item, dict):
        raise CatalogError(f"items/{path.name}: the line at byte {position} is not a JSON object.")
    return item
