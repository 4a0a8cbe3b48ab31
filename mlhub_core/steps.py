"""The steps of a pipeline: functions of small values, and of the run that they are part of.

A runner calls them in this process, or as the tasks of an orchestrator.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cache

from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.index import build
from mlhub_core.index.build import AssetIndex
from mlhub_core.paths import DownloadPaths
from mlhub_core.products import product
from mlhub_core.products.base import Made
from mlhub_core.progress import ProgressSink, ignore
from mlhub_core.request import DownloadRequest
from mlhub_core.selection.partition import Partition
from mlhub_core.selection.plan import Plan, counted, load_saved, save_plan
from mlhub_core.settings import ArchiveLimits
from mlhub_core.sources import open_source
from mlhub_core.sources.base import Catalog, DatasetInfo, Source, SourceSpec, Unarchived
from mlhub_core.sync import changes, current, prune
from mlhub_core.sync.changes import Changes
from mlhub_core.threads import StopFlag
from mlhub_core.transfer import catalog_files
from mlhub_core.transfer.ledger import merge_journals
from mlhub_core.work import Work
from mlhub_core.workspace import check_space

log = logging.getLogger(__name__)


def _no_key() -> None:
    return None


@dataclass(frozen=True, slots=True)
class Run:
    """What the steps of a run share.

    Attributes:
        stop: Ends the run when set; the loops of every step look at it.
        on_progress: Gets the progress of all steps.
        profile: As for :func:`~mlhub_core.session.get_session`.
        find_key: Gives the API key, None where a profile or the environment has it. Only steps
            that ask the hub call it.
    """

    stop: StopFlag = field(default_factory=StopFlag)
    on_progress: ProgressSink = ignore
    profile: str | None = None
    find_key: Callable[[], str | None] = _no_key

    def work(self, limits: ArchiveLimits) -> Work:
        """The work of a step within some caps."""
        return Work(limits, self.stop, self.on_progress)

    def source(self, spec: SourceSpec) -> Source:
        """The source that is meant."""
        return open_source(spec, api_key=self.find_key(), profile=self.profile)


def fetch_metadata(run: Run, source: SourceSpec) -> DatasetInfo:
    """What the source says about a dataset."""
    return run.source(source).describe()


def catalog_here(run: Run, source: SourceSpec) -> Catalog | None:
    """The catalog where it lies, if that is on this machine."""
    return run.source(source).here(run.stop)


def check_catalog(run: Run, request: DownloadRequest, paths: DownloadPaths, pruning: bool) -> bool:
    """Whether everything is here, and the catalog is still the same."""
    return current.is_current(request, paths, run.source(request.source), prune=pruning)


def fetch_catalog(
    run: Run,
    source: SourceSpec,
    paths: DownloadPaths,
    if_exists: DownloadIfExistsOpts,
    limits: ArchiveLimits,
) -> Catalog:
    """The catalog, on disk and whole."""
    return run.source(source).acquire(paths, if_exists, run.work(limits))


def unarchive(
    run: Run,
    archive: Catalog,
    paths: DownloadPaths,
    if_exists: DownloadIfExistsOpts,
    limits: ArchiveLimits,
) -> Unarchived | None:
    """The catalog, out of its archive; None where there is nothing to unpack."""
    log.info("unarchive %s ...", archive.dataset_id)
    unarchived = archive.unpack(paths, if_exists, run.work(limits))
    if unarchived is None:
        log.info("nothing to unpack")
    return unarchived


def index_assets(
    run: Run, archive: Catalog, paths: DownloadPaths, limits: ArchiveLimits
) -> AssetIndex:
    """The asset index, made of the catalog archive."""
    log.info("create stac asset list ...")
    return build.index_assets(archive, paths, run.work(limits))


def compare_indexes(
    run: Run,
    paths: DownloadPaths,
    archive: Catalog,
    index: AssetIndex,
    limits: ArchiveLimits,
) -> tuple[AssetIndex, Changes | None]:
    """What a new index changes, on record, and the index in its place."""
    return changes.adopt_index(paths, archive, index, run.work(limits))


def filter_assets(
    run: Run, request: DownloadRequest, paths: DownloadPaths, index: AssetIndex, renewed: bool
) -> Plan:
    """The plan: the index filtered, and what is left cut into partitions; or a saved one.

    Where the catalog stays in its archive, the files that the plan wants of it are taken out of it
    where they are not here. If the catalog has changed (``renewed``), those that are here may be
    others by now, and are taken out again.

    Raises:
        InvalidArgument: if the filter names a collection or asset key that does not exist, or a
            saved plan cannot be run any more.
        NothingMatches: if nothing is left.
        StorageError: if the disk refuses, or has not the room that the files will take.
    """
    if request.plan is not None:
        from mlhub_core.selection.query import archive_of

        plan = load_saved(request.plan, paths.dataset_id, archive_of(index.path))
    else:
        request.wanted.check_against(dict(index.asset_keys))
        for phrase in request.wanted.describe():
            log.info("filter: %s", phrase)
        plan = _new_plan(run, request, paths, index)
    for name, left in plan.funnel:
        log.info("%s %s", counted(left, "file"), name)
    if request.dry_run:
        return plan
    if request.settings.check_space:
        check_space(plan, paths, stop=run.stop)
    if not request.settings.unarchive:
        if_exists = DownloadIfExistsOpts.overwrite if renewed else request.if_exists
        take_out(run, plan.partitions, paths, if_exists, request.settings.limits)
    return plan


def take_out(
    run: Run,
    partitions: Iterable[Partition],
    paths: DownloadPaths,
    if_exists: DownloadIfExistsOpts,
    limits: ArchiveLimits,
) -> None:
    """The files that partitions want of an archive that the catalog stays in, out of it."""
    catalog_files.take_out(partitions, paths, if_exists, run.work(limits))


def _new_plan(run: Run, request: DownloadRequest, paths: DownloadPaths, index: AssetIndex) -> Plan:
    """Make a plan: in a place of its own if it is to be kept, and there too if one is kept."""
    from mlhub_core.selection.query import identity, kept_plan, plan_assets

    workers = request.settings.workers
    kept = kept_plan(paths.state_dir, identity(index.path, request.wanted, workers))
    plan = plan_assets(
        paths.dataset_id,
        index.path,
        request.wanted,
        kept if request.dry_run or kept.exists() else paths.plan_dir,
        workers=workers,
        asset_db=paths.asset_db if request.settings.asset_db and not request.dry_run else None,
        allow_empty=request.allow_empty,
        stop=run.stop,
        on_progress=run.on_progress,
    )
    if request.dry_run:
        plan = replace(
            plan,
            output_dir=str(paths.output_dir),
            asset_output_dir=str(paths.asset_output_dir),
        )
        save_plan(plan)
    return plan


@cache
def writing(product_name: str) -> Callable[..., Made | None]:
    """The step that writes a product, if it is not what it would be.

    Args:
        product_name: One of :data:`mlhub_core.products.PRODUCTS`.
    """

    def write_product(
        run: Run,
        paths: DownloadPaths,
        catalog: Catalog | None,
        mode: str,
        limits: ArchiveLimits,
    ) -> Made | None:
        """See :meth:`mlhub_core.products.base.Product.write`."""
        merge_journals(paths.ledger_dir)
        return product(product_name).write(paths, catalog, mode, run.work(limits))

    write_product.__name__ = f"write_{product_name}"
    return write_product


def prune_files(run: Run, paths: DownloadPaths, limits: ArchiveLimits) -> int:
    """Files that the catalog no longer has, moved into the trash; how many."""
    return prune.prune(paths, run.work(limits))
