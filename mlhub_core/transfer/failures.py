"""Failures are values: one row each, in a segment per partition, merged at the end of a run."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TextIO

from mlhub_core.exceptions import InvalidArgument, StorageError
from mlhub_core.layout import STATE_DIRECTORY
from mlhub_core.redact import redact
from mlhub_core.selection.partition import Asset
from mlhub_core.state import open_state

HEADER = ("error", "dataset", "collection", "item", "asset key", "URL")
"""Columns of ``err_report.csv``."""

_SEGMENT = ("cause", "detail", "status", "host", *HEADER[1:])


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
            redact(asset.href),
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

    When nothing failed, the report of an earlier run is removed: no file means that all is well.

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
            if first is not None:
                writer.writerow(first)
                writer.writerows(rows)
            for segment in segments:
                _copy_rows(segment, writer, counts)
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
        with open_state(err_report, errors="replace", newline="") as file:
            rows = csv.reader(file)
            if tuple(next(rows, HEADER)) != HEADER:
                raise InvalidArgument(
                    f"{err_report} does not begin with {','.join(HEADER)}: it is not a report of "
                    "this download. Run the download again, which writes it anew."
                )
            yield from (row for row in rows if len(row) == len(HEADER))
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


class _Writer(Protocol):
    def writerow(self, row: Iterable[object], /) -> object: ...


def _copy_rows(segment: Path, writer: _Writer, counts: Counter[tuple[str, str]]) -> None:
    with open_state(segment, newline="") as file:
        for row in csv.DictReader(file):
            cause, detail = row["cause"], row["detail"]
            counts[cause, row["host"]] += 1
            error = f"{cause}: {detail}" if detail else cause
            writer.writerow([error, *(row[name] for name in HEADER[1:])])


def _storage(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"Cannot write {path}: {error.strerror}. Make room or fix the permissions; the same "
        "command goes on from there."
    )
