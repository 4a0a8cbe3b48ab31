"""Looks after a download that is there: checks it offline, fetches again what is wrong or failed.

Both work in the directory of one dataset and need neither the hub nor its key: where files come
from stands in the asset index.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from mlhub_core import steps
from mlhub_core.exceptions import InvalidArgument
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.net.body import digest_file
from mlhub_core.paths import UNARCHIVED_NAME, DownloadPaths
from mlhub_core.products import PRODUCTS, check_mode, default_modes, product
from mlhub_core.products.base import Made
from mlhub_core.runner import InProcess, Runner
from mlhub_core.selection.pick import ASSET_KEY, PATH_KEY, Key, Picked, pick_assets
from mlhub_core.settings import RunSettings
from mlhub_core.sources import check_local, spec_of, within_zones
from mlhub_core.sources.archive import CatalogArchive
from mlhub_core.sources.base import SourceSpec
from mlhub_core.sources.unarchive import is_unarchived
from mlhub_core.state import remove_state
from mlhub_core.steps import Run
from mlhub_core.transfer.failures import ASSET_COLUMNS, merge_failures, read_failures
from mlhub_core.transfer.findings import Finding, Kind, Part, VerifyReport, read_findings
from mlhub_core.transfer.ledger import mark_damaged
from mlhub_core.transfer.report import DownloadReport, PartitionResult, add_up
from mlhub_core.transfer.verify import check_download
from mlhub_core.workspace import existing_download, workspace

log = logging.getLogger(__name__)

_PARTITIONS = "repair"
_NOT_IN_INDEX = "not in the asset index"
_RESUME = DownloadIfExistsOpts.resume


def verify(
    directory: str | Path,
    runner: Runner | None = None,
    *,
    repair: bool = False,
    settings: RunSettings | None = None,
) -> VerifyReport:
    """Check a download: every file that the ledger knows, and every file that it does not.

    Nothing is asked over the network, unless something is to be repaired. Then what is damaged
    keeps its place until what is fetched anew is whole; files that do not belong to the dataset
    are told of and left alone.

    Args:
        directory: The dataset's directory, in which ``.mlhub`` lies.
        runner: Runs the steps; this process by default.
        repair: Whether to fetch again what is wrong.
        settings: How to fetch.

    Returns:
        What was found; no finding is an error.

    Raises:
        InvalidArgument: if the directory is not that of a download, or a repair needs its asset
            index and there is none.
        StorageError: if the disk refuses, or another run holds the directory.
        Interrupted: if stopped; what is repaired by then stays so.
        CatalogError: if a repair needs the catalog archive and cannot use it.
    """
    runner, settings = runner or InProcess(), settings or RunSettings()
    paths = _paths(directory, settings)
    with workspace(paths):
        log.info("verify %s ...", paths.asset_dir)
        report = runner(_check, paths, settings)
        if not repair:
            return report
        damaged = _paths_of(report, Kind.DAMAGED, Kind.TRUNCATED)
        mark_damaged(paths.ledger_dir, (path for (path,) in damaged))
        if not report.repairable:
            return report
        repaired = _repair(runner, report, paths, settings)
        err_report = paths.err_report if paths.err_report.exists() else None
        return replace(report, repaired=repaired, err_report=err_report)


def write_product(
    directory: str | Path,
    name: str,
    runner: Runner | None = None,
    *,
    mode: str | None = None,
    settings: RunSettings | None = None,
) -> Made:
    """Write a product of a download that is there.

    Args:
        directory: The dataset's directory, in which ``.mlhub`` lies.
        name: One of :data:`mlhub_core.products.PRODUCTS`.
        runner: Runs the steps; this process by default.
        mode: How; by default as the last time, else as a download does.
        settings: Caps on what is read of the catalog.

    Raises:
        InvalidArgument: if the directory is not that of a download, its catalog is not there, or
            something else lies where the product goes.
        StorageError: if the disk refuses, or another run holds the directory.
        Interrupted: if stopped; what was there stays.
    """
    runner, settings = runner or InProcess(), settings or RunSettings()
    paths = existing_download(directory)
    mode = mode or product(name).last_mode(paths) or default_modes()[name]
    check_mode(name, mode)
    product(name).check_place(mode, paths)
    with workspace(paths):
        found = runner(steps.writing(name), paths, None, mode, settings.limits)
    if found is None:
        raise InvalidArgument(
            f"{paths.asset_dir}: its catalog is not here any more, and {name} is made of "
            "that: download the dataset again, which fetches nothing that is here."
        )
    return found


def retry(
    directory: str | Path, runner: Runner | None = None, *, settings: RunSettings | None = None
) -> DownloadReport:
    """Fetch what ``err_report.csv`` names, and nothing else, then write it anew.

    A row that the asset index does not know, because the catalog has changed since, counts as
    failed and stays in the report.

    Args:
        directory: The dataset's directory, in which ``.mlhub`` lies.
        runner: Runs the steps; this process by default.
        settings: How to fetch.

    Raises:
        InvalidArgument: if the directory is not that of a download, or its report or index is of
            no use.
        StorageError: if the disk refuses, or another run holds the directory.
        Interrupted: if stopped.
    """
    started = time.monotonic()
    runner, settings = runner or InProcess(), settings or RunSettings()
    paths = _paths(directory, settings)
    with workspace(paths):
        if next(read_failures(paths.err_report), None) is None:
            return DownloadReport(paths.dataset_id, paths.asset_dir)
        names = (tuple(row[ASSET_COLUMNS]) for row in read_failures(paths.err_report))
        picked = runner(_pick, paths, names, ASSET_KEY, settings)
        if picked.carried and not is_unarchived(paths):
            _take_out(runner, picked, paths, settings)
        results = runner.download(picked.partitions, paths, within_zones(settings, paths), _RESUME)
        _write_products(runner, paths, settings)
        unknown = sum(1 for _ in _other_failures(paths, picked))
        return _conclude(paths, picked, results, unknown, time.monotonic() - started)


def _paths(directory: str | Path, settings: RunSettings) -> DownloadPaths:
    paths = existing_download(directory)
    if settings.transfer.allow_local_files:
        check_local(spec_of(paths.state_dir) or SourceSpec(paths.dataset_id, "mlhub"))
    return paths


def _paths_of(report: VerifyReport, *kinds: Kind) -> Iterator[Key]:
    """The assets among the findings of some kinds."""
    found: Iterable[Finding] = () if report.listing is None else read_findings(report.listing)
    return ((one.path,) for one in found if one.kind in kinds and one.part is Part.ASSETS)


def _repair(
    runner: Runner, report: VerifyReport, paths: DownloadPaths, settings: RunSettings
) -> DownloadReport:
    started = time.monotonic()
    wrong = [kind for kind in Kind if kind not in (Kind.FOREIGN, Kind.SIDECAR)]
    # Without the archive, what it carries cannot be told whole from damaged: it is left alone.
    has_archive = paths.archive.is_file() or paths.origin is not None
    names = _paths_of(report, *wrong)
    picked = Picked()
    if report.repairable > report.catalog:
        picked = runner(_pick, paths, names, PATH_KEY, settings, has_archive)
    log.info("repair %s files ...", f"{picked.files + report.catalog:,}")
    if picked.carried and not is_unarchived(paths):
        _take_out(runner, picked, paths, settings)
    elif paths.origin is None and (picked.carried or report.catalog):
        runner(_restore_catalog, paths, settings)
    results = runner.download(picked.partitions, paths, within_zones(settings, paths), _RESUME)
    _write_products(runner, paths, settings)
    unknown = picked.wanted - picked.files
    repaired = _conclude(paths, picked, results, unknown, time.monotonic() - started)
    restored = report.catalog
    return replace(repaired, files=repaired.files + restored, fetched=repaired.fetched + restored)


def _write_products(runner: Runner, paths: DownloadPaths, settings: RunSettings) -> None:
    """Write anew each product that was written before."""
    for name in PRODUCTS:
        if mode := product(name).last_mode(paths):
            runner(steps.writing(name), paths, None, mode, settings.limits)


def _take_out(runner: Runner, picked: Picked, paths: DownloadPaths, settings: RunSettings) -> None:
    """Take files out of an archive that the catalog stays in, damaged ones replaced."""
    overwrite = DownloadIfExistsOpts.overwrite
    runner(steps.take_out, picked.partitions, paths, overwrite, settings.limits)


def _check(run: Run, paths: DownloadPaths, settings: RunSettings) -> VerifyReport:
    return check_download(paths, run.work(settings.limits))


def _restore_catalog(run: Run, paths: DownloadPaths, settings: RunSettings) -> None:
    """Compare the catalog on disk with its archive, and replace what differs.

    A damaged file may be the catalog's own as well as an asset's, and would be taken for good.
    """
    digest = digest_file(str(paths.archive), ["sha256"], run.stop.check)["sha256"]
    size = paths.archive.stat().st_size
    archive = CatalogArchive(paths.archive, paths.dataset_id, size, digest)
    remove_state(paths.state_dir / UNARCHIVED_NAME)
    steps.unarchive(run, archive, paths, _RESUME, settings.limits)


def _pick(
    run: Run,
    paths: DownloadPaths,
    names: Iterable[Key],
    columns: Key,
    settings: RunSettings,
    carried: bool = True,
) -> Picked:
    return pick_assets(
        paths.index,
        names,
        columns,
        paths.state_dir / _PARTITIONS,
        workers=settings.workers,
        carried=carried,
        stop=run.stop,
    )


def _other_failures(paths: DownloadPaths, picked: Picked) -> Iterator[list[str]]:
    """Rows of the report that this run had nothing to do with."""
    for row in read_failures(paths.err_report):
        if not picked.holds(*row[ASSET_COLUMNS]):
            yield row


def _conclude(
    paths: DownloadPaths,
    picked: Picked,
    results: tuple[PartitionResult, ...],
    unknown: int,
    seconds: float,
) -> DownloadReport:
    """Write the report of failures anew, and add up."""
    counts = merge_failures(results, paths.err_report, kept=_other_failures(paths, picked))
    causes = [(cause, host, count) for (cause, host), count in counts.most_common()]
    if unknown:
        causes.append((_NOT_IN_INDEX, "", unknown))
    totals = add_up(results)
    totals["files"] += unknown
    totals["failed"] += unknown
    return DownloadReport(
        paths.dataset_id,
        paths.asset_dir,
        index_path=paths.index,
        err_report=paths.err_report if paths.err_report.exists() else None,
        seconds=seconds,
        causes=tuple(causes),
        **totals,
    )
