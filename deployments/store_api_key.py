"""Stores an API key in a Prefect Secret block, encrypted in Prefect's database.

::

    python -m deployments.store_api_key mlhub-api-key

asks for the key without showing it, or reads it from standard input. The parameter
``api_key_block`` of a run then names the block.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence

from mlhub_core.cli.arguments import OneLineParser
from mlhub_core.cli.hub import read_secret
from mlhub_core.cli.process import reporting_errors
from mlhub_core.console import echo, show
from mlhub_core.exceptions import InvalidArgument

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: Without the program's name; None takes those of the process.

    Returns:
        The exit status; see :class:`~mlhub_core.cli.process.ExitStatus`.
    """
    with reporting_errors("store_api_key") as status:
        _store(_parser().parse_args(arguments).block)
    return status()


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="python -m deployments.store_api_key",
        description="Store an API key in a Prefect Secret block, in place of the one it holds.",
    )
    parser.add_argument("block", metavar="BLOCK", help="its name, such as mlhub-api-key")
    parser.take_no_secret()
    return parser


def _store(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidArgument(f"{name!r} cannot name a block: use small letters, digits, dashes.")
    key = read_secret("API key")
    if not key:
        raise InvalidArgument("The API key is empty: paste it on one line.")
    from flows.prefect_api import prefect_api

    with prefect_api(echo):
        from prefect.blocks.system import Secret
        from pydantic import SecretStr

        # Not Secret[str]: to Prefect that is a block of another type.
        Secret(value=SecretStr(key)).save(name, overwrite=True)
    show(f"Stored in the Secret block {name}. Name it as api_key_block in a run's parameters.")


if __name__ == "__main__":
    sys.exit(main())
