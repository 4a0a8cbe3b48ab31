"""``mlhub verify`` and ``mlhub retry``: commands on a download that is there."""

from __future__ import annotations

import argparse
from typing import Any

from mlhub_core.cli.argument_values import run_settings
from mlhub_core.cli.arguments import add_transfer_arguments, add_verbosity_arguments
from mlhub_core.logs import set_verbosity
from mlhub_core.say import show


def add_existing_commands(commands: Any) -> None:
    """Add both to the subcommands of a parser."""
    verify = commands.add_parser(
        "verify",
        help="check a download against its ledger",
        description="Check offline that every file of a download is there, whole and unchanged, "
        "and that no other lies among them.",
    )
    verify.add_argument("--repair", action="store_true", help="fetch again what is wrong")
    verify.set_defaults(run=_verify)
    retry = commands.add_parser(
        "retry",
        help="fetch what err_report.csv names",
        description="Fetch exactly the files that the last run could not have.",
    )
    retry.set_defaults(run=_retry)
    for command in (verify, retry):
        command.add_argument(
            "directory", metavar="DIR", help="the dataset's directory, such as data/demo_crops"
        )
        how = command.add_argument_group("how to fetch")
        add_transfer_arguments(how)
        add_verbosity_arguments(how)


def _verify(options: argparse.Namespace) -> None:
    settings = run_settings(options)
    set_verbosity(quiet=options.quiet, verbose=options.verbose)
    from mlhub_core.display import showing_progress
    from mlhub_core.repair import verify

    with showing_progress(not options.quiet) as on_progress:
        report = verify(
            options.directory,
            repair=options.repair,
            settings=settings,
            on_progress=on_progress,
        )
    show(*report.summary().split("\n"))
    report.raise_for_findings()


def _retry(options: argparse.Namespace) -> None:
    settings = run_settings(options)
    set_verbosity(quiet=options.quiet, verbose=options.verbose)
    from mlhub_core.display import showing_progress
    from mlhub_core.repair import retry

    with showing_progress(not options.quiet) as on_progress:
        report = retry(options.directory, settings=settings, on_progress=on_progress)
    if not report.files:
        show(f"Nothing to retry: no file of {report.dataset_id} failed.")
        return
    show(*report.summary().split("\n"))
    report.raise_for_failures()
