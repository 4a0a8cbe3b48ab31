"""The options of a download, shared by ``mlhub download`` and ``python -m flows…``.

Nothing heavy is imported here: a command must answer ``--help`` and a typing error at once.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from mlhub_core._version import __version__
from mlhub_core.exceptions import InvalidArgument
from mlhub_core.settings import ArchiveLimits, RunSettings, TransferSettings

DEMO_DATASET = "demo_crops"

_VALUES_WITH_MINUS = ("--bbox", "--datetime", "--where", "--seed")
"""Options whose value may begin with a minus sign, which argparse takes for another option."""


class OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are one line, and raised."""

    def error(self, message: str) -> NoReturn:
        """Refuse the arguments.

        Raises:
            InvalidArgument: always.
        """
        raise InvalidArgument(f"{message[:1].upper()}{message[1:]} (see {self.prog} --help).")


_LIMITS = {
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


def add_limit_arguments(how: argparse._ActionsContainer) -> None:
    """Add the caps on what comes out of an archive."""
    for name, subject in _LIMITS.items():
        option = "--" + name.replace("_", "-")
        how.add_argument(option, type=int, metavar="N", help=f"cap on {subject} of the archive")


def archive_limits(options: argparse.Namespace) -> ArchiveLimits:
    """The caps that :func:`add_limit_arguments` gives.

    Raises:
        InvalidArgument: if one cannot work.
    """
    given = {name: value for name in _LIMITS if (value := getattr(options, name)) is not None}
    for name, value in given.items():
        if value < 1:
            raise InvalidArgument(f"--{name.replace('_', '-')} {value}: use a number from 1.")
    return ArchiveLimits(**given)


def add_verbosity_arguments(how: argparse._ArgumentGroup) -> None:
    """Add the options that say how much is told."""
    how.add_argument("-q", "--quiet", action="store_true", help="no progress, errors only")
    how.add_argument("-v", "--verbose", action="store_true", help="every request and file")


def run_settings(options: argparse.Namespace) -> RunSettings:
    """The settings that :func:`add_transfer_arguments` gives.

    Raises:
        InvalidArgument: if one cannot work.
    """
    if not 1 <= options.workers <= 64:
        raise InvalidArgument(f"--workers {options.workers}: use a number from 1 to 64.")
    mirrors = tuple(_mirror(text) for text in options.mirror)
    transfer = TransferSettings(concurrency=options.concurrency, mirrors=mirrors)
    return RunSettings(transfer=transfer, workers=options.workers)


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


def parameter_fields(options: argparse.Namespace) -> dict[str, Any]:
    """The fields of :class:`~mlhub_core.parameters.DownloadParameters` that options give.

    Reads the files that they name.

    Raises:
        InvalidArgument: if options contradict each other, or a file cannot be read.
    """
    planned = _planned(options.plan)
    dataset = options.dataset or planned.get("dataset") or (DEMO_DATASET if options.demo else None)
    if dataset is None:
        raise InvalidArgument(
            "No dataset: name one by its id or DOI, or try --demo. `mlhub datasets list` shows "
            "what the hub has."
        )
    where_to = {"output_dir": options.output_dir, "asset_output_dir": options.asset_output_dir}
    if all(place is None for place in where_to.values()):
        where_to = {name: planned.get(name) for name in where_to}
    return {
        "dataset": dataset,
        **where_to,
        "catalog_only": options.catalog_only,
        "if_exists": options.if_exists,
        **filter_fields(options),
        "plan": planned.get("path"),
        "allow_empty": options.allow_empty,
        "profile": options.profile,
        "concurrency": options.concurrency,
        "workers": options.workers,
        "mirrors": dict(_mirror(text) for text in options.mirror),
        "unarchive": not options.no_unarchive,
        "asset_db": not options.no_asset_db,
        "ignore_space": options.ignore_space,
        "demo": options.demo,
        **{name: value for name in _LIMITS if (value := getattr(options, name, None)) is not None},
    }


def filter_fields(options: argparse.Namespace) -> dict[str, Any]:
    """What :func:`add_filter_arguments` gives, by the names of the parameters of a download.

    Raises:
        InvalidArgument: if options contradict each other, or a file cannot be read.
    """
    if options.bbox is not None and options.intersects is not None:
        raise InvalidArgument("--bbox and --intersects exclude each other: give one of them.")
    return {
        "collection_filter": _collection_filter(options),
        "datetime": options.datetime,
        "bbox": _bbox(options.bbox),
        **_intersects(options.intersects),
        "intersects_with": options.intersects_with,
        "media_type": options.media_type,
        "role": options.role,
        "where": options.where,
        "sample": options.sample,
        "seed": options.seed,
        "limit": options.limit,
        "with_sources": options.with_sources,
    }


def _planned(name: str | None) -> dict[str, str | None]:
    """What a saved plan says of the run that it was made for."""
    if name is None:
        return {}
    from mlhub_core.selection.plan import Plan

    path = Path(name).expanduser().absolute()
    plan = Plan.load(path)
    return {
        "path": str(path),
        "dataset": plan.dataset_id,
        "output_dir": plan.output_dir,
        "asset_output_dir": plan.asset_output_dir,
    }


def _bbox(text: str | None) -> list[float] | None:
    from mlhub_core.selection.spatial import parse_bbox

    box = parse_bbox(text)
    return None if box is None else list(box)


def _collection_filter(options: argparse.Namespace) -> dict[str, list[str]] | None:
    if options.collection and options.collection_filter:
        raise InvalidArgument(
            "--collection and --collection-filter exclude each other: give one of them."
        )
    if options.collection_filter:
        from mlhub_core.selection.filters import AssetFilter

        wanted = _json_file(options.collection_filter)
        AssetFilter.create(collection_filter=wanted)  # it says best what is wrong with it
        return wanted
    wanted = {}
    for text in options.collection:
        name, separator, keys = text.partition("=")
        listed = [key.strip() for key in keys.split(",") if key.strip()]
        if not name or (separator and not listed):
            raise InvalidArgument(
                f"--collection {text!r}: write COLLECTION, or COLLECTION=KEY,KEY."
            )
        if name in wanted and not (wanted[name] and listed):
            wanted[name] = []  # every key of it, by one of the two
        else:
            wanted.setdefault(name, []).extend(listed)
    return wanted or None


def _json_file(name: str) -> dict[str, list[str]]:
    option = f"--collection-filter {name}"
    how = 'write an object such as {"my_labels": ["labels"]} into it'
    try:
        content: Any = json.loads(Path(name).expanduser().read_text("utf-8"))
    except OSError as error:
        raise InvalidArgument(
            f"{option} cannot be read ({error.strerror}): name a JSON file."
        ) from error
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"{option} is not JSON ({error}): {how}.") from error
    if not isinstance(content, dict):
        raise InvalidArgument(f"{option} holds a {type(content).__name__}: {how}.")
    return content


def _intersects(name: str | None) -> dict[str, str]:
    """GeoJSON from standard input as text; a file, which may be large, as its path and digest."""
    if name is None:
        return {}
    if name == "-":
        text = sys.stdin.read()
        if not text.strip():
            raise InvalidArgument("--intersects - : standard input is empty; pipe GeoJSON into it.")
        return {"intersects": text.strip()}
    path = Path(name).expanduser().absolute()
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        reason = "there is no such file" if not path.exists() else f"{error.strerror}"
        raise InvalidArgument(
            f"--intersects {name}: {reason}; name one that holds GeoJSON, or - for standard input."
        ) from error
    return {"intersects": str(path), "intersects_sha256": digest}


def _mirror(text: str) -> tuple[str, str]:
    for start in ("=https://", "=http://"):
        prefix, found, rest = text.partition(start)
        if found and prefix:
            return prefix, start[1:] + rest
    raise InvalidArgument(
        f"--mirror {text!r}: write PREFIX=URL, such as "
        "https://old.example/data/=https://new.example/copy/."
    )
