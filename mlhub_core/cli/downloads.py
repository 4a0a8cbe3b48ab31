"""``mlhub download``, ``sync``, ``verify`` and ``retry``: a download made, and looked after."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from mlhub_core._version import __version__
from mlhub_core.cli.arguments import add_json, add_options, add_verbosity, option_fields
from mlhub_core.cli.process import begin, showing
from mlhub_core.cli.results import show_plan, show_report
from mlhub_core.console import show
from mlhub_core.exceptions import InvalidArgument
from mlhub_core.paths import user_path
from mlhub_core.run_log import logging_run

if TYPE_CHECKING:
    from mlhub_core.options import DownloadOptions
    from mlhub_core.runner import InProcess
    from mlhub_core.settings import RunSettings

DEMO_DATASET = "demo_crops"

_OF_FORMS = ("intersects_sha256", "api_key_block", "runner", "dask_address", "approve_above")
"""Options that people do not type, or only for a flow."""


_OF_DOWNLOADS = ("catalog_only", "dry_run", "plan")
"""Options that a sync cannot have."""


def add_download_commands(commands: Any) -> None:
    """Add those that make a download to the subcommands of a parser."""
    download = commands.add_parser(
        "download",
        help="download a dataset, or part of it",
        description="Download a dataset, or the part of it that matches: every file verified, and "
        "continued where it was left. What is here already is not asked for again.",
        fill=add_download_options,
    )
    download.set_defaults(run=_download)
    sync = commands.add_parser(
        "sync",
        help="fetch what is new or different in the catalog",
        description="Make a download what the catalog says today: fetch what is new or different, "
        "and nothing else. If nothing has changed, that is one request of a hub.",
        fill=add_sync_options,
    )
    sync.set_defaults(run=_sync)


def add_existing_commands(commands: Any) -> None:
    """Add those on a download that is there."""
    verify = commands.add_parser(
        "verify",
        help="check a download against its ledger",
        description="Check offline that every file of a download is there, whole and unchanged, "
        "and that no other lies among them.",
        fill=_add_existing_options,
    )
    verify.add_argument("--repair", action="store_true", help="fetch again what is wrong")
    verify.set_defaults(run=_verify)
    retry = commands.add_parser(
        "retry",
        help="fetch what err_report.csv names",
        description="Fetch exactly the files that the last run could not have.",
        fill=_add_existing_options,
    )
    retry.set_defaults(run=_retry)
    stac = commands.add_parser(
        "stac",
        help="write the local STAC of a download",
        description="Write a STAC catalog of the files that are here, with links to them. Nothing "
        "is asked over the network.",
        fill=_add_stac_options,
    )
    stac.set_defaults(run=_stac)


def add_download_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a download."""
    from mlhub_core.options import DownloadOptions

    for group in reversed(DownloadOptions.__bases__):
        add_options(parser, group, without=_OF_FORMS)
    add_json(parser, "what the run came to, or the plan of a dry run,")
    add_verbosity(parser)
    parser.add_argument("--version", action="version", version=__version__)


def add_sync_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a sync: those of a download, without what only a download does."""
    add_download_options(parser)
    for action in parser._actions:
        if action.dest in _OF_DOWNLOADS:
            action.help = argparse.SUPPRESS  # refused with what to do instead
        elif action.dest == "if_exists":
            action.metavar = "{resume,skip}"
        elif action.dest == "json":
            action.help = "what the run came to as JSON, on standard output and nothing else"
    parser.add_argument(
        "--prune", action="store_true", help="move what the catalog no longer has into the trash"
    )


def _add_existing_options(parser: argparse.ArgumentParser) -> None:
    from mlhub_core.options import TransferOptions

    parser.add_argument(
        "directory", metavar="DIR", help="the dataset's directory, such as data/demo_crops"
    )
    add_options(parser, TransferOptions)
    add_json(parser, "what was found or fetched")
    add_verbosity(parser)


def _add_stac_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "directory", metavar="DIR", help="the dataset's directory, such as data/demo_crops"
    )
    parser.add_argument(
        "--stac",
        choices=("copy", "inplace"),
        help="into stac/, or beside the files (default: as the last time, else copy)",
    )
    add_verbosity(parser)


def download_options(given: argparse.Namespace, **more: Any) -> DownloadOptions:
    """The options of a download that a command line gives.

    A saved plan says for which dataset it was made, and for which directories.

    Args:
        given: What the parser has read.
        **more: Options that stand above those.

    Raises:
        InvalidArgument: if they cannot work, or a file that they name cannot be read.
    """
    from mlhub_core.options import DownloadOptions

    fields = option_fields(given, DownloadOptions)
    if "plan" in fields:
        fields = _by_plan(fields)
    if not fields.get("dataset") and fields.get("demo"):
        fields["dataset"] = DEMO_DATASET
    if not fields.get("dataset"):
        raise InvalidArgument(
            "No dataset: name one by its id or DOI, or try --demo. `mlhub datasets list` shows "
            "what the hub has."
        )
    return DownloadOptions.create(**{**fields, **more})


def _by_plan(fields: dict[str, Any]) -> dict[str, Any]:
    from mlhub_core.selection.plan import Plan

    path = user_path(fields["plan"])
    plan = Plan.load(path)
    places = {"output_dir": plan.output_dir, "asset_output_dir": plan.asset_output_dir}
    if places.keys() & fields.keys():
        places = {}
    dataset = fields.get("dataset") or plan.dataset_id
    return {**places, **fields, "dataset": dataset, "plan": str(path)}


def _download(given: argparse.Namespace) -> None:
    # Checked before the demo hub starts, and before anything heavy is imported.
    options = download_options(given)
    begin(given)
    from mlhub_core.pipeline import download
    from mlhub_core.selection.plan import Plan

    plans: list[Plan] = []
    with _running(given, options) as runner:
        report = download(options.request(), runner, on_plan=plans.append)
    if options.dry_run and plans:
        # Now, not when it is made: nothing of the progress comes after its path, or breaks it.
        show_plan(given, plans[0])
        return
    show_report(given, report)
    report.raise_for_failures(strict=options.strict)


def _sync(given: argparse.Namespace) -> None:
    options = download_options(given)
    begin(given)
    from mlhub_core.pipeline import sync

    with _running(given, options) as runner:
        report = sync(options.request(), runner, prune=given.prune)
    show_report(given, report)
    report.raise_for_failures(strict=options.strict)


@contextmanager
def _running(
    given: argparse.Namespace, options: DownloadOptions | None = None
) -> Iterator[InProcess]:
    """What runs the steps of a command, its progress shown; with the demo hub if it is wanted."""
    from mlhub_core.cli.hub import demo_hub
    from mlhub_core.runner import InProcess
    from mlhub_core.workspace import existing_download

    demo, profile = (options.demo, options.profile) if options else (False, None)
    with (
        demo_hub() if demo else nullcontext(),
        showing(given) as on_progress,
        logging_run(sys.argv) as log,
    ):

        class Logged(InProcess):
            """Begins the run's log once it is known where the run works."""

            def showing(self, dataset_id: str) -> AbstractContextManager[None]:
                if options is not None:
                    log.open(options.request().paths(dataset_id).state_dir)
                return super().showing(dataset_id)

        if options is None:
            log.open(existing_download(given.directory).state_dir)
        yield Logged(profile=profile, on_progress=on_progress)


def _settings(given: argparse.Namespace) -> RunSettings:
    from mlhub_core.options import TransferOptions

    return TransferOptions.create(**option_fields(given, TransferOptions)).settings()


def _verify(given: argparse.Namespace) -> None:
    settings = _settings(given)
    begin(given)
    from mlhub_core.repair import verify

    with _running(given) as runner:
        report = verify(given.directory, runner, repair=given.repair, settings=settings)
    show_report(given, report)
    report.raise_for_findings()


def _retry(given: argparse.Namespace) -> None:
    settings = _settings(given)
    begin(given)
    from mlhub_core.repair import retry

    with _running(given) as runner:
        report = retry(given.directory, runner, settings=settings)
    if not report.files and not given.json:
        if not given.quiet:
            show(f"Nothing to retry: no file of {report.dataset_id} failed.")
        return
    show_report(given, report)
    report.raise_for_failures()


def _stac(given: argparse.Namespace) -> None:
    begin(given)
    from mlhub_core.repair import write_product

    with _running(given) as runner:
        made = write_product(given.directory, "stac", runner, mode=given.stac)
    if not given.quiet:
        show(f"{made.path}: {made.contents}, {'unchanged' if made.reused else 'written'}")
