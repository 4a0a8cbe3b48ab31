"""The splits that a dataset comes with: which items are to train, validate and test with."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from mlhub_core.exceptions import StorageError
from mlhub_core.paths import DownloadPaths
from mlhub_core.selection.index_reader import open_index
from mlhub_core.transfer.ledger import LedgerReader, undamaged

SPLITS = {"train_split": "train", "validation_split": "validation", "test_split": "test"}
"""The splits, by the asset key of the file that names their items."""
_ENDINGS = (".json", ".geojson", ".tif", ".tiff")


def read_splits(paths: DownloadPaths) -> dict[str, dict[str, None]]:
    """What the files of splits name, items among it: by the split, in the order of the files.

    Memory is that of these files, whatever the dataset.

    Raises:
        StorageError: if index, ledger or one of the files cannot be read.
    """
    places: dict[str, set[str]] = {}
    with open_index(paths.index) as index:
        for _, batch in index.scan(["asset_key", "save_path"]):
            keys, files = (batch.column(name).to_pylist() for name in ("asset_key", "save_path"))
            for key, path in zip(keys, files, strict=True):
                if key in SPLITS:
                    places.setdefault(key, set()).add(path)
    found: dict[str, dict[str, None]] = {}
    with closing(LedgerReader(paths.ledger_dir)) as ledger:
        for key, split in SPLITS.items():
            for path in undamaged(ledger.find(sorted(places.get(key, ())))):
                found.setdefault(split, {}).update(_names_in(paths.asset_dir / path))
    return found


def split_of(item: str, splits: Mapping[str, Mapping[str, None]]) -> str | None:
    """The split of an item, None where it is in none."""
    return next((name for name, items in splits.items() if item in items), None)


def _names_in(path: Path) -> dict[str, None]:
    """What a split's file may name items by, wherever in it: ids, or paths that have them."""
    try:
        text = path.read_text("utf-8", "replace")
    except OSError as error:
        raise StorageError(f"Cannot read {path}: {error.strerror or error}.") from error
    words = text.replace("[", " ").replace("]", " ").replace('"', " ")
    found: dict[str, None] = {}
    for row in csv.reader(words.splitlines()):
        for cell in row:
            for word in cell.replace(":", " ").split():
                for name in (word, *reversed(word.split("/"))):
                    for ending in ("", *_ENDINGS):
                        if name.endswith(ending):
                            found[name.removesuffix(ending)] = None
    return found
