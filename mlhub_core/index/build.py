"""The asset index of a catalog: made, remembered, and used again as long as it fits.

It is made in as many passes over the catalog as its names ask for, usually one. The first assumes
that nothing clashes and notes, as hashes, what would have to. Only where something does is there
another pass, which knows of it; so neither order in the catalog nor memory matters.
"""

from __future__ import annotations

import hashlib
import logging
import os
from array import array
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from mlhub_core.exceptions import storage_errors
from mlhub_core.index.findings import Findings, count_distinct, membership
from mlhub_core.index.reading import Reading
from mlhub_core.index.rows import Finisher
from mlhub_core.index.save_paths import (
    Claim,
    Clashes,
    settle,
    settle_items,
    taken_in_collection,
)
from mlhub_core.index.writer import IndexWriter
from mlhub_core.paths import INDEX_STATE_NAME, DownloadPaths, case_key, safe_name
from mlhub_core.progress import Progress, Stage
from mlhub_core.sources.base import Catalog
from mlhub_core.sources.members import lacking, shown
from mlhub_core.state import read_state, under_new_names, write_state
from mlhub_core.work import UNWATCHED, Work

log = logging.getLogger(__name__)

INDEX_VERSION = 6
"""Raised whenever the same archive gives another index: older ones are then built anew."""

_PART_NAME = "index.parquet.part"
_MAX_PASSES = 8
"""Only a catalog made for it needs more than three; it then keeps the names of the last one."""


@dataclass(frozen=True, slots=True)
class AssetIndex:
    """The asset index of a dataset.

    Attributes:
        path: The GeoParquet file.
        assets: Its rows.
        files: Different save paths in it.
        items: Items read, those without assets included.
        collections: ``(id, items, assets)`` of each, by id.
        asset_keys: ``(id, keys)`` of each collection; no keys where there are too many to list.
        ignored: JSON files of the archive that are no part of the catalog.
        missing: What the catalog names and does not hold, or holds and cannot be read: items,
            collections and assets.
        remarks: What is unusual, the first of it, each naming the member.
        remark_count: How many there were.
        reused: Whether it was there already.
    """

    path: Path
    assets: int
    files: int
    items: int
    collections: tuple[tuple[str, int, int], ...]
    asset_keys: tuple[tuple[str, tuple[str, ...]], ...]
    ignored: int = 0
    missing: int = 0
    remarks: tuple[str, ...] = ()
    remark_count: int = 0
    reused: bool = False


def index_assets(
    catalog: Catalog,
    paths: DownloadPaths,
    work: Work = UNWATCHED,
) -> AssetIndex:
    """Read the catalog and write the asset index, ``paths.index``.

    An index that was made from this very archive is used again.

    Args:
        catalog: The catalog.
        paths: Where everything goes.
        work: Caps, what ends it early, and who is told the bytes of the archive read and the assets
            so far.

    Raises:
        ArchiveCorrupt: if the archive is broken off or damaged.
        ArchiveLimitExceeded: if it holds more than the caps allow.
        StorageError: if the disk refuses.
        Interrupted: if ``stop`` is set.
    """
    index = recall(catalog, paths)
    if index is None:
        work.stop.check()
        with storage_errors(f"write the asset index {paths.index}"):
            index = Build(catalog, paths, work).run()
        remember(index, catalog, paths)
    work.on_progress(
        Progress(
            Stage.INDEX,
            done=index.assets,
            total=index.assets,
            bytes_done=catalog.size,
            bytes_total=catalog.size,
            finished=True,
        )
    )
    return index


def identity(catalog: Catalog) -> dict[str, Any]:
    """What an index was made from, and by which rules."""
    made_from = {
        "version": INDEX_VERSION,
        "dataset_id": catalog.dataset_id,
        "sha256": catalog.sha256,
    }
    return {**made_from, "left_out": catalog.left_out} if catalog.left_out else made_from


def left_out_of(paths: DownloadPaths) -> str:
    """What was asked of the source of the index that is there, if that left the rest out.

    Raises:
        StorageError: if its state cannot be read.
    """
    made_from = (read_state(paths.state_dir / INDEX_STATE_NAME) or {}).get("archive")
    found = made_from.get("left_out") if isinstance(made_from, dict) else None
    return found if isinstance(found, str) else ""


def remember(index: AssetIndex, catalog: Catalog, paths: DownloadPaths) -> None:
    """Write down what is in an index.

    Raises:
        StorageError: if the disk refuses.
    """
    facts = asdict(index)
    del facts["path"], facts["reused"]
    archive = {
        "archive": identity(catalog),
        "output_dir": _output_dir(paths),
        "file_sha256": _sha256(index.path),
    }
    write_state(paths.state_dir / INDEX_STATE_NAME, archive | facts)


def recall(catalog: Catalog, paths: DownloadPaths) -> AssetIndex | None:
    """The index that is there already, if it was made from this archive and can be read.

    Raises:
        StorageError: if its state cannot be read.
    """
    state = read_state(paths.state_dir / INDEX_STATE_NAME)
    if state is None or state.get("archive") != identity(catalog):
        return None
    found = _sha256(paths.index)
    if found is None or state.get("file_sha256") != found:
        return None
    from pydantic import TypeAdapter, ValidationError  # here, because it takes long to import

    try:
        facts = under_new_names(state) | {"path": paths.index, "reused": True}
        index = TypeAdapter(AssetIndex).validate_python(facts)
    except ValidationError:
        return None
    if state.get("output_dir") != _output_dir(paths):
        remember(index, catalog, paths)
    return index


def _output_dir(paths: DownloadPaths) -> str:
    """Where archive and catalog are, seen from here: both may be moved, together."""
    try:
        return os.path.relpath(paths.output_dir, paths.state_dir)
    except ValueError:  # on another drive, on Windows
        return str(paths.output_dir)


def _sha256(path: Path) -> str | None:
    """Of the index itself, None where there is none: a disk may have changed what lies there.

    Reading it takes less than loading what reads Parquet.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


class Build:
    """The building of one index; arguments are those of ``index_assets``."""

    def __init__(
        self,
        catalog: Catalog,
        paths: DownloadPaths,
        work: Work,
    ) -> None:
        self._catalog = catalog
        self._paths = paths
        self._work = work
        self._root = safe_name(catalog.dataset_id)

    def run(self) -> AssetIndex:
        """Go over the catalog until no name clashes."""
        clashes = Clashes()
        for number in range(1, _MAX_PASSES + 1):
            found = self._pass(clashes, is_last=number == _MAX_PASSES)
            if isinstance(found, AssetIndex):
                return found
            log.debug("%s: names clash, reading the catalog again", self._catalog.dataset_id)
            clashes = found
        raise AssertionError  # the last pass gives an index

    def _pass(self, clashes: Clashes, *, is_last: bool) -> AssetIndex | Clashes:
        """Go over the catalog once; returns the index, or what the next pass has to know."""
        with IndexWriter(self._paths.state_dir / _PART_NAME) as out:
            reading = Reading(clashes, out)
            self._read(reading)
            found = reading.findings
            found_clashes = found.clashes(clashes)
            if found_clashes != clashes and not is_last:
                return found_clashes
            written = self._write(found, clashes, out)
            reserved = clashes.reserved | written.reserved
            if reserved != clashes.reserved and not is_last:
                return replace(clashes, reserved=reserved)
            out.publish(self._paths.index)
        _tell(self._catalog.dataset_id, found)
        return _result(self._paths, found, written.files)

    def _read(self, reading: Reading) -> None:
        def report(packed_read: int) -> None:
            self._work.on_progress(
                Progress(
                    Stage.INDEX,
                    done=reading.findings.assets,
                    bytes_done=packed_read,
                    bytes_total=self._catalog.size,
                )
            )

        for document in self._catalog.read(self._work, report):
            reading.read(document)
        reading.finish()

    def _write(self, found: Findings, clashes: Clashes, out: IndexWriter) -> _Written:

        is_there = membership(found.files)
        finisher = Finisher(
            self._root,
            clashes,
            found.agreement,
            _settled_paths(found, clashes),
            lambda path: is_there(hash(path)),
            found.above,
            found.remarks.add,
            getattr(self._catalog, "outside", None),
        )
        written = _Written(found, self._root)
        for rows in out.write(finisher, found.licenses):
            written.note(rows)
        out.finish(found.extent, identity(self._catalog), paths_differ=written.own_paths_differ)
        return written


def _settled_paths(found: Findings, clashes: Clashes) -> dict[tuple[str, str | None, Claim], str]:
    """Save paths of everything that has to be settled with others in its directory."""
    paths = settle_items(found.clashing_items, clashes)
    has_item = membership(found.item_keys)
    for collection_id, claims in found.collection_claims.items():
        directory = clashes.collection_directory(collection_id)
        is_taken = taken_in_collection(collection_id, has_item, clashes)
        for claim, name in settle(claims, is_taken).items():
            paths[collection_id, None, claim] = f"{directory}/{name}"
            if name != claim.name:
                found.remarks.add(
                    collection_id, f"asset {claim.key[:80]!r} is saved as {name[:80]!r}"
                )
    return paths


class _Written:
    """What is known of the rows once they are written.

    Args:
        found: What the catalog holds.
        root: The directory of the dataset, relative to the output directory.

    Attributes:
        reserved: Hashes of folded paths that an asset got though the catalog has something there.
            An asset whose file the catalog itself has in that very place is fine.
    """

    def __init__(self, found: Findings, root: str) -> None:

        self._root = root
        self._own_paths = array("q")
        self._common_paths = array("q")
        self._is_file = membership(found.held_files)
        self._is_held = membership(found.held_files + found.held_directories)
        self._looks = bool(found.held_files or found.held_directories)
        self.reserved: set[int] = set()

    def note(self, rows: pa.RecordBatch) -> None:
        """Look at some rows."""
        paths = rows.column("save_path").to_pylist()
        common = rows.column("common_asset").to_pylist()
        pairs = list(zip(map(hash, paths), common, strict=True))
        self._own_paths.extend(found for found, is_common in pairs if not is_common)
        self._common_paths.extend(found for found, is_common in pairs if is_common)
        if self._looks:
            for path, href in zip(paths, rows.column("href").to_pylist(), strict=True):
                self._look(path, href)

    def _look(self, path: str, href: str) -> None:
        folded = case_key(path)
        if self._is_held(hash(folded)) and href != f"{self._root}/{path}":
            self.reserved.add(hash(folded))
        parent = hash(folded.rpartition("/")[0])
        if self._is_file(parent):
            self.reserved.add(parent)

    @property
    def files(self) -> int:
        """Different save paths; those of common assets are nobody else's."""
        return count_distinct(self._own_paths) + count_distinct(self._common_paths)

    @property
    def own_paths_differ(self) -> bool:
        """Whether no two rows share a save path, but for those of common assets."""
        return count_distinct(self._own_paths) == len(self._own_paths)


def _tell(dataset_id: str, found: Findings) -> None:
    if found.ignored:
        log.warning(
            "%s: ignored %d JSON files of the archive that are no part of the catalog, such as %s",
            dataset_id,
            found.ignored,
            shown(found.first_ignored),
        )
    if found.missing:
        log.warning("%s: %s", dataset_id, lacking(found.missing))
    if found.remarks.count:
        log.warning(
            "%s: %d things are odd in the catalog, such as %s",
            dataset_id,
            found.remarks.count,
            found.remarks.first[0],
        )


def _result(paths: DownloadPaths, found: Findings, files: int) -> AssetIndex:
    collections = sorted(found.collections.items())
    return AssetIndex(
        path=paths.index,
        assets=found.assets,
        files=files,
        items=found.items,
        collections=tuple((one, count.items, count.assets) for one, count in collections),
        asset_keys=tuple((one, count.listed_keys) for one, count in collections),
        ignored=found.ignored,
        missing=found.missing,
        remarks=found.remarks.first,
        remark_count=found.remarks.count,
    )
