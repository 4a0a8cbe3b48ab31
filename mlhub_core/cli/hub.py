"""``mlhub datasets``, ``configure`` and ``serve``: asking a hub, its key, and host one."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from mlhub_core.cli.arguments import show_help
from mlhub_core.console import echo, show, show_json
from mlhub_core.exceptions import InvalidArgument


def add_datasets_command(commands: Any) -> None:
    """Add ``datasets`` to the subcommands of a parser."""
    parser = commands.add_parser(
        "datasets", help="find datasets", description="Find the datasets of a hub."
    )
    parser.set_defaults(run=lambda _: show_help(parser))
    datasets = parser.add_subparsers(dest="verb", metavar="VERB")
    listing = datasets.add_parser(
        "list", help="list the datasets of the hub", description="List the datasets of the hub."
    )
    listing.add_argument("--tag", action="append", metavar="TAG", help="exact; all of those given")
    listing.add_argument("--text", action="append", metavar="PHRASE", help="all of those given")
    listing.set_defaults(run=_list_datasets)
    one = datasets.add_parser(
        "show", help="show one dataset", description="Show what the hub says of a dataset."
    )
    one.add_argument("dataset", metavar="ID_OR_DOI")
    one.set_defaults(run=_show_dataset)
    for command in (listing, one):
        command.add_argument("--json", action="store_true", help="as the hub gives it")
        command.add_argument("--profile", metavar="NAME", help="profile with the API key")


def add_hub_commands(commands: Any) -> None:
    """Add ``configure`` and ``serve``."""
    configure = commands.add_parser(
        "configure",
        help="store an API key in a profile",
        description="Store an API key in a profile that only you can read. It is asked for and not "
        "shown, or read from standard input.",
    )
    configure.add_argument("--profile", default="default", metavar="NAME")
    configure.add_argument("--force", action="store_true", help="replace a key without asking")
    configure.take_no_secret()
    configure.set_defaults(run=_configure)

    host = commands.add_parser(
        "serve",
        help="host a hub from a directory",
        description="Answer the routes of the MLHub API from a directory. The two lines that "
        "point a client at it are printed.",
    )
    host.add_argument("directory", nargs="?", metavar="DIR")
    host.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1, this machine only")
    host.add_argument("--port", type=int, default=8765, help="default: 8765; 0 takes a free one")
    host.add_argument("--demo", action="store_true", help="write the demo dataset there first")
    host.add_argument("--write", action="store_true", help="with --demo: write it, and stop")
    host.set_defaults(run=_serve)


def _list_datasets(options: argparse.Namespace) -> None:
    from mlhub_core.client.endpoints import list_datasets

    found = list_datasets(tags=options.tag, text=options.text, profile=options.profile)
    if options.json:
        show_json(found)
        return
    width = max((len(str(dataset.get("id"))) for dataset in found), default=0)
    for dataset in found:
        show(f"{dataset.get('id')!s:<{width}}  {dataset.get('title') or ''}")
    if not found:
        echo("No dataset matches.")


def _show_dataset(options: argparse.Namespace) -> None:
    from mlhub_core.client.endpoints import get_dataset
    from mlhub_core.selection.plan import format_bytes
    from mlhub_core.sources.mlhub import fetch_metadata

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


def _configure(options: argparse.Namespace) -> None:
    from mlhub_core.net.profiles import has_api_key, write_api_key

    if has_api_key(options.profile) and not options.force:
        kept = f"The profile {options.profile} has a key, which is kept: --force replaces it."
        if not sys.stdin.isatty():
            raise InvalidArgument(kept)
        answer = _asked(input, f"The profile {options.profile} has a key. Replace it? [y/N] ")
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
            return _asked(getpass.getpass, f"{what} (not shown): ").strip()
        return sys.stdin.buffer.readline().decode().strip()
    except UnicodeDecodeError:
        # Not `from error`: that holds the secret.
        raise InvalidArgument(f"The {what} is not UTF-8: paste it on one line.") from None


def _asked(ask: Callable[[str], str], question: str) -> str:
    """An answer from the terminal; an empty one where it is closed, as by Ctrl-D."""
    try:
        return ask(question)
    except EOFError:
        echo("")  # the question's line has no end yet
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
