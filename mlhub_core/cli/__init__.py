"""The ``mlhub`` command.

It imports neither ``flows`` nor ``tasks``: a folder of that name in the current directory must not
become part of it.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from mlhub_core._version import __version__
from mlhub_core.cli.arguments import OneLineParser, show_help
from mlhub_core.cli.bundle import add_bundle_command
from mlhub_core.cli.completion import add_completion_command
from mlhub_core.cli.downloads import add_download_commands, add_existing_commands
from mlhub_core.cli.exports import add_export_command
from mlhub_core.cli.hub import add_datasets_command, add_hub_commands
from mlhub_core.cli.indexes import add_index_command, add_query_command
from mlhub_core.cli.process import reporting_errors


def build_parser() -> argparse.ArgumentParser:
    """The parser of the ``mlhub`` command."""
    parser = OneLineParser(
        prog="mlhub", description="Find, download and host geospatial machine-learning datasets."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    add_datasets_command(commands)
    add_download_commands(commands)
    add_index_command(commands)
    add_existing_commands(commands)
    add_export_command(commands)
    add_query_command(commands)
    add_hub_commands(commands)
    add_bundle_command(commands)
    add_completion_command(commands, parser)
    parser.set_defaults(run=lambda _: show_help(parser))
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: Without the program's name; None takes those of the process.

    Returns:
        The exit status; see :class:`~mlhub_core.cli.process.ExitStatus`.
    """
    # NumPy's linear algebra, which we do not use, starts threads, and dies where it cannot.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with reporting_errors("mlhub") as status:
        options = build_parser().parse_args(arguments)
        options.run(options)
    return status()
