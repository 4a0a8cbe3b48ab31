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
from pathlib import Path

from mlhub_core.exceptions import InvalidArgument, storage_errors
from mlhub_core.paths import STATE_DIRECTORY
from mlhub_core.redact import redact, redact_url
from mlhub_core.selection.partition import Asset
from mlhub_core.state import RowFile, open_state
from mlhub_core.transfer.report import PartitionResult

log = logging.getLogger(__name__)

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


class FailureWriter(RowFile):
    """Writes one partition's failures as they happen.

    Args:
        path: The segment.
        dataset_id: For the column of that name.
    """

    def __init__(self, path: Path, dataset_id: str) -> None:
        super().__init__(path, _SEGMENT, errors="replace")
        self.count = 0
        self._dataset_id = dataset_id

    def add(self, asset: Asset, failure: Failure) -> None:
        """Record that an asset failed for good.

        Raises:
            StorageError: if the disk refuses.
        """
        self.write(
            (
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
        )
        self.count += 1


def merge_failures(
    results: Iterable[PartitionResult], err_report: Path, *, kept: Iterable[Iterable[str]] = ()
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
    with storage_errors(f"write {err_report}"):
        beside.mkdir(parents=True, exist_ok=True)
        written = False
        with open_state(temporary, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(HEADER)
            for *others, url in kept:
                # Earlier versions left more of a URL than is shown today.
                writer.writerow(map(defused, (*others, redact_url(url))))
                written = True
            for row in _segment_rows(segments):
                cause, detail = row["cause"], row["detail"]
                counts[cause, row["host"]] += 1
                error = f"{cause}: {detail}" if detail else cause
                asset = (row[name] for name in HEADER[1:])
                writer.writerow(map(defused, (redact(error), *asset)))
        if written or segments:
            os.replace(temporary, err_report)
        else:
            temporary.unlink()
            err_report.unlink(missing_ok=True)
        for segment in segments:
            segment.unlink(missing_ok=True)
    return counts


def read_failures(err_report: Path) -> Iterator[list[str]]:
    """Rows of ``err_report.csv`` without its header; none where there is no report.

    Raises:
        InvalidArgument: if it is not a report of ours.
        StorageError: if it cannot be read.
    """
    if not err_report.exists():
        return
    try:
        with (
            storage_errors(f"read {err_report}"),
            open_state(err_report, encoding="utf-8-sig", errors="replace", newline="") as file,
        ):
            rows = csv.reader(file)
            if tuple(next(rows, HEADER)) != HEADER:
                raise InvalidArgument(
                    f"{err_report} does not begin with {','.join(HEADER)}: it is not a report of "
                    "this download. Run the download again, which writes it anew."
                )
            yield from (list(map(_restored, row)) for row in rows if len(row) == len(HEADER))
    except csv.Error as error:
        raise InvalidArgument(
            f"{err_report} is not readable as CSV ({error}): run the download again, which writes "
            "it anew."
        ) from error


def earlier_failures(err_report: Path) -> Iterator[list[str]]:
    """Rows of the report of earlier runs; one that cannot be read is put aside, not lost.

    Raises:
        StorageError: if the disk refuses.
    """
    try:
        yield from read_failures(err_report)
    except InvalidArgument as error:
        unread = err_report.parent / STATE_DIRECTORY / f"{err_report.name}.unread"
        log.warning("%s It is kept as %s.", error, unread)
        with storage_errors(f"write {unread}"):
            os.replace(err_report, unread)


def _segment_rows(segments: Iterable[Path]) -> Iterator[dict[str, str]]:
    """Rows of segments; the last one of a run that was killed may be half a row, and is left."""
    for segment in segments:
        try:
            with (
                storage_errors(f"read {segment}"),
                open_state(segment, errors="replace", newline="") as file,
            ):
                for row in csv.DictReader(file):
                    if len(row) == len(_SEGMENT) and None not in row.values():
                        yield row
        except csv.Error as error:
            log.warning("%s is damaged (%s): the rest of it is left out.", segment, error)


def defused(cell: str) -> str:
    """A cell as text for spreadsheets as well, by an apostrophe before what begins a formula."""
    return "'" + cell if _FORMULA.match(cell) else cell


def _restored(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
