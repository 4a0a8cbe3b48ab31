"""The ``mlhub`` command.

It imports neither ``flows`` nor ``tasks``: a folder of that name in the current directory must not
become part of it.
"""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from mlhub_core._version import __version__
from mlhub_core.cli.argument_values import parameter_fields
from mlhub_core.cli.arguments import (
    OneLineParser,
    add_download_arguments,
    add_prune_argument,
    join_values,
)
from mlhub_core.cli.downloads import add_existing_commands
from mlhub_core.cli.indexes import add_index_command
from mlhub_core.cli.query import add_query_command
from mlhub_core.exceptions import InvalidArgument, MLHubException
from mlhub_core.exit_status import ExitStatus, exit_status
from mlhub_core.logs import set_verbosity
from mlhub_core.say import say, show, show_json
from mlhub_core.signals import stopping_on_signals
from mlhub_core.streams import have_standard_streams, silence
from mlhub_core.transfer.storage import telling_refusals

_STOPPED = "Stopped. What is finished is kept; the same command goes on there."


def build_parser() -> argparse.ArgumentParser:
    """The parser of the ``mlhub`` command."""
    parser = OneLineParser(
        prog="mlhub", description="Find, download and host geospatial machine-learning datasets."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    datasets = commands.add_parser("datasets", help="find datasets").add_subparsers(
        dest="verb", metavar="VERB", required=True
    )
    listing = datasets.add_parser("list", help="list the datasets of the hub")
    listing.add_argument("--tag", action="append", metavar="TAG", help="exact; all of those given")
    listing.add_argument("--text", action="append", metavar="PHRASE", help="all of those given")
    listing.set_defaults(run=_list_datasets)
    show = datasets.add_parser("show", help="show one dataset")
    show.add_argument("dataset", metavar="ID_OR_DOI")
    show.set_defaults(run=_show_dataset)
    for command in (listing, show):
        command.add_argument("--json", action="store_true", help="as the hub gives it")
        command.add_argument("--profile", metavar="NAME", help="profile with the API key")

    download = commands.add_parser("download", help="download a dataset, or part of it")
    add_download_arguments(download)
    download.set_defaults(run=_download)

    sync = commands.add_parser(
        "sync",
        help="fetch what is new or different in the catalog",
        description="Make a download what the catalog says today. If nothing has changed, that is "
        "one request.",
    )
    add_download_arguments(sync)
    add_prune_argument(sync)
    sync.set_defaults(run=_sync)

    add_index_command(commands)
    add_existing_commands(commands)
    add_query_command(commands)

    configure = commands.add_parser("configure", help="store an API key in a profile")
    configure.add_argument("--profile", default="default", metavar="NAME")
    configure.add_argument("--force", action="store_true", help="replace a key without asking")
    configure.take_no_secret()
    configure.set_defaults(run=_configure)

    serve = commands.add_parser("serve", help="host a hub from a directory")
    serve.add_argument("directory", nargs="?", metavar="DIR")
    serve.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1, this machine only")
    serve.add_argument("--port", type=int, default=8765, help="default: 8765; 0 takes a free one")
    serve.add_argument("--demo", action="store_true", help="write the demo dataset there first")
    serve.add_argument("--write", action="store_true", help="with --demo: write it, and stop")
    serve.set_defaults(run=_serve)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: Without the program's name; None takes those of the process.

    Returns:
        The exit status; see :class:`~mlhub_core.exit_status.ExitStatus`.
    """
    # NumPy's linear algebra, which we do not use, starts threads, and dies where it cannot.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    words = join_values(sys.argv[1:] if arguments is None else arguments)
    with reporting_errors("mlhub") as status:
        options = build_parser().parse_args(words)
        options.run(options)
    return status()


@contextmanager
def reporting_errors(program: str) -> Iterator[Callable[[], int]]:
    """Turn an error into one line on standard error and an exit status.

    Yields:
        A function that gives the exit status once the block is over.
    """
    have_standard_streams()
    status = ExitStatus.OK
    last_line = f"{program}: {_STOPPED}"
    with stopping_on_signals(last_line) as stopped:
        try:
            try:
                with telling_refusals("go on"), suppressing_broken_pipes():
                    yield lambda: int(status)
                show()  # what others printed gets out while somebody can be told that it does not
            except MLHubException as error:
                status = exit_status(error)
                say(f"{program}: {str(error) or _STOPPED}")
            except Exception as error:
                if not stopped():
                    raise
                raise KeyboardInterrupt from error  # what a library made of one
        except KeyboardInterrupt as error:
            status = exit_status(error)
            say(last_line)


@contextmanager
def suppressing_broken_pipes() -> Iterator[None]:
    """End the block, and nothing else, where whoever read our output has gone, as ``head`` does."""
    try:
        yield
    except BrokenPipeError:
        silence(sys.stdout)


def _list_datasets(options: argparse.Namespace) -> None:
    from mlhub_core.client.datasets import list_datasets

    found = list_datasets(tags=options.tag, text=options.text, profile=options.profile)
    if options.json:
        show_json(found)
        return
    width = max((len(str(dataset.get("id"))) for dataset in found), default=0)
    for dataset in found:
        show(f"{dataset.get('id')!s:<{width}}  {dataset.get('title') or ''}")
    if not found:
        say("No dataset matches.")


def _show_dataset(options: argparse.Namespace) -> None:
    from mlhub_core.client.datasets import get_dataset
    from mlhub_core.metadata import fetch_metadata
    from mlhub_core.selection.plan import format_bytes

    if options.json:
        found = get_dataset(options.dataset, profile=options.profile)
        show_json(found)
        return
    info = fetch_metadata(options.dataset, profile=options.profile)
    sizes = (info.stac_catalog_size, info.estimated_dataset_size)
    catalog, data = ("unknown" if size is None else format_bytes(size) for size in sizes)
    rows: list[tuple[str, Any]] = [
        ("id", info.id),
        ("title", info.title),
        ("doi", info.doi),
        ("page", info.registry_url),
        ("catalog", catalog),
        ("data", f"about {data}" if info.estimated_dataset_size is not None else data),
        ("citation", info.citation),
    ]
    for label, value in rows:
        if value:
            show(f"{label:<10} {value}")
    for collection in info.collections:
        show(f"collection {collection.id} ({', '.join(collection.types) or 'no type'})")
        if collection.license:
            show(f"{'':<10} license {collection.license}")


def _download(options: argparse.Namespace) -> None:
    fields = parameter_fields(options)
    # Checked before the demo hub starts, and before anything heavy is imported.
    from dataclasses import replace

    from mlhub_core.display import showing_progress
    from mlhub_core.options import DownloadOptions
    from mlhub_core.pipeline import download
    from mlhub_core.selection.plan import Plan

    configure_logging(options)
    parameters = DownloadOptions.create(**fields)
    request = replace(parameters.request(), dry_run=options.dry_run)

    def show_plan(plan: Plan) -> None:
        if options.dry_run:
            show(*plan.describe(), *plan.details())

    with (
        demo_hub() if options.demo else nullcontext(),
        showing_progress(not options.quiet) as on_progress,
    ):
        report = download(
            request, profile=options.profile, on_progress=on_progress, on_plan=show_plan
        )
    if not options.dry_run:
        show(*report.summary().split("\n"))
        report.raise_for_failures(strict=request.strict)


def _sync(options: argparse.Namespace) -> None:
    fields = parameter_fields(options)
    from dataclasses import replace

    from mlhub_core.display import showing_progress
    from mlhub_core.options import DownloadOptions
    from mlhub_core.sync.run import sync

    configure_logging(options)
    request = replace(DownloadOptions.create(**fields).request(), dry_run=options.dry_run)
    with (
        demo_hub() if options.demo else nullcontext(),
        showing_progress(not options.quiet) as on_progress,
    ):
        report = sync(
            request, prune=options.prune, profile=options.profile, on_progress=on_progress
        )
    show(*report.summary().split("\n"))
    report.raise_for_failures(strict=request.strict)


@contextmanager
def demo_hub() -> Iterator[None]:
    """Serve the demo hub, and point this process at it, for the length of the block."""
    from mlhub_core.hub.server import DemoHub
    from mlhub_core.net.profiles import ANONYMOUS_PROFILE

    names = ("MLHUB_ROOT_URL", "MLHUB_PROFILE")
    before = {name: os.environ.get(name) for name in names}
    with DemoHub() as hub:
        os.environ.update(MLHUB_ROOT_URL=hub.url, MLHUB_PROFILE=ANONYMOUS_PROFILE)
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value


def configure_logging(options: argparse.Namespace) -> None:
    """Set the level of our own lines; those of other libraries stay as they are."""
    set_verbosity(quiet=options.quiet, verbose=options.verbose)


def _configure(options: argparse.Namespace) -> None:
    from mlhub_core.net.profiles import has_api_key, write_api_key

    if has_api_key(options.profile) and not options.force:
        kept = f"The profile {options.profile} has a key, which is kept: --force replaces it."
        if not sys.stdin.isatty():
            raise InvalidArgument(kept)
        answer = asked(input, f"The profile {options.profile} has a key. Replace it? [y/N] ")
        if answer.strip().lower() not in ("y", "yes"):
            raise InvalidArgument(kept)
    path = write_api_key(options.profile, read_secret("API key"))
    show(f"Stored the key of the profile {options.profile} in {path}.")


def read_secret(what: str) -> str:
    """Ask for a secret without showing it, or read a line of standard input.

    Raises:
        InvalidArgument: if what comes is no text.
    """
    try:
        if sys.stdin.isatty():
            return asked(getpass.getpass, f"{what} (not shown): ").strip()
        return sys.stdin.buffer.readline().decode().strip()
    except UnicodeDecodeError:
        # Not `from error`: that holds the secret.
        raise InvalidArgument(f"The {what} is not UTF-8: paste it on one line.") from None


def asked(ask: Callable[[str], str], question: str) -> str:
    """An answer from the terminal; an empty one where it is closed, as by Ctrl-D."""
    try:
        return ask(question)
    except EOFError:
        say("")  # the question's line has no end yet
        return ""


def _serve(options: argparse.Namespace) -> None:
    from mlhub_core.hub.server import serve

    # An option would show the key in the list of processes.
    serve(
        options.directory,
        host=options.host,
        port=options.port,
        api_key=os.environ.get("MLHUB_SERVE_API_KEY") or None,
        demo=options.demo,
        write_only=options.write,
    )
