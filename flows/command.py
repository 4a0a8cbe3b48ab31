"""``python -m flows.download_dataset`` and ``…sync_dataset``: flows from the command line.

Nothing of Prefect is imported before the arguments are checked and the hub has been asked about
the dataset: a typing error must not wait for an orchestrator.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, NoReturn

from flows.prefect_api import prefect_api
from mlhub_core.cli.arguments import OneLineParser, add_options
from mlhub_core.cli.downloads import add_download_options, add_sync_options, download_options
from mlhub_core.cli.hub import demo_hub
from mlhub_core.cli.process import reporting_errors
from mlhub_core.cli.results import show_plan, show_report
from mlhub_core.console import echo, set_verbosity
from mlhub_core.paths import user_path
from mlhub_core.signals import leave

if TYPE_CHECKING:
    from mlhub_core.options import DownloadOptions
    from mlhub_core.request import DownloadRequest
    from mlhub_core.selection.plan import Plan

DOWNLOAD, SYNC = "download_dataset", "sync_dataset"
DESCRIPTIONS = {
    DOWNLOAD: "Download a dataset, or part of it, as a Prefect flow run.",
    SYNC: "Make a download what the catalog says today, as a Prefect flow run.",
}


def build_parser(flow: str = DOWNLOAD) -> argparse.ArgumentParser:
    """The parser of ``python -m flows.download_dataset``, or of ``…sync_dataset``."""
    parser = OneLineParser(prog=f"python -m flows.{flow}", description=DESCRIPTIONS[flow])
    add_flow_options(parser, flow)
    return parser


def add_flow_options(parser: argparse.ArgumentParser, flow: str = DOWNLOAD) -> None:
    """Add the options of a flow: those of the command that does the same, and who runs it."""
    from mlhub_core.options import ApprovalOptions, WhereOptions

    (add_sync_options if flow == SYNC else add_download_options)(parser)
    add_options(parser, WhereOptions, ["runner", "dask_address"])
    add_options(parser, ApprovalOptions, ["approve_above"])


def main(arguments: Sequence[str] | None = None, flow: str = DOWNLOAD) -> int:
    """Run a command.

    Args:
        arguments: Without the program's name; None takes those of the process.
        flow: Which one, by the name of its module.

    Returns:
        The exit status; see :class:`~mlhub_core.cli.process.ExitStatus`.
    """
    with reporting_errors(flow) as status:
        run(build_parser(flow).parse_args(arguments), flow)
    return status()


def run(given: argparse.Namespace, flow: str = DOWNLOAD) -> None:
    """Run a flow, by what a command line gives.

    Args:
        given: What the parser has read.
        flow: Which one, by the name of its module.

    Raises:
        MLHubException: all that the flow raises.
    """
    from mlhub_core.sources import resolved

    options = download_options(given, demo=False)
    options.check_public()
    set_verbosity(quiet=given.quiet, verbose=given.verbose)
    # A flow run started here and one retried elsewhere must mean the same places.
    here = {"output_dir": str(user_path(options.output_dir or "."))}
    here["dataset"] = resolved(options.request().source).text
    (_run_sync if flow == SYNC else _run)(given, options.model_copy(update=here))


def run_and_exit(flow: str = DOWNLOAD) -> NoReturn:
    """Run a command as a process of its own."""
    leave(main(flow=flow))


def _run(given: argparse.Namespace, options: DownloadOptions) -> None:
    request = options.request()
    request.check()
    with demo_hub() if "demo" in given else nullcontext():
        _ask_hub(request, options)
        if options.dry_run:
            _dry_run(given, request, options)
            return
        with _prefect(given):
            from flows.download_dataset import download_dataset

            report = download_dataset(options)
    show_report(given, report)


def _run_sync(given: argparse.Namespace, options: DownloadOptions) -> None:
    from mlhub_core.sources import open_source
    from mlhub_core.sync.current import check_request, known_paths

    request = options.request()
    check_request(request)
    with demo_hub() if "demo" in given else nullcontext():
        known = known_paths(request, open_source(request.source))
        if known is None or not known.index.exists():
            # Where a download is, the flow's one question to the hub must stay the only one.
            _ask_hub(request, options)
        with _prefect(given):
            from flows.sync_dataset import sync_dataset

            report = sync_dataset(options, prune=given.prune)
    show_report(given, report)


def _ask_hub(request: DownloadRequest, options: DownloadOptions) -> None:
    """Ask for the dataset and its collections: what is misspelt is found out here."""
    from mlhub_core.pipeline import check_collections
    from mlhub_core.sources import open_source

    info = open_source(request.source, profile=options.profile).describe()
    check_collections(request.wanted, info)


@contextmanager
def _prefect(given: argparse.Namespace) -> Iterator[None]:
    """Prefect, with its API, and progress shown, for the length of the block."""
    from mlhub_core.display import showing_progress

    needs_ui = "--approve-above" if "approve_above" in given else ""
    with prefect_api(lambda line: _echo(line, given.quiet), needs_ui=needs_ui):
        from prefect import tags

        from tasks.runtime import new_run

        with (
            tags("ad-hoc"),  # by which the dashboard tells it from those of deployments
            new_run() as hooks,
            showing_progress(not given.quiet) as sink,
            hooks.progress.listen(sink),
        ):
            yield


def _dry_run(given: argparse.Namespace, request: DownloadRequest, options: DownloadOptions) -> None:
    """Show the plan; a flow run that downloads nothing would only clutter the dashboard."""
    from mlhub_core.pipeline import download
    from mlhub_core.runner import InProcess

    plans: list[Plan] = []
    download(request, InProcess(profile=options.profile), on_plan=plans.append)
    for plan in plans:
        show_plan(given, plan)


def _echo(line: str, quiet: bool) -> None:
    if not quiet:
        echo(line)
