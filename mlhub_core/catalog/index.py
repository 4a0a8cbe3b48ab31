"""Building the asset index: as many passes over the archive as its names ask for, usually one.

The first pass assumes that nothing clashes and notes, as hashes, what would have to. Only where
something does is there another pass, which knows of it; so neither order in the archive nor memory
matters.
"""

from __future__ import annotations

import logging
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from mlhub_core.catalog.archive import CatalogArchive
from mlhub_core.catalog.asset_index import AssetIndex, identity, recall, remember
from mlhub_core.catalog.oddities import shown
from mlhub_core.catalog.savepaths import (
    Claim,
    Plan,
    fold,
    item_key,
    settle,
    settle_directories,
    settle_items,
)
from mlhub_core.catalog.tarstream import TarStream
from mlhub_core.exceptions import StorageError
from mlhub_core.layout import (
    COMMON_DIRECTORY,
    DownloadPaths,
    collection_name,
    encode_first,
    safe_name,
)
from mlhub_core.progress import Progress, ProgressSink, Stage, ignore
from mlhub_core.settings import ArchiveLimits
from mlhub_core.stop import StopFlag

if TYPE_CHECKING:
    from mlhub_core.catalog.index_file import IndexFile
    from mlhub_core.catalog.scan import Scan

__all__ = ["AssetIndex", "index_assets"]

log = logging.getLogger(__name__)

_PART_NAME = "index.parquet.part"
_MAX_PASSES = 8
"""Only an archive made for it needs more than three; it then keeps the names of the last one."""


def index_assets(
    archive: CatalogArchive,
    paths: DownloadPaths,
    *,
    limits: ArchiveLimits | None = None,
    stop: StopFlag | None = None,
    on_progress: ProgressSink = ignore,
) -> AssetIndex:
    """Read the archive and write the asset index, ``paths.index``.

    An index that was made from this very archive is used again.

    Args:
        archive: The archive.
        paths: Where everything goes.
        limits: Caps; the defaults of :class:`ArchiveLimits` unless given.
        stop: Ends the work early.
        on_progress: Told the bytes of the archive read and the members so far.

    Raises:
        ArchiveCorrupt: if the archive is broken off or damaged.
        ArchiveLimitExceeded: if it holds more than the caps allow.
        StorageError: if the disk refuses.
        Interrupted: if ``stop`` is set.
    """
    index = recall(archive, paths)
    if index is None:
        build = _Build(archive, paths, limits or ArchiveLimits(), stop, on_progress)
        with _disk_errors(paths):
            index = build.run()
        remember(index, archive, paths)
    on_progress(
        Progress(
            Stage.INDEX,
            done=index.assets,
            total=index.assets,
            bytes_done=archive.size,
            bytes_total=archive.size,
            finished=True,
        )
    )
    return index


class _Build:
    """The building of one index."""

    def __init__(
        self,
        archive: CatalogArchive,
        paths: DownloadPaths,
        limits: ArchiveLimits,
        stop: StopFlag | None,
        on_progress: ProgressSink,
    ) -> None:
        self._archive = archive
        self._paths = paths
        self._limits = limits
        self._stop = stop
        self._on_progress = on_progress
        self._root = safe_name(archive.dataset_id)

    def run(self) -> AssetIndex:
        """Go over the archive until no name clashes."""
        from mlhub_core.catalog.index_file import IndexFile

        plan = Plan()
        for number in range(1, _MAX_PASSES + 1):
            with IndexFile(self._paths.state_dir / _PART_NAME) as out:
                scan = self._scan(plan, out)
                next_plan = _plan_after(scan, plan)
                if next_plan == plan or number == _MAX_PASSES:
                    files = self._finish(scan, plan, out)
                    reserved = _held_paths(scan, out, self._root, plan)
                    next_plan = replace(plan, reserved=plan.reserved | reserved)
                if next_plan == plan or number == _MAX_PASSES:
                    out.publish(self._paths.index)
                    break
            log.debug("%s: names clash, reading the archive again", self._archive.dataset_id)
            plan = next_plan
        _tell(self._archive.dataset_id, scan)
        return _result(self._paths, scan, files)

    def _scan(self, plan: Plan, out: IndexFile) -> Scan:
        from mlhub_core.catalog.scan import Scan

        scan = Scan(self._archive.dataset_id, plan, out, self._limits)
        if self._stop is not None:
            self._stop.check()

        def report(packed_read: int) -> None:
            self._on_progress(
                Progress(
                    Stage.INDEX,
                    done=sum(found.assets for found in scan.collections.values()),
                    bytes_done=packed_read,
                    bytes_total=self._archive.size,
                )
            )

        with TarStream(self._archive.path, self._limits, stop=self._stop, on_read=report) as stream:
            for member in stream:
                scan.member(stream, member)
        return scan

    def _finish(self, scan: Scan, plan: Plan, out: IndexFile) -> int:
        """Write the rows that waited and close the file; returns the number of files."""
        from mlhub_core.catalog.aside import Finisher

        in_archive = _membership(scan.files)
        finisher = Finisher(
            self._root,
            plan,
            scan.agreement,
            _settled(scan, plan),
            lambda path: in_archive(hash(path)),
            scan.oddities.add,
        )
        out.write_ready()
        for batch in out.take_aside():
            out.write(finisher.finish(batch))
        items_once = _distinct(scan.item_keys) == len(scan.item_keys)
        own_paths = finisher.own_hashes
        out.finish(
            scan.extent,
            identity(self._archive),
            paths_differ=items_once and _distinct(own_paths) == len(own_paths),
        )
        if items_once:
            return scan.finished_rows + _distinct(finisher.path_hashes)
        hashes = array("q")  # the same items more than once: their files count once
        for batch in out.read_columns("save_path"):
            hashes.extend(map(hash, batch.column("save_path").to_pylist()))
        return _distinct(hashes)


def _plan_after(scan: Scan, plan: Plan) -> Plan:
    """What the next pass has to know; the same plan where nothing new came up."""
    ids = {
        directory: scan.collection_ids[directory]
        for directory in scan.guessed
        if directory in scan.collection_ids
        and directory.rpartition("/")[2] != scan.collection_ids[directory]
    }
    return Plan(
        collection_names=_collection_names(scan),
        collection_ids=ids,
        clashing=plan.clashing | _clashing_items(scan),
        reserved=plan.reserved,
    )


def _collection_names(scan: Scan) -> dict[str, str]:
    """Directories of collections that differ in case only, or that a file is in the way of."""
    held = set(scan.held_files) if len(scan.collections) else set()
    wanted = {found: collection_name(found) for found in scan.collections}
    spelled = settle_directories(wanted.values())
    names = {}
    for found, name in wanted.items():
        settled = spelled.get(name, name)
        if hash(fold(settled)) in held:
            settled = encode_first(settled)
        if settled != name:
            names[found] = settled
    return names


def _clashing_items(scan: Scan) -> frozenset[int]:
    """Hashes of directories that items with different ids or files share."""
    import numpy as np

    keys = np.frombuffer(scan.item_keys, dtype=np.int64)
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    repeated = keys[1:] == keys[:-1]
    if not repeated.any():
        return frozenset()
    contents = np.frombuffer(scan.item_contents, dtype=np.int64)[order]
    different = repeated & (contents[1:] != contents[:-1])
    return frozenset(keys[1:][different].tolist())


def _settled(scan: Scan, plan: Plan) -> dict[tuple[str, str | None, Claim], str]:
    """Save paths of everything that had to be settled with others in its directory."""
    settled = settle_items(scan.clashing_items, plan)
    if any(scan.collection_claims.values()):
        item_directories = _membership(scan.item_keys)
        for collection_id, claims in scan.collection_claims.items():
            directory = plan.collection_directory(collection_id)
            is_taken = _taken_in_collection(collection_id, directory, item_directories, plan)
            for claim, name in settle(claims, is_taken).items():
                settled[collection_id, None, claim] = f"{directory}/{name}"
                if name != claim.name:
                    scan.oddities.add(
                        collection_id, f"asset {claim.key[:80]!r} is saved as {name[:80]!r}"
                    )
    return settled


def _taken_in_collection(
    collection_id: str, directory: str, item_directories: Callable[[int], bool], plan: Plan
) -> Callable[[str], bool]:
    """Which names in a collection's directory are not for its own assets."""

    def is_taken(name: str) -> bool:
        return (
            fold(name) in (COMMON_DIRECTORY, "collection.json")
            or item_directories(item_key(collection_id, name))
            or plan.is_reserved(f"{directory}/{name}")
        )

    return is_taken


def _held_paths(scan: Scan, out: IndexFile, root: str, plan: Plan) -> frozenset[int]:
    """Hashes of folded paths that an asset got though the archive has something there.

    An asset whose file the archive itself has in that very place is fine.
    """
    import numpy as np

    if not len(scan.held_files) and not len(scan.held_directories):
        return frozenset()
    files = np.unique(np.frombuffer(scan.held_files, dtype=np.int64))
    anything = np.union1d(files, np.frombuffer(scan.held_directories, dtype=np.int64))
    found: set[int] = set()
    for batch in out.read_columns("save_path", "href"):
        paths = batch.column("save_path").to_pylist()
        hashes = np.fromiter((hash(fold(path)) for path in paths), np.int64, len(paths))
        hits = np.flatnonzero(np.isin(hashes, anything))
        for hit in hits.tolist():
            if batch.column("href")[hit].as_py() != f"{root}/{paths[hit]}":
                found.add(int(hashes[hit]))
        parents = {fold(path).rpartition("/")[0] for path in paths}
        found.update({hash(parent) for parent in parents}.intersection(files.tolist()))
    return frozenset(found)


def _membership(hashes: array[int]) -> Callable[[int], bool]:
    """What a set of the hashes would test, in 8 bytes each instead of 60."""
    import numpy as np

    ordered = np.sort(np.frombuffer(hashes, dtype=np.int64))

    def is_member(wanted: int) -> bool:
        at = int(np.searchsorted(ordered, wanted))
        return at < len(ordered) and int(ordered[at]) == wanted

    return is_member


def _distinct(hashes: array[int]) -> int:
    import numpy as np

    from mlhub_core.buffers import distinct

    return len(distinct(np.frombuffer(hashes, dtype=np.int64)))


def _tell(dataset_id: str, scan: Scan) -> None:
    if scan.ignored:
        log.warning(
            "%s: ignored %d JSON files of the archive that are no part of the catalog, such as %s",
            dataset_id,
            scan.ignored,
            shown(scan.first_ignored),
        )
    if scan.oddities.count:
        log.warning(
            "%s: %d things are odd in the catalog, such as %s",
            dataset_id,
            scan.oddities.count,
            scan.oddities.first[0],
        )


def _result(paths: DownloadPaths, scan: Scan, files: int) -> AssetIndex:
    collections = sorted(scan.collections.items())
    return AssetIndex(
        path=paths.index,
        assets=sum(collection.assets for _, collection in collections),
        files=files,
        items=scan.items,
        collections=tuple((found, c.items, c.assets) for found, c in collections),
        asset_keys=tuple((found, c.listed_keys) for found, c in collections),
        ignored=scan.ignored,
        oddities=scan.oddities.first,
        oddity_count=scan.oddities.count,
    )


@contextmanager
def _disk_errors(paths: DownloadPaths) -> Iterator[None]:
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(
            f"Cannot write the asset index {paths.index}: {error.strerror or error}."
        ) from error
