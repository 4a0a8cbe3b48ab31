"""``mlhub index`` and ``mlhub query``: asset indexes, made and asked without any hub."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from mlhub_core.cli.arguments import add_options, add_verbosity, option_fields
from mlhub_core.cli.process import begin, showing
from mlhub_core.console import echo, show, show_json
from mlhub_core.exceptions import DownloadIncomplete, InvalidArgument

if TYPE_CHECKING:
    from mlhub_core.settings import TransferSettings

_OF_SOURCES = ["concurrency", "allow_private_hosts"]
"""Options of a transfer by which a source is read, too."""


def add_index_command(commands: Any) -> None:
    """Add ``index`` to the subcommands of a parser."""
    index = commands.add_parser(
        "index",
        help="index whatever holds STAC",
        description="Read a source and write its asset index, a GeoParquet file. The catalog of an "
        "archive is unarchived beside the index, unless --no-unarchive says otherwise. An index "
        "that was made from the same state of the same source stays as it is.",
        fill=_add_index_options,
    )
    index.set_defaults(run=_index)


def add_query_command(commands: Any) -> None:
    """Add ``query`` to the subcommands of a parser."""
    query = commands.add_parser(
        "query",
        help="ask an asset index, or whatever holds STAC, what matches",
        description="Count what of an asset index matches, and write the matching rows out. Of "
        "any other source an index is made for that, and removed again.",
        fill=_add_query_options,
    )
    query.set_defaults(run=_query)


def _add_index_options(index: argparse.ArgumentParser) -> None:
    from mlhub_core.options import LimitOptions, TransferOptions, WhatOptions, WhereOptions

    index.add_argument("source", metavar="SOURCE", help="what `mlhub download` takes")
    index.add_argument("--output", required=True, metavar="FILE.parquet", help="the index")
    index.add_argument("--dataset", dest="dataset_id", help=argparse.SUPPRESS)  # as it was called
    add_options(index, WhatOptions, ["source_type", "dataset_id", "strict"])
    index.add_argument(
        "--collection",
        dest="collections",
        action="append",
        default=[],
        metavar="COLL",
        help="only this collection of an API, a crawled catalog or a table; may be repeated",
    )
    add_options(index, WhereOptions, ["profile", "unarchive"])
    add_options(index, TransferOptions, _OF_SOURCES)
    add_options(index, LimitOptions)
    add_verbosity(index)


def _add_query_options(query: argparse.ArgumentParser) -> None:
    from mlhub_core.options import FilterOptions, TransferOptions, WhatOptions, WhereOptions

    query.add_argument(
        "source",
        metavar="SOURCE",
        help="an asset index, such as mlhub_stac_assets.parquet, or what `mlhub download` takes",
    )
    add_options(query, FilterOptions, without=["intersects_sha256"])
    add_options(query, WhatOptions, ["source_type", "allow_empty"])
    add_options(query, WhereOptions, ["profile"])
    add_options(query, TransferOptions, _OF_SOURCES)
    query.add_argument(
        "--output",
        metavar="OUT.parquet|OUT.csv|-",
        help="the matching rows: an asset index again, or CSV; - for CSV on standard output",
    )
    query.add_argument(
        "--plot",
        metavar="FILE.svg|FILE.png",
        help="a map of the matching items; as PNG it takes Pillow (mlhub-flows[plot])",
    )
    query.add_argument("--json", action="store_true", help="the counts as JSON")
    add_verbosity(query)


def _index(given: argparse.Namespace) -> None:
    begin(given)
    from mlhub_core.datasets.indexes import index_source
    from mlhub_core.options import LimitOptions
    from mlhub_core.sources import resolved
    from mlhub_core.sources.base import SourceSpec, Wanted
    from mlhub_core.sources.members import lacking

    limits = LimitOptions.create(**option_fields(given, LimitOptions)).limits()
    asked = _transfer(given)
    spec = SourceSpec(
        given.source,
        getattr(given, "source_type", None),
        getattr(given, "dataset_id", None),
        Wanted(tuple(given.collections)),
        allow_private_hosts=asked.allow_private_hosts,
        concurrency=asked.concurrency,
    )
    with showing(given) as on_progress:
        index = index_source(
            resolved(spec),
            given.output,
            collections=given.collections,
            profile=getattr(given, "profile", None),
            unarchive="unarchive" not in given,
            limits=limits,
            on_progress=on_progress,
        )
    state = "unchanged" if index.reused else "written"
    lines = [f"{index.path}: {index.items:,} items, {index.assets:,} assets, {state}"]
    for collection, items, assets in index.collections:
        lines.append(f"collection {collection}: {items:,} items, {assets:,} assets")
    if index.missing:
        lines.append(lacking(index.missing))
    if not given.quiet:
        show(*lines)
    elif index.missing:
        echo(lacking(index.missing))
    if index.missing and "strict" in given:
        raise DownloadIncomplete(f"{index.path}: {lacking(index.missing)} (strict).")


def _transfer(given: argparse.Namespace) -> TransferSettings:
    from mlhub_core.options import TransferOptions

    return TransferOptions.create(**option_fields(given, TransferOptions)).settings().transfer


def _query(given: argparse.Namespace) -> None:
    if given.json and given.output == "-":
        raise InvalidArgument("--json and --output - both want standard output: give one of them.")
    begin(given)
    from mlhub_core.datasets.indexes import query_source
    from mlhub_core.options import FilterOptions
    from mlhub_core.selection.plan import counted

    wanted = FilterOptions.create(**option_fields(given, FilterOptions)).wanted
    with showing(given) as on_progress:
        found = query_source(
            given.source,
            wanted,
            output=given.output,
            plot=given.plot,
            source_type=getattr(given, "source_type", None),
            profile=getattr(given, "profile", None),
            allow_empty="allow_empty" in given,
            transfer=_transfer(given),
            on_progress=on_progress,
        )
    if given.json:
        show_json(found.to_dict())
    elif given.output and given.output != "-":
        if not given.quiet:
            written = f"{counted(found.rows, 'row')} written to {given.output}"
            show(*found.describe(), written)
    elif not given.output:
        show(*found.describe())
