"""``mlhub completion``: a script by which a shell completes the command with the Tab key."""

from __future__ import annotations

import argparse
from typing import Any

from mlhub_core.cli.arguments import OneLineParser
from mlhub_core.console import show
from mlhub_core.exceptions import InvalidArgument

_SHELLS = ("bash", "zsh", "tcsh")


def add_completion_command(commands: Any, parser: argparse.ArgumentParser) -> None:
    """Add ``completion`` to the subcommands of a parser.

    Args:
        commands: The subcommands.
        parser: What is completed.
    """
    command = commands.add_parser(
        "completion",
        help="print a script for tab completion",
        description="Print a script by which a shell completes this command with the Tab key. "
        "Where bash and zsh look for it, the examples say; or: source <(mlhub completion bash).",
    )
    command.add_argument("shell", choices=_SHELLS)
    command.set_defaults(run=lambda given: show(*script(parser, given.shell).split("\n")))


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script of a shell.

    It is made of the parsers as they are now, and asks nobody when somebody presses Tab.

    Raises:
        InvalidArgument: if shtab, which writes it, is not there.
    """
    try:
        import shtab
    except ImportError as error:
        raise InvalidArgument(
            "completion needs shtab, which is not installed: pip install shtab."
        ) from error
    _complete_files(parser, shtab.FILE, shtab.DIRECTORY)
    written: str = shtab.complete(parser, shell=shell)
    return written.rstrip()


def _complete_files(parser: argparse.ArgumentParser, file: Any, directory: Any) -> None:
    """Add to all arguments that name a file or a directory that they do."""
    if isinstance(parser, OneLineParser):
        parser.complete()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                _complete_files(below, file, directory)
        elif action.metavar == "DIR":
            action.complete = directory  # type: ignore[attr-defined]
        elif isinstance(action.metavar, str) and _names_file(action.metavar):
            action.complete = file  # type: ignore[attr-defined]


def _names_file(metavar: str) -> bool:
    return metavar in ("SOURCE", "ID_OR_DOI") or "FILE" in metavar or "OUT." in metavar
