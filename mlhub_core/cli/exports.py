"""``mlhub export``: a download in the forms that training code reads."""

from __future__ import annotations

import argparse
from typing import Any

from mlhub_core.cli.arguments import add_verbosity
from mlhub_core.cli.process import begin, showing
from mlhub_core.console import echo, show


def add_export_command(commands: Any) -> None:
    """Add ``export`` to the subcommands of a parser."""
    export = commands.add_parser(
        "export",
        help="write a download in a form that training code reads",
        description="Write what is here in a form that training code reads: WebDataset shards, a "
        "table, or a Croissant description. Nothing is asked over the network. The same command "
        "goes on where it was stopped.",
        fill=_add_export_options,
    )
    export.set_defaults(run=_export)


def _add_export_options(parser: argparse.ArgumentParser) -> None:
    from mlhub_core.products.export import DEFAULT_SIZE, FORMATS

    parser.add_argument(
        "directory", metavar="DIR", help="the dataset's directory, such as data/demo_crops"
    )
    parser.add_argument(
        "--format", choices=FORMATS, default=FORMATS[0], help="(default: %(default)s)"
    )
    parser.add_argument(
        "--output",
        metavar="OUT",
        help="of shards, a directory of its own; of csv, a file, or - for standard output; of "
        "croissant, nothing: croissant.json lies beside the data",
    )
    parser.add_argument(
        "--label",
        metavar="KEY",
        help="the asset key of labels: a sample is a label and its images; without it, an item",
    )
    parser.add_argument(
        "--sources", metavar="KEY,KEY", help="the asset keys of images (default: all images)"
    )
    parser.add_argument("--collection", metavar="COLL", help="only of this collection")
    parser.add_argument("--split", metavar="NAME", help="only of this split, such as train")
    parser.add_argument(
        "--by",
        choices=("link", "item", "place"),
        help="how labels find their images (default: the first way that finds any)",
    )
    parser.add_argument(
        "--within",
        metavar="TIME",
        default="1D",
        help="how far apart they may be in time, by place (default: %(default)s)",
    )
    parser.add_argument(
        "--max-size",
        metavar="SIZE",
        default=DEFAULT_SIZE,
        help="of a shard, unless one sample takes more (default: %(default)s)",
    )
    add_verbosity(parser)


def _export(given: argparse.Namespace) -> None:
    begin(given)
    from mlhub_core.products.local import open_local

    sources = given.sources
    with showing(given) as on_progress:
        found = open_local(given.directory).export(
            given.output,
            format=given.format,
            label=given.label,
            sources=None if sources is None else [key for key in sources.split(",") if key],
            collection=given.collection,
            split=given.split,
            by=given.by,
            within=given.within,
            max_size=given.max_size,
            on_progress=on_progress,
        )
    if not given.quiet and given.output != "-":
        show(*found.describe())
        return
    for line in found.shortcomings():
        echo(line)
