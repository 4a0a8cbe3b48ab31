"""Failures are values: one row each, in a segment per partition, merged at the end of a run.

A row leaves ``err_report.csv`` only when a run has tried its asset.
"""

from __future__ import annotations

import csv
import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Protocol, TextIO

from mlhub_core.exceptions import InvalidArgument, StorageError
from mlhub_core.paths import STATE_DIRECTORY
from mlhub_core.redact import redact, redact_url
from mlhub_core.selection.partition import Asset
from mlhub_core.state import open_state

logger = logging.getLogger(__name__)

HEADER = ("error", "dataset", "collection", "item", "asset key", "URL")
"""Columns of ``err_report.csv``."""

ASSET_COLUMNS = slice(2, 5)
"""Those that name an asset: collection, item and key."""
_SEGMENT = ("cause", "detail", "status", "host", *HEADER[1:])
_FORMULA = re.compile("'*[=+@\t\r\n\uff1d\uff0b\uff0d\uff20-]")
"""What spreadsheets compute where a cell begins with it; apostrophes before it are doubled up."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one asset is not there.

    Attributes:
        cause: In words that are the same for all assets with the same trouble.
        detail: What is particular to this one: numbers, libcurl's words.
        status: The HTTP status, None where the failure lies elsewhere.
        host: Host, and port where given; empty where there is none.
    """

    cause: str
    detail: str = ""
    status: int | None = None
    host: str = ""


class HasFailures(Protocol):
    """A partition's result, as far as this module needs it."""

    @property
    def failures_path(self) -> Path | None:
        """The partition's segment, None when nothing failed."""


class FailureWriter:
    """Writes one partition's failures as they happen; the file appears with the first.

    Args:
        path: The segment; one of an earlier run is replaced.
        dataset_id: For the column of that name.
    """

    def __init__(self, path: Path, dataset_id: str) -> None:
        self.path = path
        self.count = 0
        self._dataset_id = dataset_id
        self._file: TextIO | None = None
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise _storage(path, error) from error

    def add(self, asset: Asset, failure: Failure) -> None:
        """Record that an asset failed for good.

        Raises:
            StorageError: if the disk refuses.
        """
        row = (
            failure.cause,
            redact(failure.detail),
            failure.status or "",
            failure.host,
            self._dataset_id,
            asset.collection_id,
            asset.item_id or "",
            asset.asset_key,
            redact_url(asset.href),
        )
        try:
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = open_state(self.path, "w", errors="replace", newline="")
                csv.writer(self._file).writerow(_SEGMENT)
            csv.writer(self._file).writerow(row)
        except OSError as error:
            raise _storage(self.path, error) from error
        self.count += 1

    def flush(self) -> None:
        """Hand what is pending to the operating system.

        Raises:
            StorageError: if the disk refuses.
        """
        if self._file is not None:
            try:
                self._file.flush()
            except OSError as error:
                raise _storage(self.path, error) from error

    def close(self) -> None:
        """Flush and close."""
        if self._file is not None:
            try:
                self._file.close()
            except OSError as error:
                raise _storage(self.path, error) from error
            self._file = None


def merge_failures(
    results: Iterable[HasFailures], err_report: Path, *, kept: Iterable[Iterable[str]] = ()
) -> Counter[tuple[str, str]]:
    """Write ``err_report.csv`` out of the partitions' segments, and remove these.

    When nothing failed and no row is kept, the report is removed: no file means that all is well.

    Args:
        results: The partitions' results.
        err_report: Where the report goes; replaced in one step.
        kept: Rows that come first, with the columns of ``HEADER``. They may be read out of the
            report that is replaced.

    Returns:
        Files per ``(cause, host)``, without those kept.

    Raises:
        StorageError: if the disk refuses.
    """
    segments = [result.failures_path for result in results if result.failures_path is not None]
    return _merge(segments, err_report, kept)


def recover_failures(segments: Path, err_report: Path) -> None:
    """Write what failed in a run that was stopped or killed into ``err_report.csv``.

    Args:
        segments: The directory of the partitions' segments.
        err_report: The report; its rows about other assets stay.

    Raises:
        StorageError: if the disk refuses.
    """
    left = sorted(segments.glob("*.csv"))
    if not left:
        return
    known = {hash(tuple(row[name] for name in HEADER[1:5])) for row in _segment_rows(left)}
    rows = earlier_failures(err_report)
    _merge(left, err_report, (row for row in rows if hash(tuple(row[1:5])) not in known))


def _merge(
    segments: list[Path], err_report: Path, kept: Iterable[Iterable[str]]
) -> Counter[tuple[str, str]]:
    counts: Counter[tuple[str, str]] = Counter()
    # Beside the segments, under .mlhub: nothing of ours lies anywhere else.
    beside = segments[0].parent if segments else err_report.parent / STATE_DIRECTORY
    temporary = beside / (err_report.name + ".tmp")
    try:
        rows = iter(kept)
        first = next(rows, None)
        if not segments and first is None:
            err_report.unlink(missing_ok=True)
            return counts
        beside.mkdir(parents=True, exist_ok=True)
        with open_state(temporary, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(HEADER)
            for row in rows if first is None else chain([first], rows):
                # Earlier versions left more of a URL than is shown today.
                *others, url = row
                writer.writerow(map(_defused, (*others, redact_url(url))))
            for row in _segment_rows(segments):
                cause, detail = row["cause"], row["detail"]
                counts[cause, row["host"]] += 1
                error = f"{cause}: {detail}" if detail else cause
                asset = (row[name] for name in HEADER[1:])
                writer.writerow(map(_defused, (redact(error), *asset)))
        os.replace(temporary, err_report)
        for segment in segments:
            segment.unlink(missing_ok=True)
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise _storage(err_report, error) from error
    return counts


def read_failures(err_report: Path) -> Iterator[list[str]]:
    """Rows of ``err_report.csv`` without its header; none where there is no report.

    Raises:
        InvalidArgument: if it is not a report of ours.
        StorageError: if it cannot be read.
    """
    try:
        with open_state(err_report, encoding="utf-8-sig", errors="replace", newline="") as file:
            rows = csv.reader(file)
            if tuple(next(rows, HEADER)) != HEADER:
                raise InvalidArgument(
                    f"{err_report} does not begin with {','.join(HEADER)}: it is not a report of "
                    "this download. Run the download again, which writes it anew."
                )
            yield from (list(map(_restored, row)) for row in rows if len(row) == len(HEADER))
    except FileNotFoundError:
        return
    except csv.Error as error:
        raise InvalidArgument(
            f"{err_report} is not readable as CSV ({error}): run the download again, which writes "
            "it anew."
        ) from error
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(f"Cannot read {err_report}: {error.strerror or error}.") from error


def earlier_failures(err_report: Path) -> Iterator[list[str]]:
    """Rows of the report of earlier runs; one that cannot be read is put aside, not lost.

    Raises:
        StorageError: if the disk refuses.
    """
    try:
        yield from read_failures(err_report)
    except InvalidArgument as error:
        aside = err_report.parent / STATE_DIRECTORY / f"{err_report.name}.unread"
        logger.warning("%s It is kept as %s.", error, aside)
        try:
            os.replace(err_report, aside)
        except OSError as refused:
            raise _storage(aside, refused) from refused


def _segment_rows(segments: Iterable[Path]) -> Iterator[dict[str, str]]:
    """Rows of segments; the last one of a run that was killed may be half a row, and is left."""
    for segment in segments:
        try:
            with open_state(segment, errors="replace", newline="") as file:
                for row in csv.DictReader(file):
                    if len(row) == len(_SEGMENT) and None not in row.values():
                        yield row
        except csv.Error as error:
            logger.warning("%s is damaged (%s): the rest of it is left out.", segment, error)
        except OSError as error:
            if isinstance(error, StorageError):
                raise
            raise StorageError(f"Cannot read {segment}: {error.strerror or error}.") from error


def _defused(cell: str) -> str:
    """A cell as text for spreadsheets as well, by an apostrophe before what begins a formula."""
    return "'" + cell if _FORMULA.match(cell) else cell


def _restored(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def _storage(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"Cannot write {path}: {error.strerror}. Make room or fix the permissions; the same "
        "command goes on from there."
    )
