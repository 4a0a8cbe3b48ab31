"""``python -m flows.download_dataset``: the flow from the command line, with progress shown.

Nothing of Prefect is imported before the arguments are checked and the hub has been asked about
the dataset: a typing error must not wait for an orchestrator.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from flows.prefect_api import prefect_api
from flows.signals import ignore_signals, stopping_on_signals
from mlhub_core.arguments import (
    OneLineParser,
    add_download_arguments,
    join_values,
    parameter_fields,
)
from mlhub_core.cli import configure_logging, demo_hub, reporting_errors
from mlhub_core.exceptions import InvalidArgument

if TYPE_CHECKING:
    from mlhub_core.parameters import DownloadParameters


def build_parser() -> argparse.ArgumentParser:
    """The parser of ``python -m flows.download_dataset``."""
    parser = OneLineParser(
        prog="python -m flows.download_dataset",
        description="Download a dataset, or part of it, as a Prefect flow run.",
    )
    add_download_arguments(parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: Without the program's name; None takes those of the process.

    Returns:
        The exit status; see :class:`~mlhub_core.exit_status.ExitStatus`.
    """
    words = join_values(sys.argv[1:] if arguments is None else arguments)
    with reporting_errors("download_dataset") as status:
        options = build_parser().parse_args(words)
        fields = parameter_fields(options)
        _check_imports()
        configure_logging(options)
        with stopping_on_signals():
            _run(options, {**fields, "demo": False})
    return status()


def run_and_exit() -> NoReturn:
    """Run the command as a process of its own."""
    status = main()
    ignore_signals()
    raise SystemExit(status)


def _run(options: argparse.Namespace, fields: dict[str, object]) -> None:
    from mlhub_core.display import showing_progress
    from mlhub_core.metadata import fetch_metadata
    from mlhub_core.parameters import DownloadParameters
    from mlhub_core.pipeline import check_collections

    parameters = DownloadParameters.create(**fields)
    parameters = parameters.model_copy(
        # A flow run started here and one retried elsewhere must mean the same directory.
        update={"output_dir": str(Path(parameters.output_dir or ".").expanduser().absolute())}
    )
    request = parameters.request()
    request.check()
    with demo_hub() if options.demo else nullcontext():
        info = fetch_metadata(request.dataset, profile=parameters.profile)
        check_collections(request.wanted, info)
        if options.dry_run:
            _dry_run(parameters)
            return
        with prefect_api(lambda line: _say(line, options.quiet)):
            from flows.download_dataset import download_dataset
            from tasks.runtime import new_run

            with (
                new_run() as hooks,
                showing_progress(not options.quiet) as sink,
                hooks.progress.listen(sink),
            ):
                report = download_dataset(parameters)
    print(report.summary())


def _dry_run(parameters: DownloadParameters) -> None:
    """Show the plan; a flow run that downloads nothing would only clutter the dashboard."""
    from dataclasses import replace

    from mlhub_core.pipeline import download

    download(
        replace(parameters.request(), dry_run=True),
        profile=parameters.profile,
        on_plan=lambda plan: print("\n".join(plan.describe() + plan.details())),
    )


def _say(line: str, quiet: bool) -> None:
    if not quiet:
        print(line, file=sys.stderr, flush=True)


def _check_imports() -> None:
    """Check that ``tasks`` is ours: ``python -m`` looks in the current directory first.

    Raises:
        InvalidArgument: if it is somebody else's.
    """
    import importlib.util

    home = Path(__file__).resolve().parent.parent
    for name in ("tasks", "mlhub_core"):
        found = importlib.util.find_spec(name)
        origin = Path(found.origin).resolve() if found and found.origin else None
        if origin is None or origin.parent.parent != home:
            raise InvalidArgument(
                f"The module {name!r} was found at {origin}, which is not part of mlhub-flows: run "
                "the command from a directory that has no such file or folder."
            )
