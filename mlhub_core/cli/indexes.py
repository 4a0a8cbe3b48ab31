"""``mlhub index`` and ``mlhub query``: asset indexes, made and asked without any hub."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlhub_core.cli.arguments import add_options, add_verbosity, option_fields
from mlhub_core.cli.process import showing
from mlhub_core.console import show, show_json
from mlhub_core.exceptions import DownloadIncomplete, InvalidArgument, storage_errors
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.paths import STATE_DIRECTORY, DownloadPaths, user_path
from mlhub_core.progress import ProgressSink, ignore
from mlhub_core.settings import ArchiveLimits

if TYPE_CHECKING:
    from mlhub_core.index.build import AssetIndex
    from mlhub_core.runner import Call
    from mlhub_core.sources.base import Catalog


@dataclass(frozen=True, slots=True)
class _IndexPaths(DownloadPaths):
    """Paths where the index has a name of its own, and everything goes beside it.

    Attributes:
        output: The index.
    """

    output: Path

    @property
    def index(self) -> Path:
        """The asset index."""
        return self.output

    @property
    def state_dir(self) -> Path:
        """What the index was made from, and the files while it is made."""
        return self.output.parent / STATE_DIRECTORY / self.output.name


def add_index_command(commands: Any) -> None:
    """Add ``index`` to the subcommands of a parser."""
    index = commands.add_parser(
        "index",
        help="index a catalog archive, without a hub",
        description="Read a catalog archive and write its asset index, a GeoParquet file. The "
        "catalog is unarchived beside the index, unless --no-unarchive says otherwise. An index "
        "that was made from this very archive stays as it is.",
        fill=_add_index_options,
    )
    index.set_defaults(run=_index)


def add_query_command(commands: Any) -> None:
    """Add ``query`` to the subcommands of a parser."""
    query = commands.add_parser(
        "query",
        help="ask an asset index what matches",
        description="Count what of an asset index matches, and write the matching rows out. No "
        "hub is asked.",
        fill=_add_query_options,
    )
    query.set_defaults(run=_query)


def _add_index_options(index: argparse.ArgumentParser) -> None:
    from mlhub_core.options import LimitOptions, WhatOptions, WhereOptions

    index.add_argument("archive", metavar="ARCHIVE", help="such as bigearthnet_v1.tar.gz")
    index.add_argument("--output", required=True, metavar="FILE.parquet", help="the index")
    index.add_argument(
        "--dataset", metavar="ID", help="its id (default: the directory in the archive)"
    )
    add_options(index, WhereOptions, ["unarchive"])
    add_options(index, WhatOptions, ["strict"])
    add_options(index, LimitOptions)
    add_verbosity(index)


def _add_query_options(query: argparse.ArgumentParser) -> None:
    from mlhub_core.options import FilterOptions, WhatOptions

    query.add_argument("index", metavar="FILE.parquet", help="such as mlhub_stac_assets.parquet")
    add_options(query, FilterOptions, without=["intersects_sha256"])
    add_options(query, WhatOptions, ["allow_empty"])
    query.add_argument(
        "--output",
        metavar="OUT.parquet|OUT.csv|-",
        help="the matching rows: an asset index again, or CSV; - for CSV on standard output",
    )
    query.add_argument("--json", action="store_true", help="the counts as JSON")
    add_verbosity(query)


def index_archive(
    archive: str | Path,
    output: str | Path,
    *,
    dataset_id: str | None = None,
    unarchive: bool = True,
    limits: ArchiveLimits | None = None,
    on_progress: ProgressSink = ignore,
) -> AssetIndex:
    """Index an archive; nothing but the two files, and the catalog if wanted, is touched.

    Args:
        archive: The catalog archive, a ``tar.gz``.
        output: Where the index goes.
        dataset_id: The dataset; by default what the directory in the archive is called.
        unarchive: Whether to unarchive the catalog into ``{dataset_id}/`` beside the index.
        limits: Caps; the defaults of :class:`ArchiveLimits` unless given.
        on_progress: Told how far it is.

    Raises:
        InvalidArgument: if there is no such archive.
        CatalogError: if it is damaged, or no catalog.
        StorageError: if the disk refuses.
    """
    from mlhub_core import steps
    from mlhub_core.runner import InProcess
    from mlhub_core.state import check_state_files
    from mlhub_core.workspace import missing_directories, remove_made

    place = user_path(output)
    catalog = _catalog(str(archive), place, dataset_id)
    if place.suffix != ".parquet" or place.is_dir():
        raise InvalidArgument(f"--output {output}: name a file that ends in .parquet.")
    paths = _IndexPaths(place.parent, place.parent, catalog.dataset_id, place)
    check_state_files(place.parent)
    makes = (place, paths.catalog_dir, paths.state_dir, paths.state_dir.parent)
    new = [path for path in makes if not path.exists()]
    made = missing_directories(place.parent)
    limits = limits or ArchiveLimits()
    calls: list[Call] = [(steps.index_assets, (catalog, paths, limits))]
    if unarchive:
        calls.append((steps.unarchive, (catalog, paths, DownloadIfExistsOpts.resume, limits)))
    try:
        with storage_errors(f"write {paths.state_dir}"):
            paths.state_dir.mkdir(parents=True, exist_ok=True)
        index: AssetIndex = InProcess(on_progress=on_progress).side_by_side(*calls)[0]
    except Exception:
        remove_made(new, made)
        raise
    return index


def _catalog(text: str, output: Path, dataset_id: str | None) -> Catalog:
    """The catalog that a path means: of an archive, or of a directory."""
    from mlhub_core.sources import KINDS, open_source, resolved
    from mlhub_core.sources.base import SourceSpec
    from mlhub_core.sources.directory import check_outside, directory_of

    kind = "directory" if KINDS["directory"].is_meant(text.strip()) else "archive"
    catalog = open_source(resolved(SourceSpec(text, kind, dataset_id))).here()
    assert catalog is not None
    if kind == "directory":
        check_outside(directory_of(text), output)
    return catalog


def _index(given: argparse.Namespace) -> None:
    from mlhub_core.options import LimitOptions
    from mlhub_core.sources.members import lacking

    limits = LimitOptions.create(**option_fields(given, LimitOptions)).limits()
    with showing(given) as on_progress:
        index = index_archive(
            given.archive,
            given.output,
            dataset_id=given.dataset,
            unarchive="unarchive" not in given,
            limits=limits,
            on_progress=on_progress,
        )
    state = "unchanged" if index.reused else "written"
    show(f"{index.path}: {index.items:,} items, {index.assets:,} assets, {state}")
    for collection, items, assets in index.collections:
        show(f"collection {collection}: {items:,} items, {assets:,} assets")
    if index.missing:
        show(lacking(index.missing))
        if "strict" in given:
            raise DownloadIncomplete(f"{index.path}: {lacking(index.missing)} (strict).")


def _query(given: argparse.Namespace) -> None:
    if given.json and given.output == "-":
        raise InvalidArgument("--json and --output - both want standard output: give one of them.")
    from mlhub_core.options import FilterOptions
    from mlhub_core.selection.query import query_index

    wanted = FilterOptions.create(**option_fields(given, FilterOptions)).wanted
    with showing(given) as on_progress:
        found = query_index(
            user_path(given.index),
            wanted,
            output=given.output,
            allow_empty="allow_empty" in given,
            on_progress=on_progress,
        )
    if given.json:
        show_json(found.to_dict())
    elif given.output != "-":
        show(*found.describe())
