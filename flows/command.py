"""``python -m flows.download_dataset``: the flow from the command line, with progress shown.

Nothing of Prefect is imported before the arguments are checked and the hub has been asked about
the dataset: a typing error must not wait for an orchestrator.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from mlhub_core.arguments import (
    OneLineParser,
    add_download_arguments,
    join_values,
    parameter_fields,
)
from mlhub_core.cli import configure_logging, demo_hub, reporting_errors, terminating
from mlhub_core.exceptions import InvalidArgument

if TYPE_CHECKING:
    from mlhub_core.parameters import DownloadParameters

_PREFECT = {
    "DO_NOT_TRACK": "1",
    # Our lines belong into the run's log. The console shows progress and, at the end, one line;
    # Prefect's own lines and tracebacks would come between.
    "PREFECT_LOGGING_EXTRA_LOGGERS": "mlhub_core",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
}


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
        with terminating():
            _run(options, {**fields, "demo": False})
    return status()


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
        with _prefect_api(quiet=options.quiet):
            from flows.download_dataset import download_dataset
            from tasks.runtime import PROGRESS

            with showing_progress(not options.quiet) as sink, PROGRESS.listen(sink):
                report = download_dataset(parameters)
    print(report.summary())


def _dry_run(parameters: DownloadParameters) -> None:
    """Show the plan; a flow run that downloads nothing would only clutter the dashboard."""
    from dataclasses import replace

    from mlhub_core.pipeline import download

    download(
        replace(parameters.request(), dry_run=True),
        profile=parameters.profile,
        on_plan=lambda plan: print("\n".join(plan.describe())),
    )


@contextmanager
def _prefect_api(*, quiet: bool) -> Iterator[None]:
    for name, value in _PREFECT.items():
        os.environ.setdefault(name, value)
    if os.environ.get("PREFECT_API_URL") or _profile_has_api():
        _say("Starting the flow run …", quiet)
        yield
        return
    from flows.local_server import prefect_server

    _say("Starting a Prefect API server for this run (10 to 60 s) …", quiet)
    with prefect_server() as url:
        os.environ["PREFECT_API_URL"] = url
        try:
            yield
        finally:
            del os.environ["PREFECT_API_URL"]


def _profile_has_api() -> bool:
    """Whether the active Prefect profile names an API server."""
    from prefect.settings import PREFECT_API_URL

    return bool(PREFECT_API_URL.value())


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
