"""Finishing the rows that had to wait for the end of the archive.

They wait for one of three reasons: a common asset lies where it depends on all items whether they
agree on its URL, a relative href on whether the archive holds the file, and the name of an asset
whose directory others claim too, on those others.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

from mlhub_core.buffers import texts_of, truths_of
from mlhub_core.index.hrefs import BEYOND
from mlhub_core.index.items import both_updated
from mlhub_core.index.save_paths import Claim, Plan
from mlhub_core.index.schema import index_schema
from mlhub_core.layout import COMMON_DIRECTORY, encode_first


class Agreement:
    """Whether all items that have a common asset point at one file, in the dataset or a part."""

    def __init__(self) -> None:
        self._files: dict[tuple[str | None, str], str | None] = {}

    def note(self, collection_id: str, key: str, identity: str) -> None:
        """Note what one item says."""
        for scope in (None, collection_id):
            if self._files.setdefault((scope, key), identity) != identity:
                self._files[scope, key] = None

    def merge(self, other: Agreement) -> None:
        """Note what others noted."""
        for scope, identity in other._files.items():
            if self._files.setdefault(scope, identity) != identity:
                self._files[scope] = None

    def directory(self, collection_id: str, key: str, plan: Plan) -> str | None:
        """The ``_common`` directory that a common asset lies in; None for with its item."""
        if self._files.get((None, key)) is not None:
            return COMMON_DIRECTORY
        if self._files.get((collection_id, key)) is not None:
            return f"{plan.collection_directory(collection_id)}/{COMMON_DIRECTORY}"
        return None


class Finisher:
    """Fills in what was not known when a row was made.

    Args:
        root: The directory of the dataset, relative to the output directory.
        plan: Where collections lie and which paths are held.
        agreement: On common assets.
        settled: Save paths by ``(collection id, item id, claim)`` for those that clashed.
        in_archive: Whether the archive holds a file, by its path in the dataset's directory.
        complain: Told of hrefs that lead nowhere: collection or item, and what is wrong.
    """

    def __init__(
        self,
        root: str,
        plan: Plan,
        agreement: Agreement,
        settled: Mapping[tuple[str, str | None, Claim], str],
        in_archive: Callable[[str], bool],
        complain: Callable[[str, str], None],
    ) -> None:
        self._root = root
        self._plan = plan
        self._agreement = agreement
        self._settled = settled
        self._in_archive = in_archive
        self._complain = complain
        self.path_hashes = array("q")
        self.own_hashes = array("q")
        """Of paths that are not those of common assets: no two should be equal."""

    def finish(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Finish a batch of rows."""
        columns: dict[str, Any] = {name: batch.column(name) for name in batch.schema.names}
        hrefs, paths, common, updates = [], [], [], []
        for row in _needed(batch):
            hrefs.append(self._href(row))
            path, is_common = self._place(row)
            paths.append(path)
            common.append(is_common)
            # A file of many items is not another one because one of these was written anew.
            of_item = None if is_common else row["_item_updated"]
            updates.append(both_updated(row["updated"], of_item))
        hashes = list(map(hash, paths))
        self.path_hashes.extend(hashes)
        self.own_hashes.extend(
            found for found, is_common in zip(hashes, common, strict=True) if not is_common
        )
        columns["href"] = texts_of(hrefs)
        columns["save_path"] = texts_of(paths)
        columns["updated"] = texts_of(updates)
        columns["common_asset"] = truths_of(common)
        schema = index_schema()
        return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)

    def _href(self, row: dict[str, Any]) -> str:
        candidates = row["_candidates"]
        if candidates is None:
            return str(row["href"])
        for candidate in candidates:
            if self._in_archive(candidate):
                return f"{self._root}/{candidate.removeprefix(f'{BEYOND}/')}"
        if row["_url"]:
            return str(row["_url"])
        self._complain(
            row["item_id"] or row["collection_id"],
            f"asset {row['asset_key'][:80]!r} has a relative href that leads to no file of the "
            f"archive: {candidates[0][:80]!r}",
        )
        return f"{self._root}/{candidates[0]}"

    def _place(self, row: dict[str, Any]) -> tuple[str, bool]:
        name = row["_common_name"]
        if name is not None:
            directory = self._agreement.directory(
                row["collection_id"], row["asset_key"], self._plan
            )
            if directory is not None:
                path = f"{directory}/{name}"
                if self._plan.is_reserved(path):
                    path = f"{directory}/{encode_first(name)}"
                return path, True
        if not row["_unsettled"]:
            return row["save_path"], False
        claim = Claim(row["_stem"], row["_suffix"], row["asset_key"], row["_identity"])
        return self._settled[row["collection_id"], row["item_id"], claim], False


_NEEDED = [
    "collection_id",
    "item_id",
    "asset_key",
    "href",
    "save_path",
    "_common_name",
    "_identity",
    "_stem",
    "_suffix",
    "_unsettled",
    "_candidates",
    "_url",
    "updated",
    "_item_updated",
]


def _needed(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """The rows, as far as they are needed here: not their geometries and properties."""
    rows: list[dict[str, Any]] = batch.select(_NEEDED).to_pylist()
    return rows
