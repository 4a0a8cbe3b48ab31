"""``python -m flows.download_dataset`` and ``…sync_dataset``: flows from the command line.

Nothing of Prefect is imported before the arguments are checked and the hub has been asked about
the dataset: a typing error must not wait for an orchestrator.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, NoReturn

from flows.prefect_api import prefect_api
from mlhub_core.cli import configure_logging, demo_hub, reporting_errors
from mlhub_core.cli.argument_values import parameter_fields
from mlhub_core.cli.arguments import (
    OneLineParser,
    add_download_arguments,
    add_prune_argument,
    join_values,
)
from mlhub_core.layout import user_path
from mlhub_core.say import say, show
from mlhub_core.signals import leave

if TYPE_CHECKING:
    from mlhub_core.options import DownloadOptions
    from mlhub_core.request import DownloadRequest

DOWNLOAD, SYNC = "download_dataset", "sync_dataset"
_DESCRIPTIONS = {
    DOWNLOAD: "Download a dataset, or part of it, as a Prefect flow run.",
    SYNC: "Make a download what the catalog says today, as a Prefect flow run.",
}


def build_parser(flow: str = DOWNLOAD) -> argparse.ArgumentParser:
    """The parser of ``python -m flows.download_dataset``, or of ``…sync_dataset``."""
    parser = OneLineParser(prog=f"python -m flows.{flow}", description=_DESCRIPTIONS[flow])
    add_download_arguments(parser)
    if flow == SYNC:
        add_prune_argument(parser)
    where = parser.add_argument_group("where it runs")
    where.add_argument(
        "--runner",
        choices=("threads", "dask"),
        default="threads",
        help="on this machine, or on the workers of a Dask cluster (default: threads)",
    )
    where.add_argument(
        "--dask-address",
        metavar="URL",
        help="the cluster's scheduler; without it, processes of this machine are the cluster",
    )
    return parser


def main(arguments: Sequence[str] | None = None, flow: str = DOWNLOAD) -> int:
    """Run a command.

    Args:
        arguments: Without the program's name; None takes those of the process.
        flow: Which one, by the name of its module.

    Returns:
        The exit status; see :class:`~mlhub_core.exit_status.ExitStatus`.
    """
    words = join_values(sys.argv[1:] if arguments is None else arguments)
    with reporting_errors(flow) as status:
        options = build_parser(flow).parse_args(words)
        fields = parameter_fields(options)
        fields |= {"runner": options.runner, "dask_address": options.dask_address, "demo": False}
        configure_logging(options)
        (_run_sync if flow == SYNC else _run)(options, fields)
    return status()


def run_and_exit(flow: str = DOWNLOAD) -> NoReturn:
    """Run a command as a process of its own."""
    leave(main(flow=flow))


def _run(options: argparse.Namespace, fields: dict[str, object]) -> None:
    parameters = _parameters(fields)
    request = parameters.request()
    request.check()
    with demo_hub() if options.demo else nullcontext():
        _ask_hub(request, parameters)
        if options.dry_run:
            _dry_run(parameters)
            return
        with _prefect(options):
            from flows.download_dataset import download_dataset

            report = download_dataset(parameters)
    show(*report.summary().split("\n"))


def _run_sync(options: argparse.Namespace, fields: dict[str, object]) -> None:
    from dataclasses import replace

    from mlhub_core.sync.question import check_request, known_paths

    parameters = _parameters(fields)
    request = parameters.request()
    check_request(replace(request, dry_run=options.dry_run))
    with demo_hub() if options.demo else nullcontext():
        known = known_paths(request)
        if known is None or not known.index.exists():
            # Where a download is, the flow's one question to the hub must stay the only one.
            _ask_hub(request, parameters)
        with _prefect(options):
            from flows.sync_dataset import sync_dataset

            report = sync_dataset(parameters, prune=options.prune)
    show(*report.summary().split("\n"))


def _parameters(fields: dict[str, object]) -> DownloadOptions:
    from mlhub_core.options import DownloadOptions

    parameters = DownloadOptions.create(**fields)
    parameters.check_public()
    return parameters.model_copy(
        # A flow run started here and one retried elsewhere must mean the same directory.
        update={"output_dir": str(user_path(parameters.output_dir or "."))}
    )


def _ask_hub(request: DownloadRequest, parameters: DownloadOptions) -> None:
    """Ask for the dataset and its collections: what is misspelt is found out here."""
    from mlhub_core.metadata import fetch_metadata
    from mlhub_core.pipeline import check_collections

    info = fetch_metadata(request.dataset, profile=parameters.profile)
    check_collections(request.wanted, info)


@contextmanager
def _prefect(options: argparse.Namespace) -> Iterator[None]:
    """Prefect, with its API, and progress shown, for the length of the block."""
    from mlhub_core.display import showing_progress

    with prefect_api(lambda line: _say(line, options.quiet)):
        from tasks.runtime import new_run

        with (
            new_run() as hooks,
            showing_progress(not options.quiet) as sink,
            hooks.progress.listen(sink),
        ):
            yield


def _dry_run(parameters: DownloadOptions) -> None:
    """Show the plan; a flow run that downloads nothing would only clutter the dashboard."""
    from dataclasses import replace

    from mlhub_core.pipeline import download

    download(
        replace(parameters.request(), dry_run=True),
        profile=parameters.profile,
        on_plan=lambda plan: show(*plan.describe(), *plan.details()),
    )


def _say(line: str, quiet: bool) -> None:
    if not quiet:
        say(line)
