"""``mlhub-flows``: the flows as one command, whatever lies in the current directory.

``python -m flows.download_dataset`` finds a folder called ``flows`` there first. A command that pip
has installed does not look there.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from typing import NoReturn

from flows.command import DESCRIPTIONS, DOWNLOAD, SYNC, add_flow_options, run
from mlhub_core._version import __version__
from mlhub_core.cli.arguments import OneLineParser, show_help
from mlhub_core.cli.process import reporting_errors
from mlhub_core.signals import leave

_FLOWS = {"download": DOWNLOAD, "sync": SYNC}


def build_parser() -> argparse.ArgumentParser:
    """The parser of ``mlhub-flows``."""
    parser = OneLineParser(
        prog="mlhub-flows", description="Download and sync datasets as Prefect flow runs."
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.set_defaults(run=lambda _: show_help(parser))
    commands = parser.add_subparsers(metavar="COMMAND")
    for name, flow in _FLOWS.items():
        command = commands.add_parser(
            name,
            help=DESCRIPTIONS[flow][:1].lower() + DESCRIPTIONS[flow][1:].rstrip("."),
            description=DESCRIPTIONS[flow],
            fill=partial(add_flow_options, flow=flow),
        )
        command.set_defaults(run=partial(run, flow=flow))
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: Without the program's name; None takes those of the process.

    Returns:
        The exit status; see :class:`~mlhub_core.cli.process.ExitStatus`.
    """
    with reporting_errors("mlhub-flows") as status:
        given = build_parser().parse_args(arguments)
        given.run(given)
    return status()


def run_and_exit() -> NoReturn:
    """Run the command as a process of its own."""
    leave(main())
