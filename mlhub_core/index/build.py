"""Building the asset index: as many passes over the archive as its names ask for, usually one.

The first pass assumes that nothing clashes and notes, as hashes, what would have to. Only where
something does is there another pass, which knows of it; so neither order in the archive nor memory
matters.
"""

from __future__ import annotations

import logging
import zlib
from array import array
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import orjson

from mlhub_core.exceptions import StorageError
from mlhub_core.index.asset_index import AssetIndex, identity, recall, remember
from mlhub_core.index.clashes import count_distinct, held_paths, membership, plan_after, settled
from mlhub_core.index.dealing import ALONE, Dealing
from mlhub_core.index.hrefs import linked_paths
from mlhub_core.index.save_paths import Plan
from mlhub_core.index.second import Second, SecondLost
from mlhub_core.layout import DownloadPaths, safe_name
from mlhub_core.progress import Progress, ProgressSink, Stage, ignore
from mlhub_core.settings import ArchiveLimits
from mlhub_core.sources.archive import CatalogArchive
from mlhub_core.sources.remarks import lacking, shown
from mlhub_core.sources.tarstream import TarStream
from mlhub_core.stop import StopFlag

if TYPE_CHECKING:
    from mlhub_core.index.findings import Findings
    from mlhub_core.index.scan import Scan
    from mlhub_core.index.writer import IndexFile

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
    dealing: Dealing | None = None,
) -> AssetIndex:
    """Read the archive and write the asset index, ``paths.index``.

    An index that was made from this very archive is used again.

    Args:
        archive: The archive.
        paths: Where everything goes.
        limits: Caps; the defaults of :class:`ArchiveLimits` unless given.
        stop: Ends the work early.
        on_progress: Told the bytes of the archive read and the assets so far.
        dealing: How the work is divided between two processes; by the size of the archive unless
            given.

    Raises:
        ArchiveCorrupt: if the archive is broken off or damaged.
        ArchiveLimitExceeded: if it holds more than the caps allow.
        StorageError: if the disk refuses.
        Interrupted: if ``stop`` is set.
    """
    index = recall(archive, paths)
    if index is None:
        build = _Build(archive, paths, limits or ArchiveLimits(), stop, on_progress)
        build.dealing = dealing or Dealing()
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
        self.dealing = ALONE

    def run(self) -> AssetIndex:
        """Go over the archive until no name clashes."""
        if self._stop is not None:
            self._stop.check()
        plan = Plan()
        for number in range(1, _MAX_PASSES + 1):
            is_last = number == _MAX_PASSES
            try:
                done = self._pass(plan, is_last=is_last)
            except SecondLost:
                name = self._archive.dataset_id
                log.warning("%s: a process that read along was killed: once more, alone", name)
                self.dealing = ALONE
                done = self._pass(plan, is_last=is_last)
            if isinstance(done, AssetIndex):
                return done
            log.debug("%s: names clash, reading the archive again", self._archive.dataset_id)
            plan = done
        raise AssertionError  # the last pass gives an index

    def _pass(self, plan: Plan, *, is_last: bool) -> AssetIndex | Plan:
        """Go over the archive once; returns the index, or what the next pass has to know."""
        with ExitStack() as stack:
            second: Second | None = None
            if self.dealing.is_worth_it(self._archive.size):
                second = stack.enter_context(Second(plan, self._stop))
            from mlhub_core.index.writer import IndexFile

            out = stack.enter_context(IndexFile(self._paths.state_dir / _PART_NAME))
            scan = self._scan(plan, out, second)
            found = scan.findings
            next_plan = plan_after(found, plan)
            if next_plan != plan and not is_last:
                return next_plan
            files = self._finish(scan, plan, out)
            reserved = held_paths(found, out, self._root, plan)
            next_plan = replace(next_plan, reserved=plan.reserved | reserved)
            if next_plan != plan and not is_last:
                return next_plan
            out.publish(self._paths.index)
        _tell(self._archive.dataset_id, found)
        return _result(self._paths, found, files)

    def _scan(self, plan: Plan, out: IndexFile, second: Second | None) -> Scan:
        from mlhub_core.index.collecting import Rows
        from mlhub_core.index.scan import Scan

        if second is not None:
            second.hand_over(out.add_ready, partial(out.add_aside, process=1))
        rows = Rows(out.add_ready, out.add_aside)
        dataset = self._archive.dataset_id
        scan = Scan(dataset, plan, rows, self._limits, second, self.dealing)

        def report(packed_read: int) -> None:
            self._on_progress(
                Progress(
                    Stage.INDEX,
                    done=scan.assets,
                    bytes_done=packed_read,
                    bytes_total=self._archive.size,
                )
            )

        with TarStream(self._archive.path, self._limits, stop=self._stop, on_read=report) as stream:
            for member in stream:
                scan.member(stream, member)
            scan.finish()
        return scan

    def _finish(self, scan: Scan, plan: Plan, out: IndexFile) -> int:
        """Write the rows that waited and close the file; returns the number of files."""
        from mlhub_core.index.aside import Finisher

        found = scan.findings
        in_archive = membership(scan.files)
        _note_absent(found, scan.files)
        finisher = Finisher(
            self._root,
            plan,
            found.agreement,
            settled(found, plan),
            lambda path: in_archive(hash(path)),
            found.oddities.add,
        )
        out.write_ready()
        for batch in out.take_aside():
            out.write(finisher.finish(batch))
        items_once = count_distinct(found.item_keys) == len(found.item_keys)
        own_paths = finisher.own_hashes
        out.finish(
            found.extent,
            identity(self._archive),
            paths_differ=items_once and count_distinct(own_paths) == len(own_paths),
        )
        if items_once:
            return found.finished_rows + count_distinct(finisher.path_hashes)
        hashes = array("q")  # the same items more than once: their files count once
        for batch in out.read_columns("save_path"):
            hashes.extend(map(hash, batch.column("save_path").to_pylist()))
        return count_distinct(hashes)


def _note_absent(found: Findings, files: array[int]) -> None:
    """Note the items and collections that the catalog links and the archive does not hold."""
    import numpy as np

    there = np.frombuffer(files, dtype=np.int64)
    told: set[str] = set()
    for _, path, packed in sorted(found.linked):
        directory = path.rpartition("/")[0]
        hrefs = orjson.loads(zlib.decompress(packed))
        paths = [linked_paths(href, directory) for href in hrefs]
        at, hashes = [], array("q")
        for number, candidates in enumerate(paths):
            at += [number] * len(candidates)
            hashes.extend(map(hash, candidates))
        held = np.isin(np.frombuffer(hashes, dtype=np.int64), there).tolist()
        is_there = {number for number, is_held in zip(at, held, strict=True) if is_held}
        for number, candidates in enumerate(paths):
            if not candidates or candidates[0] in told:
                continue
            odd = ""
            if number not in is_there:
                odd = "is not in the archive"
            elif not candidates[-1].lower().endswith((".json", ".geojson")):
                odd = "is not called .json, and not read"
            if odd:
                told.add(candidates[0])
                found.lack(path, f"links what {odd}: {hrefs[number][:200]!r}")


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
    if found.oddities.count:
        log.warning(
            "%s: %d things are odd in the catalog, such as %s",
            dataset_id,
            found.oddities.count,
            found.oddities.first[0],
        )


def _result(paths: DownloadPaths, found: Findings, files: int) -> AssetIndex:
    collections = sorted(found.collections.items())
    return AssetIndex(
        path=paths.index,
        assets=sum(collection.assets for _, collection in collections),
        files=files,
        items=found.items,
        collections=tuple((one, c.items, c.assets) for one, c in collections),
        asset_keys=tuple((one, c.listed_keys) for one, c in collections),
        ignored=found.ignored,
        missing=found.missing,
        oddities=found.oddities.first,
        oddity_count=found.oddities.count,
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
