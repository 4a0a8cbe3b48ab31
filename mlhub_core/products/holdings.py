"""What of a dataset is here: the rows of the asset index whose files the ledger knows.

They lie in a small SQLite file while a product is made, so that an item of the catalog finds its
files in whatever order items come, and memory stays the same whatever their number.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, Self

from mlhub_core.paths import DownloadPaths, collection_name
from mlhub_core.products.base import is_here
from mlhub_core.sqlite_files import connect_scratch
from mlhub_core.threads import StopFlag
from mlhub_core.transfer.ledger import LedgerReader
from mlhub_core.transfer.names import index_batches

_COLUMNS = (
    *("item_path", "item_id", "collection_id", "asset_key", "save_path", "href"),
    *("media_type", "common_asset", "checksum"),
)
_ROWS = 20_000
_TABLE = """
CREATE TABLE assets (
    item_path TEXT, item_id TEXT, collection TEXT NOT NULL, key TEXT NOT NULL, path TEXT NOT NULL,
    href TEXT NOT NULL, media_type TEXT, common INTEGER NOT NULL, size INTEGER NOT NULL,
    sha256 TEXT, checksum TEXT
)
"""
_FIELDS = "collection, key, path, href, media_type, common, size, sha256, checksum"
_OF_ITEM = f"SELECT {_FIELDS} FROM assets WHERE item_path = ? AND item_id = ? ORDER BY rowid"


class LocalAsset(NamedTuple):
    """An asset whose file is here.

    Attributes:
        collection: Its collection.
        key: Its key.
        path: Its file, relative to the dataset's directory.
        href: Where it came from.
        media_type: Its ``type`` in the catalog.
        is_common: Whether it lies in ``_common/``.
        size: Bytes of the file.
        sha256: Digest of the file, None where it was taken without reading it.
        checksum: ``file:checksum`` of the catalog, in whatever spelling.
    """

    collection: str
    key: str
    path: str
    href: str
    media_type: str | None
    is_common: bool
    size: int
    sha256: str | None
    checksum: str | None


class Holdings:
    """The assets that are here, by the document and the id of their item.

    Args:
        path: A file to work in, removed at the end.
        paths: The download, its lock held and its journals merged.
        stop: Looked at between batches.

    Raises:
        StorageError: if index or ledger cannot be read.
        Interrupted: if ``stop`` is set.
    """

    def __init__(self, path: Path, paths: DownloadPaths, stop: StopFlag | None = None) -> None:
        self._path = path
        self._root = str(paths.asset_dir)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._table = connect_scratch(path, check_same_thread=False)
        self._table.execute(_TABLE)
        self._fill(paths, stop or StopFlag())
        # A table in the order of the index and one sort: rows inserted by a key take ten times it.
        self._table.execute("CREATE INDEX items ON assets (item_path, item_id)")
        self._table.execute("CREATE INDEX ids ON assets (item_id) WHERE item_id IS NOT NULL")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._table.close()
        self._path.unlink(missing_ok=True)

    def _fill(self, paths: DownloadPaths, stop: StopFlag) -> None:
        with closing(LedgerReader(paths.ledger_dir)) as ledger:
            for columns in index_batches(paths.index, _COLUMNS, stop, _ROWS):
                rows = list(zip(*columns, strict=True))
                known = ledger.find(sorted({row[4] for row in rows}))
                here = {path: entry for path, entry in known.items() if is_here(self._root, entry)}
                self._table.execute("BEGIN")
                self._table.executemany(
                    f"INSERT INTO assets VALUES ({','.join('?' * 11)})",
                    (
                        (*row[:8], here[row[4]].size, here[row[4]].sha256, row[8])
                        for row in rows
                        if row[4] in here
                    ),
                )
                self._table.execute("COMMIT")

    def of_item(self, item_path: str, item_id: str) -> list[LocalAsset]:
        """The assets of an item, in the order of the index.

        None where it is not here: what it shares with all others, such as the documentation, is
        here as soon as one of them is.
        """
        found = [_asset(row) for row in self._table.execute(_OF_ITEM, (item_path, item_id))]
        return [] if all(asset.is_common for asset in found) else found

    def of_collections(self) -> dict[str, list[LocalAsset]]:
        """The assets that collections have themselves."""
        found: dict[str, list[LocalAsset]] = {}
        for row in self._table.execute(f"SELECT {_FIELDS} FROM assets WHERE item_id IS NULL"):
            found.setdefault(row[0], []).append(_asset(row))
        return found

    def common(self) -> Iterator[LocalAsset]:
        """The files in ``_common/`` directories, each once."""
        query = f"SELECT {_FIELDS} FROM assets WHERE common GROUP BY path ORDER BY path"
        yield from map(_asset, self._table.execute(query))

    def named(self, item_paths: tuple[str, ...], item_id: str) -> tuple[str, str] | None:
        """Path and id of an item that a link means, if it is here.

        Args:
            item_paths: Where its document may lie.
            item_id: Its id, if its document can be anywhere.
        """
        for path in item_paths:
            query = "SELECT item_path, item_id FROM assets WHERE item_path = ? AND NOT common"
            found = set(self._table.execute(f"{query} LIMIT 100", (path,)))
            if len(found) == 1:
                return found.pop()  # type: ignore[no-any-return]
        query = "SELECT DISTINCT item_path, item_id FROM assets WHERE item_id = ? AND NOT common"
        candidates = self._table.execute(f"{query} LIMIT 2", (item_id,)).fetchall()
        return candidates[0] if len(candidates) == 1 else None


def _asset(row: tuple[Any, ...]) -> LocalAsset:
    return LocalAsset._make((*row[:5], bool(row[5]), *row[6:]))


def collection_directory(assets: list[LocalAsset], collection_id: str) -> str:
    """The directory of a collection: where its files lie, else where they would."""
    for asset in assets:
        if not asset.is_common:
            return asset.path.partition("/")[0]
    return collection_name(collection_id)


def item_directory(assets: list[LocalAsset]) -> str:
    """The directory of an item: where its files lie."""
    return next(asset.path.rpartition("/")[0] for asset in assets if not asset.is_common)
