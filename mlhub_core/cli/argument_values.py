"""What the options of a download come to: the files they name are read, and what cannot be is said.

Nothing heavy is imported here before an option needs it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from typing import Any

from mlhub_core.cli.arguments import DEMO_DATASET, LIMITS
from mlhub_core.exceptions import InvalidArgument
from mlhub_core.layout import user_path
from mlhub_core.redact import redact_url
from mlhub_core.settings import ArchiveLimits, RunSettings, TransferSettings


def archive_limits(options: argparse.Namespace) -> ArchiveLimits:
    """The caps that :func:`~mlhub_core.cli.arguments.add_limit_arguments` gives.

    Raises:
        InvalidArgument: if one cannot work.
    """
    given = {name: value for name in LIMITS if (value := getattr(options, name)) is not None}
    for name, value in given.items():
        if value < 1:
            raise InvalidArgument(f"--{name.replace('_', '-')} {value}: use a number from 1.")
    return ArchiveLimits(**given)


def run_settings(options: argparse.Namespace) -> RunSettings:
    """The settings that :func:`~mlhub_core.cli.arguments.add_transfer_arguments` gives.

    Raises:
        InvalidArgument: if one cannot work.
    """
    if not 1 <= options.workers <= 64:
        raise InvalidArgument(f"--workers {options.workers}: use a number from 1 to 64.")
    mirrors = tuple(_mirror(text) for text in options.mirror)
    transfer = TransferSettings(
        concurrency=options.concurrency,
        mirrors=mirrors,
        ignore_file_size=options.ignore_file_size,
        ignore_checksum=options.ignore_checksum,
    )
    return RunSettings(transfer=transfer, workers=options.workers)


def parameter_fields(options: argparse.Namespace) -> dict[str, Any]:
    """The fields of :class:`~mlhub_core.options.DownloadOptions` that options give.

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
        "strict": options.strict,
        "profile": options.profile,
        "concurrency": options.concurrency,
        "workers": options.workers,
        "mirrors": dict(_mirror(text) for text in options.mirror),
        "unarchive": not options.no_unarchive,
        "asset_db": not options.no_asset_db,
        "ignore_space": options.ignore_space,
        "ignore_file_size": options.ignore_file_size,
        "ignore_checksum": options.ignore_checksum,
        "demo": options.demo,
        **{name: value for name in LIMITS if (value := getattr(options, name, None)) is not None},
    }


def filter_fields(options: argparse.Namespace) -> dict[str, Any]:
    """What the options of a filter come to, by the names of the parameters of a download.

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

    path = user_path(name)
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
        content: Any = json.loads(user_path(name).read_text("utf-8-sig"))
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
        text = _piped()
        if not text.strip():
            raise InvalidArgument("--intersects - : standard input is empty; pipe GeoJSON into it.")
        return {"intersects": text.strip()}
    path = user_path(name)
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        reason = "there is no such file" if not path.exists() else f"{error.strerror}"
        raise InvalidArgument(
            f"--intersects {name}: {reason}; name one that holds GeoJSON, or - for standard input."
        ) from error
    return {"intersects": str(path), "intersects_sha256": digest}


def _piped() -> str:
    """Standard input as text, whatever the locale's encoding is."""
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidArgument(
            f"--intersects - : standard input is not UTF-8 ({error.reason}): pipe GeoJSON into it."
        ) from error


def _mirror(text: str) -> tuple[str, str]:
    for start in ("=https://", "=http://"):
        prefix, found, rest = text.partition(start)
        if found and prefix:
            return prefix, start[1:] + rest
    raise InvalidArgument(
        f"--mirror {redact_url(text)!r}: write PREFIX=URL, such as "
        "https://old.example/data/=https://new.example/copy/."
    )
