"""Old index against new index: what was added, what changed, what is gone.

Both are cut into buckets by the hash of the asset's name, on disk, and compared a bucket at a time.
Memory: one bucket, and a byte for each row of the two indexes.
"""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mlhub_core.exceptions import StorageError
from mlhub_core.stop import StopFlag
from mlhub_core.sync.fingerprints import PRINT, is_dated, prints_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlhub_core.sync.fingerprints import Prints

SAME, ADDED, CHANGED = 0, 1, 2
"""What can be said of a row of the new index."""

_BUCKET_ROWS = 500_000
_MAX_BUCKETS = 256
"""Files open at a time; more rows make larger buckets."""
_MIX = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Diff:
    """The outcome, by rows.

    Attributes:
        fresh: For each row of the new index :data:`SAME`, :data:`ADDED` or :data:`CHANGED`.
        removed: For each row of the old index whether its asset is gone.
    """

    fresh: NDArray[np.uint8]
    removed: NDArray[np.bool_]

    @property
    def added(self) -> int:
        """Assets that were not there before."""
        return int((self.fresh == ADDED).sum())

    @property
    def changed(self) -> int:
        """Assets that are other ones now."""
        return int((self.fresh == CHANGED).sum())

    @property
    def gone(self) -> int:
        """Assets that are no longer there."""
        return int(self.removed.sum())


def compare(
    old: Path,
    new: Path,
    directory: Path,
    *,
    bucket_rows: int = _BUCKET_ROWS,
    stop: StopFlag | None = None,
) -> Diff:
    """Compare two indexes.

    Args:
        old: The index before.
        new: The index now.
        directory: For the buckets; made, and removed at the end.
        bucket_rows: About how many rows are compared at a time.
        stop: Looked at now and then.

    Raises:
        StorageError: if the disk refuses, or an index cannot be read.
        Interrupted: if ``stop`` is set.
    """
    stop = stop or StopFlag()
    try:
        rows = [pq.read_metadata(path).num_rows for path in (old, new)]
        buckets = max(1, min(_MAX_BUCKETS, -(-max(rows) // bucket_rows)))
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        dated = is_dated(old) and is_dated(new)
        for side, path in enumerate((old, new)):
            with _Buckets(directory, side, buckets) as spread:
                for prints in prints_of(path, dated=dated):
                    stop.check()
                    spread.add(prints)
        diff = Diff(np.zeros(rows[1], np.uint8), np.zeros(rows[0], np.bool_))
        for number in range(buckets):
            stop.check()
            _compare_bucket(_read(directory, 0, number), _read(directory, 1, number), diff)
        return diff
    except (OSError, pa.ArrowException) as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(
            f"Cannot compare {old} with the new index: {error}. Make room if the disk is full; "
            "else run the download again, which makes the index anew."
        ) from error
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _compare_bucket(old: Prints, new: Prints, diff: Diff) -> None:
    """An asset that the catalog lists twice is the same if it was listed so once before."""
    known = np.isin(new["key"], old["key"])
    same = np.isin(_pair(new), _pair(old))
    diff.fresh[new["row"]] = np.where(known, np.where(same, SAME, CHANGED), ADDED)
    diff.removed[old["row"]] = ~np.isin(old["key"], new["key"])


def _pair(prints: Prints) -> NDArray[np.uint64]:
    pair: NDArray[np.uint64] = prints["key"] ^ (prints["state"] * _MIX)
    return pair


def _place(directory: Path, side: int, number: int) -> Path:
    return directory / f"{side}-{number:03d}"


def _read(directory: Path, side: int, number: int) -> Prints:
    return np.fromfile(_place(directory, side, number), dtype=PRINT)


class _Buckets:
    """The files that the rows of one index are spread over."""

    def __init__(self, directory: Path, side: int, count: int) -> None:
        self._count = count
        self._stack = ExitStack()
        self._files = [
            self._stack.enter_context(_place(directory, side, number).open("wb"))
            for number in range(count)
        ]

    def __enter__(self) -> _Buckets:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add(self, prints: Prints) -> None:
        owner = prints["key"] % np.uint64(self._count)
        order = np.argsort(owner, kind="stable")
        ends = np.cumsum(np.bincount(owner.astype(np.int64), minlength=self._count))
        for file, piece in zip(self._files, np.split(prints[order], ends[:-1]), strict=True):
            file.write(piece.tobytes())
