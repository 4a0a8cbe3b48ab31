"""Samples of a download for training: what goes into each, in a table on disk.

A sample is a label with its images, or an item with its assets. They lie in a SQLite file while an
export is made, so that they come in the order of their keys, whatever the order of the index, and
memory does not grow with their number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import orjson

from mlhub_core.exceptions import StorageError
from mlhub_core.paths import DownloadPaths, case_key, encode_first, extension, safe_name
from mlhub_core.products.here import scan_known
from mlhub_core.products.splits import split_of
from mlhub_core.sqlite_files import connect_scratch
from mlhub_core.threads import StopFlag
from mlhub_core.transfer.ledger import Entry, undamaged

if TYPE_CHECKING:
    import geopandas
    import pyarrow as pa

LABEL = "label"
"""What the file of a label is called in a sample, whatever its asset key."""
_ABOUT = ("asset_key", "media_type", "bands", "license")
_COLUMNS = (
    *("collection_id", "item_id", "asset_key", "save_path", "common_asset", "item_path"),
    *("datetime", "start_datetime", "end_datetime", "media_type", "bands", "license", "geometry"),
)
_TABLES = (
    "CREATE TABLE samples (id INTEGER PRIMARY KEY, key TEXT NOT NULL, named TEXT, facts BLOB)",
    "CREATE TABLE files (sample INTEGER NOT NULL, field TEXT NOT NULL, path TEXT NOT NULL, "
    "size INTEGER NOT NULL, sha256 TEXT, about BLOB)",
)
_Known = tuple[Entry, dict[str, Any]]
"""What the ledger knows of a file, and what the index does."""
_ROWS = 2_000
"""Rows that are Python objects at a time."""


class SampleFile(NamedTuple):
    """A file of a sample.

    Attributes:
        field: What it is called in it.
        path: Where it lies, relative to the dataset's directory.
        size: Bytes, by the ledger.
        sha256: Its digest, by the ledger; None where that does not know it.
        about: What else is known of it.
    """

    field: str
    path: str
    size: int
    sha256: str | None
    about: dict[str, Any]


class Sample(NamedTuple):
    """A sample.

    Attributes:
        key: What it is called, without a dot.
        facts: Where and when it is, and what of.
        files: Its files.
    """

    key: str
    facts: dict[str, Any]
    files: list[SampleFile]


class Samples:
    """The samples of an export, in the order of their keys: a context manager.

    Args:
        path: A file to work in, removed at the end.
        paths: The download.
        stop: Looked at between batches.

    Attributes:
        damaged: Files that the ledger knows as damaged, and that are left out.
    """

    def __init__(self, path: Path, paths: DownloadPaths, stop: StopFlag | None = None) -> None:
        self._path = path
        self._paths = paths
        self._stop = stop or StopFlag()
        self.damaged: set[str] = set()
        self._table = connect_scratch(path)
        for table in _TABLES:
            self._table.execute(table)
        self._table.execute("CREATE UNIQUE INDEX named ON samples (named) WHERE named IS NOT NULL")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._table.close()
        self._path.unlink(missing_ok=True)

    def add_pairs(self, pairs: geopandas.GeoDataFrame, splits: dict[str, dict[str, None]]) -> None:
        """Take pairs in, as ``LocalDataset.pairs`` gives them.

        Args:
            pairs: The pairs.
            splits: The names of items that each split has.
        """
        sources: list[str] = pairs.attrs["sources"]
        root = f"{self._paths.asset_dir}/"
        wanted = {
            path.removeprefix(root)
            for column in (LABEL, *sources)
            for path in pairs[column].dropna().unique()
        }
        known = self._known(wanted)
        self._table.execute("BEGIN")
        for row in pairs.to_dict("records"):
            self._stop.check()
            facts = {
                **{name: row[name] for name in ("collection", "item", "source_item", "by")},
                "split": split_of(row["item"], splits),
                "datetime": _moment(row["time"]),
                "geometry": _geojson(row["geometry"]),
            }
            files = [
                (name, _known_of(row[name].removeprefix(root), known))
                for name in (LABEL, *sources)
                if isinstance(row[name], str)
            ]
            self._files(self._sample(row["collection"], row["item"], None, facts), files)
        self._table.execute("COMMIT")

    def _known(self, wanted: set[str]) -> dict[str, _Known]:
        """What index and ledger know of some files."""
        found: dict[str, _Known] = {}
        for batch, here in self._here():
            for row in batch:
                path = row["save_path"]
                if path in wanted and path in here:
                    found[path] = here[path], _about(row)
        return found

    def _here(self) -> Iterator[tuple[list[dict[str, Any]], dict[str, Entry]]]:
        """The rows of the index, and what the ledger knows of their files that are here."""
        for batch, known in scan_known(self._paths, _COLUMNS, self._stop):
            here = undamaged(known)
            self.damaged.update(known.keys() - here.keys())
            for start in range(0, batch.num_rows, _ROWS):
                yield _rows(batch.slice(start, _ROWS)), here

    def add_items(
        self,
        splits: dict[str, dict[str, None]],
        *,
        keys: frozenset[str] | None = None,
        collection: str | None = None,
        split: str | None = None,
    ) -> None:
        """Take items in, with their own assets that are here.

        Args:
            splits: The names of items that each split has.
            keys: Only these assets; all of them by default.
            collection: Only items of this collection.
            split: Only items of this split.
        """
        for rows, here in self._here():
            self._table.execute("BEGIN")
            for row in rows:
                path, item = row["save_path"], row["item_id"]
                if path not in here or item is None or row["common_asset"]:
                    continue
                if keys is not None and row["asset_key"] not in keys:
                    continue
                own = split_of(item, splits)
                wanted = collection in (None, row["collection_id"]) and split in (None, own)
                if wanted:
                    number = self._item(row, own)
                    self._files(number, [(row["asset_key"], (here[path], _about(row)))])
            self._table.execute("COMMIT")

    def _item(self, row: dict[str, Any], split: str | None) -> int:
        """The number of the sample of an item, made with the first of its assets."""
        named = orjson.dumps([row["collection_id"], row["item_path"], row["item_id"]]).decode()
        known = self._table.execute("SELECT id FROM samples WHERE named = ?", (named,)).fetchone()
        if known is not None:
            return int(known[0])
        times = {
            name: _moment(row[name]) for name in ("datetime", "start_datetime", "end_datetime")
        }
        facts = {
            "collection": row["collection_id"],
            "item": row["item_id"],
            "split": split,
            **times,
            "geometry": _geojson(row["geometry"]),
        }
        return self._sample(row["collection_id"], row["item_id"], named, facts)

    def _sample(self, collection: str, item: str, named: str | None, facts: dict[str, Any]) -> int:
        told = {name: value for name, value in facts.items() if value is not None}
        key = f"{key_part(collection)}/{key_part(item)}"
        row = (key, named, orjson.dumps(told))
        added = self._table.execute("INSERT INTO samples (key, named, facts) VALUES (?, ?, ?)", row)
        return int(added.lastrowid or 0)

    def _files(self, number: int, files: list[tuple[str, _Known]]) -> None:
        self._table.executemany(
            "INSERT INTO files VALUES (?, ?, ?, ?, ?, ?)",
            (
                (number, name, entry.path, entry.size, entry.sha256, orjson.dumps(about))
                for name, (entry, about) in files
            ),
        )

    def ready(self) -> int:
        """Make ready to be read, for all are in; how many there are."""
        self._table.execute("CREATE INDEX keys ON samples (key, id)")
        self._table.execute("CREATE INDEX owners ON files (sample)")
        return int(self._table.execute("SELECT count(*) FROM samples").fetchone()[0])

    def __iter__(self) -> Iterator[Sample]:
        """All of them, in the order of their keys; of several with one key each gets its own."""
        last, count = "", 0
        samples = self._table.execute("SELECT id, key, facts FROM samples ORDER BY key, id")
        for number, key, facts in samples:
            self._stop.check()
            last, count = (last, count + 1) if key == last else (key, 1)
            rows = self._table.execute(
                "SELECT field, path, size, sha256, about FROM files WHERE sample = ?", (number,)
            )
            files = [
                SampleFile(field, path, size, sha256, orjson.loads(about))
                for field, path, size, sha256, about in rows
            ]
            # No key has a tilde of its own.
            yield Sample(
                key if count == 1 else f"{key}~{count}", orjson.loads(facts), _named(files)
            )


def key_part(name: str) -> str:
    """An id as a part of a sample's key: WebDataset ends a key at the first dot of a name."""
    name = safe_name(name).replace(".", "%2E").replace("~", "%7E")
    return encode_first(name) if name.startswith("__") else name


def _named(files: Iterable[SampleFile]) -> list[SampleFile]:
    """Files under names that differ in more than case, in the order of their names.

    WebDataset folds the case, and skips what begins with two underscores.
    """
    taken = {"json"}  # what says all about the sample
    found = []
    for file in sorted(files, key=lambda file: (file.field != LABEL, file.field)):
        name = safe_name(file.field)
        ending = extension(file.path)
        if name.startswith("__"):
            name = encode_first(name)
        while case_key(name + ending) in taken:
            name = encode_first(name) if name[0] != "%" else f"{name}~"
        taken.add(case_key(name + ending))
        found.append(file._replace(field=name + ending))
    return found


def _known_of(path: str, known: dict[str, _Known]) -> _Known:
    try:
        return known[path]
    except KeyError as error:
        raise StorageError(
            f"{path} is not in the ledger any more: another run changed the download meanwhile. "
            "Run the same command again."
        ) from error


def _rows(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = batch.to_pylist()
    return rows


def _about(row: dict[str, Any]) -> dict[str, Any]:
    """What of an asset goes into the sample's description."""
    names = dict(zip(_ABOUT, ("asset", "type", "bands", "license"), strict=True))
    about = {names[name]: row[name] for name in _ABOUT if row[name] not in (None, [])}
    if "bands" in about:
        about["bands"] = [
            {name: one for name, one in band.items() if one is not None} for band in about["bands"]
        ]
    return about


def _moment(value: Any) -> str | None:
    """A moment of pandas or Python as RFC 3339; None for none."""
    if value is None or value != value:
        return None
    text: str = value.isoformat()
    return text.replace("+00:00", "Z")


def _geojson(shape: Any) -> Any:
    """A geometry, of Shapely or as WKB, as GeoJSON."""
    import shapely

    if isinstance(shape, bytes):
        shape = shapely.from_wkb(shape)
    return None if shape is None else orjson.loads(shapely.to_geojson(shape))
