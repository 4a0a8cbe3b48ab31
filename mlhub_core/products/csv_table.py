"""Writes samples as CSV: a row for each pair, or for each file of the items."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

import orjson

from mlhub_core.exceptions import InvalidArgument, storage_errors
from mlhub_core.paths import DownloadPaths
from mlhub_core.products.samples import LABEL, Sample
from mlhub_core.transfer.failures import defused

STDOUT = "-"
_OF_PAIRS = ("collection", "item", "source_item", "by", "split", "datetime")
_OF_ITEMS = ("collection", "item", "split", "datetime", "start_datetime", "end_datetime")
_OF_FILES = ("path", "asset", "type", "size", "sha256")
_LONGEST_HEADER = 1 << 20


def write_csv(
    samples: Iterable[Sample], paths: DownloadPaths, output: str, sources: list[str] | None
) -> int:
    """Write samples; paths are absolute, geometries WKT in degrees.

    Ids that a spreadsheet would compute get an apostrophe before them, as in ``err_report.csv``.

    Args:
        samples: All samples.
        paths: The download.
        output: A file, or ``-`` for standard output.
        sources: The asset keys of images, for pairs; None for items.

    Returns:
        How many rows.

    Raises:
        StorageError: if the disk refuses.
    """
    if output == STDOUT:
        count = _write(samples, paths, sys.stdout, sources)
        sys.stdout.flush()
        return count
    place = Path(output)
    with storage_errors(f"write {place}"):
        place.parent.mkdir(parents=True, exist_ok=True)
        part = place.with_name(f"{place.name}.{os.getpid()}.part")
        # Whatever else lies there stays, and is not followed if it is a link.
        with part.open("x", encoding="utf-8", newline="") as file:
            try:
                count = _write(samples, paths, file, sources)
                file.flush()
                os.replace(part, place)
            finally:
                part.unlink(missing_ok=True)
    return count


def check_table(place: Path) -> None:
    """Check that a file can be replaced by a table: it is one of ours, empty, or not there.

    Raises:
        InvalidArgument: if it is something else.
        StorageError: if it cannot be read.
    """
    if not os.path.lexists(place):
        return
    with storage_errors(f"read {place}"), place.open("rb") as file:
        head = file.readline(_LONGEST_HEADER).decode("utf-8", "replace").rstrip("\n")
    ends = (f",{','.join((*of, 'geometry'))}" for of in (_OF_PAIRS, _OF_ITEMS))
    if head and not head.endswith(tuple(ends)):
        raise InvalidArgument(f"{place} is no table that an export wrote: name a new file.")


def _write(
    samples: Iterable[Sample], paths: DownloadPaths, file: TextIO, sources: list[str] | None
) -> int:
    rows = csv.writer(file, lineterminator="\n")
    if sources is None:
        rows.writerow([*_OF_FILES, *_OF_ITEMS, "geometry"])
    else:
        rows.writerow(map(defused, [LABEL, *sources, *_OF_PAIRS, "geometry"]))
    count = 0
    for sample in samples:
        found = _files(sample, paths) if sources is None else [_pair(sample, paths, sources)]
        for row in found:
            rows.writerow(defused(cell) if isinstance(cell, str) else cell for cell in row)
            count += 1
    return count


def _files(sample: Sample, paths: DownloadPaths) -> Iterator[list[Any]]:
    about = [*(sample.facts.get(name) for name in _OF_ITEMS), _wkt(sample)]
    for file in sample.files:
        asset, kind = file.about["asset"], file.about.get("type")
        yield [_place(paths, file.path), asset, kind, file.size, file.sha256, *about]


def _pair(sample: Sample, paths: DownloadPaths, sources: list[str]) -> list[Any]:
    label, *images = sample.files
    by_key = {file.about["asset"]: _place(paths, file.path) for file in images}
    about = [*(sample.facts.get(name) for name in _OF_PAIRS), _wkt(sample)]
    return [_place(paths, label.path), *(by_key.get(key) for key in sources), *about]


def _place(paths: DownloadPaths, path: str) -> str:
    return f"{paths.asset_dir}/{path}"


def _wkt(sample: Sample) -> str | None:
    import shapely

    shape = sample.facts.get("geometry")
    if shape is None:
        return None
    text: str = shapely.to_wkt(shapely.from_geojson(orjson.dumps(shape)), rounding_precision=-1)
    return text
