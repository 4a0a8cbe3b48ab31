"""The options of a download, shared by ``mlhub download`` and ``python -m flows…``.

Nothing heavy is imported here: a command must answer ``--help`` and a typing error at once.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import Any, NoReturn

from mlhub_core._version import __version__
from mlhub_core.exceptions import InvalidArgument

DEMO_DATASET = "demo_crops"

_VALUES_WITH_MINUS = ("--bbox", "--datetime", "--where", "--seed")
"""Options whose value may begin with a minus sign, which argparse takes for another option."""


_SECRET = re.compile(r"(?i)--?[a-z_-]*(key|token|secret|password)")
_NO_SECRETS = (
    "a key is never an argument, which the list of processes and the shell's history show: it is "
    "asked for, or read from standard input, where it is stored"
)


class OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are one line, and raised, and hold no keys."""

    def take_no_secret(self) -> None:
        """Refuse further words without repeating them: one may be the key, given by mistake."""
        self.add_argument("secret", nargs="*", action=_RefuseSecret, help=argparse.SUPPRESS)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Read the arguments; of those that are unknown, none that may be a key is repeated."""
        found, unknown = self.parse_known_args(args, namespace)
        if any(_SECRET.match(word) for word in unknown):
            self.error(_NO_SECRETS)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found

    def error(self, message: str) -> NoReturn:
        """Refuse the arguments.

        Raises:
            InvalidArgument: always.
        """
        raise InvalidArgument(f"{message[:1].upper()}{message[1:]} (see {self.prog} --help).")


class _RefuseSecret(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, _: Any, values: Any, *__: Any) -> None:
        if values:
            parser.error(_NO_SECRETS)


LIMITS = {
    "max_members": "the members",
    "max_bytes": "the unpacked bytes",
    "max_json_bytes": "the bytes of one JSON file",
}
"""Settings of :class:`~mlhub_core.settings.ArchiveLimits`, whose defaults hold unless given."""


def add_download_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of a download to a parser."""
    parser.add_argument(
        "dataset",
        nargs="?",
        metavar="ID_OR_DOI",
        help="the dataset; with --demo it may be left out",
    )
    where = parser.add_argument_group("where to")
    where.add_argument("--output-dir", metavar="DIR", help="default: the current directory")
    where.add_argument("--asset-output-dir", metavar="DIR", help="where assets go, if elsewhere")
    where.add_argument(
        "--if-exists",
        choices=("resume", "skip", "overwrite"),
        default="resume",
        help="what to do where a file already lies (default: resume)",
    )
    what = parser.add_argument_group("what")
    what.add_argument("--catalog-only", action="store_true", help="the catalog without assets")
    add_filter_arguments(what)
    what.add_argument("--allow-empty", action="store_true", help="nothing to download is fine")
    add_strict_argument(what)
    how = parser.add_argument_group("how")
    how.add_argument("--profile", metavar="NAME", help="profile with the API key")
    add_transfer_arguments(how)
    add_limit_arguments(how)
    how.add_argument("--no-unarchive", action="store_true", help="leave the catalog in its archive")
    how.add_argument("--no-asset-db", action="store_true", help="leave mlhub_stac_assets.db out")
    how.add_argument(
        "--ignore-space", action="store_true", help="begin though the disk has not the room"
    )
    how.add_argument("--dry-run", action="store_true", help="show and save the plan, fetch nothing")
    how.add_argument("--plan", metavar="FILE", help="run exactly the plan that --dry-run saved")
    how.add_argument("--demo", action="store_true", help="from a demo hub that runs meanwhile")
    add_verbosity_arguments(how)
    parser.add_argument("--version", action="version", version=__version__)


def add_strict_argument(what: argparse._ActionsContainer) -> None:
    """Add what makes a gap in the catalog a failure."""
    what.add_argument(
        "--strict",
        action="store_true",
        help="exit with 1 if the catalog lacks items, collections or assets that it names",
    )


def add_prune_argument(parser: argparse.ArgumentParser) -> None:
    """Add what a sync has beside the options of a download."""
    parser.add_argument(
        "--prune", action="store_true", help="move what the catalog no longer has into the trash"
    )


def add_filter_arguments(what: argparse._ArgumentGroup) -> None:
    """Add the options that say which assets are wanted."""
    what.add_argument(
        "--collection",
        action="append",
        default=[],
        metavar="COLL[=KEY,KEY…]",
        help="only this collection, and only these assets of it; may be repeated",
    )
    what.add_argument(
        "--collection-filter",
        metavar="FILE.json",
        help="the same as a JSON object of lists",
    )
    what.add_argument(
        "--datetime",
        metavar="T|T1/T2",
        help="a moment, day, month or year, or two of them; '..' is an open end",
    )
    what.add_argument("--bbox", metavar="W,S,E,N", help="degrees; W > E crosses the antimeridian")
    what.add_argument(
        "--intersects", metavar="FILE.geojson|-", help="GeoJSON, - for standard input"
    )
    what.add_argument(
        "--intersects-with",
        choices=("bbox", "geometry"),
        default="bbox",
        help="what of an item is tested (default: bbox)",
    )
    what.add_argument(
        "--media-type",
        action="append",
        metavar="TYPE",
        help="only this media type, such as image/tiff or image/*; may be repeated",
    )
    what.add_argument(
        "--role", action="append", metavar="ROLE", help="only with this role; may be repeated"
    )
    what.add_argument(
        "--where",
        metavar="CONDITION",
        help="on the properties of items, CQL2 text, such as 'eo:cloud_cover < 10'",
    )
    what.add_argument("--sample", type=int, metavar="N", help="so many items, chosen at random")
    what.add_argument(
        "--seed", type=int, default=0, metavar="S", help="another one chooses others (default: 0)"
    )
    what.add_argument("--limit", type=int, metavar="N", help="so many items, the first ones")
    what.add_argument(
        "--with-sources",
        action="store_true",
        help="with the imagery that selected labels name as their source",
    )


def add_transfer_arguments(how: argparse._ArgumentGroup) -> None:
    """Add the options that say how files are fetched."""
    how.add_argument(
        "--concurrency",
        type=int,
        default=32,
        metavar="N",
        help="connections per host (default: 32)",
    )
    how.add_argument(
        "--workers", type=int, default=2, metavar="N", help="processes that fetch (default: 2)"
    )
    how.add_argument(
        "--mirror",
        action="append",
        default=[],
        metavar="PREFIX=URL",
        help="fetch asset URLs that begin with PREFIX from URL instead; may be repeated",
    )
    how.add_argument(
        "--ignore-file-size",
        action="store_true",
        help="where the file:size of the catalog is wrong: do not compare it",
    )
    how.add_argument(
        "--ignore-checksum",
        action="store_true",
        help="where the file:checksum of the catalog is wrong: do not compare it",
    )


def add_limit_arguments(how: argparse._ActionsContainer) -> None:
    """Add the caps on what comes out of an archive."""
    for name, subject in LIMITS.items():
        option = "--" + name.replace("_", "-")
        how.add_argument(option, type=int, metavar="N", help=f"cap on {subject} of the archive")


def add_verbosity_arguments(how: argparse._ArgumentGroup) -> None:
    """Add the options that say how much is told."""
    how.add_argument("-q", "--quiet", action="store_true", help="no progress, errors only")
    how.add_argument("-v", "--verbose", action="store_true", help="every request and file")


def join_values(arguments: Sequence[str]) -> list[str]:
    """Write ``--bbox -9,36,31,68`` as ``--bbox=-9,36,31,68``, which argparse understands."""
    joined: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument == "--":
            return [*joined, argument, *rest]
        if argument in _VALUES_WITH_MINUS:
            value = next(rest, None)
            joined.append(argument if value is None else f"{argument}={value}")
        else:
            joined.append(argument)
    return joined
