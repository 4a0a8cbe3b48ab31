"""Asset indexes of whatever holds STAC, made and asked: what ``mlhub index`` and ``query`` run."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlhub_core.exceptions import Interrupted, InvalidArgument, storage_errors
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.paths import STATE_DIRECTORY, DownloadPaths, user_path
from mlhub_core.progress import ProgressSink, ignore
from mlhub_core.settings import ArchiveLimits, RunSettings, TransferSettings
from mlhub_core.sources.base import Catalog, SourceSpec, Wanted

if TYPE_CHECKING:
    from mlhub_core.index.build import AssetIndex
    from mlhub_core.runner import InProcess
    from mlhub_core.selection.filters import AssetFilter
    from mlhub_core.selection.query import Found

_ENDING = ".parquet"


@dataclass(frozen=True, slots=True)
class IndexPaths(DownloadPaths):
    """Paths where the index has a name of its own, and everything goes beside it.

    Attributes:
        output: The index.
    """

    output: Path = Path()

    @property
    def index(self) -> Path:
        """The asset index."""
        return self.output

    @property
    def state_dir(self) -> Path:
        """What the index was made from, what came for it, and the files while it is made."""
        return self.output.parent / STATE_DIRECTORY / self.output.name


def index_source(
    source: str | Path | SourceSpec,
    output: str | Path,
    *,
    source_type: str | None = None,
    dataset_id: str | None = None,
    collections: Iterable[str] = (),
    unarchive: bool = False,
    limits: ArchiveLimits | None = None,
    api_key: str | None = None,
    profile: str | None = None,
    on_progress: ProgressSink = ignore,
) -> AssetIndex:
    """Index a source; nothing is written but the index, and beside it what has to be fetched.

    An index that was made from the same state of the same source stays as it is.

    Args:
        source: What :meth:`Dataset.open <mlhub_core.datasets.dataset.Dataset.open>` takes.
        output: Where the index goes, a GeoParquet file.
        source_type: The kind of source, where ``source`` does not show it.
        dataset_id: What the dataset is called; by default what its source calls it.
        collections: Only these of it, which sources that are read whole refuse: ask their index.
        unarchive: Whether to unarchive the catalog, if it is an archive, beside the index.
        limits: Caps; the defaults of :class:`ArchiveLimits` unless given.
        api_key: As for :func:`~mlhub_core.session.get_session`.
        profile: As for :func:`~mlhub_core.session.get_session`.
        on_progress: Told how far it is.

    Raises:
        InvalidArgument: if there is no such source, or ``output`` cannot be one.
        CatalogError: if it is damaged, or no catalog.
        StorageError: if the disk refuses.
        MLHubException: all that the source raises.
    """
    from mlhub_core import steps
    from mlhub_core.runner import InProcess
    from mlhub_core.sources import resolved
    from mlhub_core.state import check_state_files
    from mlhub_core.workspace import missing_directories, remove_made

    if not isinstance(source, SourceSpec):
        wanted = Wanted(tuple(collections))
        text = str(user_path(source) if isinstance(source, Path) else source)
        source = resolved(SourceSpec(text, source_type, dataset_id, wanted))
    place = user_path(output)
    _check_place(place, str(output), source)
    check_state_files(place.parent)
    runner = InProcess(api_key=api_key, profile=profile, on_progress=on_progress)
    paths, catalog = _found(source, place, runner)
    makes = (place, paths.archive, paths.catalog_dir, paths.state_dir, paths.state_dir.parent)
    new, made = [path for path in makes if not path.exists()], missing_directories(place.parent)
    limits = limits or ArchiveLimits()
    resume = DownloadIfExistsOpts.resume
    try:
        with storage_errors(f"write {paths.state_dir}"):
            paths.state_dir.mkdir(parents=True, exist_ok=True)
        if catalog is None:
            catalog = runner(steps.fetch_catalog, source, paths, resume, limits)
        if collections and not catalog.left_out:
            raise InvalidArgument(
                f"{source} is read whole: leave --collection out, and ask the index "
                "(mlhub query --collection)."
            )
        if unarchive:
            runner(steps.unarchive, catalog, paths, resume, limits)
        index = runner(steps.index_assets, catalog, paths, limits)
    except Interrupted:
        raise  # the same call goes on there
    except Exception:
        remove_made(new, made)
        raise
    return index


def _check_place(place: Path, shown: str, source: SourceSpec) -> None:
    if place.suffix != _ENDING or place.is_dir():
        raise InvalidArgument(f"--output {shown}: name a file that ends in {_ENDING}.")
    if place.exists() and os.path.exists(source.text) and os.path.samefile(place, source.text):
        raise InvalidArgument(f"--output {shown} is the source itself: name another file.")


def _found(
    source: SourceSpec, place: Path, runner: InProcess
) -> tuple[DownloadPaths, Catalog | None]:
    """Where everything goes, and the catalog if it lies on this machine."""
    from mlhub_core import steps
    from mlhub_core.sources import with_source
    from mlhub_core.sources.directory import check_outside

    catalog = runner(steps.catalog_here, source)
    name = catalog.dataset_id if catalog else runner(steps.fetch_metadata, source).id
    paths = with_source(IndexPaths(place.parent, place.parent, name, output=place), source)
    if paths.origin is not None:
        check_outside(paths.origin, place)
    return paths, catalog


def query_source(
    source: str | Path,
    wanted: AssetFilter,
    *,
    output: str | None = None,
    plot: str | Path | None = None,
    source_type: str | None = None,
    allow_empty: bool = False,
    limits: ArchiveLimits | None = None,
    transfer: TransferSettings | None = None,
    profile: str | None = None,
    on_progress: ProgressSink = ignore,
) -> Found:
    """Ask what of a source matches: an asset index as it is, of all else an index made for that.

    Args:
        source: An asset index, or what :func:`index_source` takes.
        wanted: The filter.
        output: As for :func:`~mlhub_core.selection.query.query_index`.
        plot: Likewise.
        source_type: The kind of source, where ``source`` does not show it.
        allow_empty: Whether it is fine that nothing matches.
        limits: As for :func:`index_source`.
        transfer: How a source by URL is asked.
        profile: As for :func:`~mlhub_core.session.get_session`.
        on_progress: Told how far it is.

    Raises:
        NothingMatches: if nothing does; says how many were left after each filter.
        InvalidArgument: if there is no such source, or ``output`` cannot be one.
        MLHubException: all that the source raises.
    """
    from mlhub_core.request import DownloadRequest
    from mlhub_core.selection.query import check_output, query_index
    from mlhub_core.sources import resolved
    from mlhub_core.views.map import check_picture

    def ask(index: Path) -> Found:
        return query_index(
            index,
            wanted,
            output=output,
            plot=plot,
            title=str(source),
            allow_empty=allow_empty,
            on_progress=on_progress,
        )

    if source_type is None and _is_index(str(source)):
        return ask(user_path(source))
    check_output(user_path(source) if "://" not in str(source) else Path(), output)
    if plot is not None:
        check_picture("--plot", plot)
    settings = RunSettings(transfer or TransferSettings())
    request = DownloadRequest(
        str(source), wanted=wanted, source_type=source_type, settings=settings
    )
    with tempfile.TemporaryDirectory(prefix="mlhub-") as directory:
        index = index_source(
            resolved(request.source),
            Path(directory, "index.parquet"),
            limits=limits,
            profile=profile,
            on_progress=on_progress,
        )
        return ask(index.path)


def _is_index(text: str) -> bool:
    """Whether a text is meant as an asset index: a Parquet file, unless that holds STAC items."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from mlhub_core.sources.naming import is_url
    from mlhub_core.sources.stac_rows import missing_columns

    if is_url(text) or Path(text).suffix != _ENDING:
        return False
    try:
        return bool(missing_columns(pq.read_schema(user_path(text)).names))
    except (OSError, pa.ArrowException):
        return not user_path(text).is_dir()


def query_index(
    source: str | Path,
    *,
    output: str | Path | None = None,
    plot: str | Path | None = None,
    **filters: Any,
) -> Found:
    """Ask what of an asset index, or of whatever holds STAC, matches.

    Args:
        source: An asset index, or what :func:`index_source` takes.
        output: Where matching rows go: a ``.parquet`` file, which is an asset index again, or a
            ``.csv`` file.
        plot: Where a map of the matching items goes: an ``.svg`` file, or a ``.png`` file, which
            takes Pillow (``pip install 'mlhub-flows[plot]'``).
        **filters: Those of :meth:`Dataset.download <mlhub_core.datasets.dataset.Dataset.download>`.

    Returns:
        What was found, counted; print it.

    Raises:
        NothingMatches: if nothing does; says how many were left after each filter.
        InvalidArgument: if an argument cannot work.
        MLHubException: all that the source raises.
    """
    from mlhub_core.selection.filters import AssetFilter

    wanted = AssetFilter.create(**filters)
    told = None if output is None else str(output)
    return query_source(source, wanted, output=told, plot=plot)
