"""``mlhub query``: what an asset index holds of what one is after, without a hub."""

from __future__ import annotations

import argparse
from typing import Any

from mlhub_core.cli.argument_values import filter_fields
from mlhub_core.cli.arguments import add_filter_arguments, add_verbosity_arguments
from mlhub_core.exceptions import InvalidArgument
from mlhub_core.layout import user_path
from mlhub_core.logs import set_verbosity
from mlhub_core.say import show, show_json


def add_query_command(commands: Any) -> None:
    """Add it to the subcommands of a parser."""
    query = commands.add_parser(
        "query",
        help="ask an asset index what matches",
        description="Count what of an asset index matches, and write the matching rows out. No "
        "hub is asked.",
    )
    query.add_argument("index", metavar="FILE.parquet", help="such as mlhub_stac_assets.parquet")
    add_filter_arguments(query.add_argument_group("what"))
    how = query.add_argument_group("how")
    how.add_argument("--allow-empty", action="store_true", help="that nothing matches is fine")
    how.add_argument(
        "--output",
        metavar="OUT.parquet|OUT.csv|-",
        help="the matching rows: an asset index again, or CSV; - for CSV on standard output",
    )
    how.add_argument("--json", action="store_true", help="the counts as JSON")
    add_verbosity_arguments(how)
    query.set_defaults(run=_query)


def _query(options: argparse.Namespace) -> None:
    if options.json and options.output == "-":
        raise InvalidArgument("--json and --output - both want standard output: give one of them.")
    fields = filter_fields(options)
    set_verbosity(quiet=options.quiet, verbose=options.verbose)
    from mlhub_core.display import showing_progress
    from mlhub_core.selection.export import query_index
    from mlhub_core.selection.filters import AssetFilter
    from mlhub_core.selection.geojson_file import read_geojson

    shape = read_geojson(fields.pop("intersects", None), fields.pop("intersects_sha256", None))
    wanted = AssetFilter.create(**fields, intersects=shape)
    with showing_progress(not options.quiet) as on_progress:
        found = query_index(
            user_path(options.index),
            wanted,
            output=options.output,
            allow_empty=options.allow_empty,
            on_progress=on_progress,
        )
    if options.json:
        show_json(found.to_dict())
    elif options.output != "-":
        show(*found.describe())
