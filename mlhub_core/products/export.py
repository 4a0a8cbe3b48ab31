"""Exports of a download: in the forms that training code reads, made of what is here, offline."""

from __future__ import annotations

import os
import re
import sqlite3
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mlhub_core.exceptions import InvalidArgument, NothingMatches, StorageError
from mlhub_core.paths import PRODUCTS_NAME, DownloadPaths, check_directory_name, user_path
from mlhub_core.products.splits import read_splits
from mlhub_core.progress import Progress, ProgressSink, Stage, ignore
from mlhub_core.selection.filters import suggest
from mlhub_core.state import directory_lock, read_state
from mlhub_core.threads import StopFlag
from mlhub_core.work import Work
from mlhub_core.workspace import missing_directories, remove_made, workspace

if TYPE_CHECKING:
    from mlhub_core.products.samples import Samples
    from mlhub_core.products.shards import Exported


class Opened(Protocol):
    """What is asked of a ``LocalDataset``, which offers this and so cannot be imported here."""

    @property
    def paths(self) -> DownloadPaths: ...  # noqa: D102

    @property
    def keys(self) -> dict[str, list[str]]: ...  # noqa: D102

    def pairs(self, *args: Any, **how: Any) -> Any: ...  # noqa: D102


FORMATS = ("webdataset", "csv", "croissant")
DEFAULT_SIZE = "1GB"

_SAMPLES_NAME = "samples.sqlite"
_SIZE = re.compile(r"(?i)\s*([0-9]+(?:\.[0-9]+)?)\s*(?:([kmgt])(i?)b?|b)?\s*")
_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4}
_LEAST_SIZE = 10_240
"""A tar file is no shorter."""


def parse_size(value: str | int) -> int:
    """A number of bytes: ``500MB``, ``2GiB``, or digits.

    Raises:
        InvalidArgument: for all else, and for less than a tar file takes.
    """
    found = _SIZE.fullmatch(str(value))
    if found is None:
        raise InvalidArgument(f"max_size is {value!r}: write a size such as 500MB or 2GiB.")
    number, unit, binary = found.groups()
    size = int(float(number) * (1024 if binary else 1000) ** _POWERS.get((unit or "").lower(), 0))
    if size < _LEAST_SIZE:
        raise InvalidArgument(f"max_size is {value}: a shard takes {_LEAST_SIZE:,} bytes or more.")
    return size


def export_local(
    dataset: Opened,
    output: str | Path | None,
    *,
    format: str = "webdataset",
    label: str | None = None,
    sources: Sequence[str] | None = None,
    split: str | None = None,
    collection: str | None = None,
    by: str | None = None,
    within: str = "1D",
    max_size: str | int = DEFAULT_SIZE,
    stop: StopFlag | None = None,
    on_progress: ProgressSink = ignore,
) -> Exported:
    """Export a download; arguments are those of ``LocalDataset.export``.

    Raises:
        InvalidArgument: if an argument cannot work, or names what is not here.
        NothingMatches: if there is nothing to export.
        StorageError: if the disk refuses, or a file is not what was downloaded.
        Interrupted: if ``stop`` is set.
    """
    if format not in FORMATS:
        raise InvalidArgument(f"format is {format!r}: use one of {', '.join(FORMATS)}.")
    size = parse_size(max_size)
    options = {
        "label": label,
        "sources": [sources] if isinstance(sources, str) else sources and list(sources),
        "split": split,
        "collection": collection,
        "by": by,
        "within": within if label else None,
        "max_size": size,
    }
    told = {name: value for name, value in options.items() if value is not None}
    stop = stop or StopFlag()
    if format == "croissant":
        return _croissant(dataset, output, told, stop, on_progress)
    place = _place(dataset.paths.asset_dir, output, format)
    if format == "csv":
        return _csv(dataset, place, told, stop)
    from mlhub_core.products.shards import check_output

    check_output(Path(place), dataset.paths.dataset_id, told)
    return _webdataset(dataset, Path(place), told, size, stop, on_progress)


def _place(directory: Path, output: str | Path | None, format: str) -> str:
    """Where an export goes.

    Raises:
        InvalidArgument: if that cannot be, or lies among the files of the dataset.
    """
    if output is None:
        what = "a file, or - for standard output" if format == "csv" else "a directory of its own"
        raise InvalidArgument(f"output (--output) is not given: name {what}.")
    check_directory_name("output", str(output))
    if format == "csv" and str(output) == "-":
        return "-"
    place = Path(os.path.abspath(user_path(output)))
    if format == "csv" and (place.suffix.lower() != ".csv" or place.is_dir()):
        raise InvalidArgument(
            f"output is {output}: name a file that ends in .csv, or - for standard output."
        )
    # Wherever links lead: to the directory of the file, for a link in its place is replaced.
    parent = place.parent.resolve() if format == "csv" else place.resolve()
    for here, there in ((place, directory), (parent, directory.resolve())):
        if not (here.is_relative_to(there) or (format != "csv" and there.is_relative_to(here))):
            continue
        raise InvalidArgument(
            f"output is {place}, among the files of {directory}: name another place."
        )
    if format == "csv":
        from mlhub_core.products.csv_table import check_table

        check_table(place)
    return str(place)


def _croissant(
    dataset: Opened,
    output: str | Path | None,
    options: dict[str, Any],
    stop: StopFlag,
    on_progress: ProgressSink,
) -> Exported:
    """See to it that ``croissant.json``, the local STAC and the table are those of what is here."""
    asked: list[str] = [
        name for name in ("label", "sources", "split", "collection", "by") if name in options
    ]
    if output is not None:
        asked.insert(0, "output")
    if asked:
        raise InvalidArgument(
            f"{asked[0]} is given, but croissant.json is of all that is here, and lies beside it, "
            "for its paths are relative: leave that out."
        )
    from mlhub_core.products import product
    from mlhub_core.products.shards import Exported

    paths, stac = dataset.paths, product("stac")
    mode = stac.last_mode(paths) or "copy"
    stac.check_place(mode, paths)
    with workspace(paths):
        made = stac.write(paths, None, mode, Work(stop=stop, on_progress=on_progress))
    state = read_state(paths.state_dir / PRODUCTS_NAME) or {}
    if made is None or "croissant" not in state:
        raise InvalidArgument(
            f"{paths.asset_dir}: its catalog is not here any more, and the local STAC that is, "
            "is of other files: download the dataset again, which fetches nothing that is here."
        )
    return Exported(paths.asset_dir / str(state["croissant"]), state.get("items", 0), of="item")


def _csv(dataset: Opened, place: str, options: dict[str, Any], stop: StopFlag) -> Exported:
    from mlhub_core.products.csv_table import write_csv
    from mlhub_core.products.samples import Samples
    from mlhub_core.products.shards import Exported

    splits = read_splits(dataset.paths)
    chosen = _Chosen(dataset, options, splits)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="mlhub-") as directory,
            Samples(Path(directory) / _SAMPLES_NAME, dataset.paths, stop) as samples,
        ):
            chosen.fill(samples)
            rows = write_csv(samples, dataset.paths, place, chosen.sources)
            damaged = len(samples.damaged)
    except sqlite3.Error as error:
        raise StorageError(f"Cannot write {place}: {error}.") from error
    return Exported(Path(place), rows, damaged=damaged, of="row")


def _webdataset(
    dataset: Opened,
    place: Path,
    options: dict[str, Any],
    size: int,
    stop: StopFlag,
    on_progress: ProgressSink,
) -> Exported:
    from mlhub_core.products.samples import Samples
    from mlhub_core.products.shards import ExportPaths, write_shards

    paths = dataset.paths
    chosen = _Chosen(dataset, options, read_splits(paths))
    export = ExportPaths.at(place)
    on_progress(Progress(Stage.EXPORT))
    new = [] if place.exists() else [place]
    made = missing_directories(place.parent)
    try:
        with (
            directory_lock(export),
            Samples(export.state_dir / _SAMPLES_NAME, paths, stop) as samples,
        ):
            chosen.fill(samples)
            return write_shards(samples, paths, export, options, size, stop, on_progress)
    except NothingMatches:
        remove_made(new, made)
        raise
    except sqlite3.Error as error:
        raise StorageError(f"Cannot write {place}: {error}.") from error


class _Chosen:
    """What is chosen for an export, found before anything is written.

    Args:
        dataset: The download.
        options: Those of the export.
        splits: What its splits name.

    Attributes:
        sources: The asset keys of images, for pairs; None for items.

    Raises:
        InvalidArgument: naming what is not here.
        NothingMatches: if nothing is chosen.
    """

    def __init__(
        self, dataset: Opened, options: dict[str, Any], splits: dict[str, dict[str, None]]
    ) -> None:
        self._splits = splits
        self._options = options
        split = options.get("split")
        if split is not None and split not in splits:
            raise InvalidArgument(f"split {split!r} is not here{suggest(split, splits)}")
        how: dict[str, Any] = {name: options.get(name) for name in ("collection", "split", "by")}
        self._pairs = self.sources = None
        if options.get("label") is None:
            self._check_items(dataset)
            return
        how["within"] = options["within"]
        self._pairs = dataset.pairs(options["label"], options.get("sources"), **how)
        self.sources = list(self._pairs.attrs["sources"])
        if not len(self._pairs):
            raise NothingMatches(
                f"No file {options['label']!r} is in a pair: download its images too "
                "(--with-sources), or leave --label out for a sample an item."
            )

    def _check_items(self, dataset: Opened) -> None:
        """Check what is asked of items, whose assets need not all be in memory for that."""
        if self._options.get("by") is not None:
            raise InvalidArgument("by is of pairs: give a label too, or leave it out.")
        keys = {name: set(own) for name, own in dataset.keys.items()}
        collection = self._options.get("collection")
        if collection is not None and collection not in keys:
            raise InvalidArgument(
                f"collection {collection!r} is not among what is here{suggest(collection, keys)}"
            )
        here = keys[collection] if collection else set().union(*keys.values())
        for key in self._options.get("sources") or ():
            if key not in here:
                raise InvalidArgument(
                    f"source {key!r} is not among what is here{suggest(key, here)}"
                )

    def fill(self, samples: Samples) -> None:
        """Put what is chosen into a table of samples.

        Raises:
            NothingMatches: if that leaves it empty.
        """
        options, keys = self._options, self._options.get("sources")
        if self._pairs is not None:
            samples.add_pairs(self._pairs, self._splits)
            self._pairs = None
        else:
            samples.add_items(
                self._splits,
                keys=None if keys is None else frozenset(keys),
                collection=options.get("collection"),
                split=options.get("split"),
            )
        if not samples.ready():
            told = ", ".join(
                f"{name} {options[name]!r}"
                for name in ("collection", "split", "sources")
                if name in options
            )
            raise NothingMatches(f"No item has a file of its own here that is of {told or 'it'}.")
