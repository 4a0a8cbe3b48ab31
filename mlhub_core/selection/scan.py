"""The scan: all filters over all row groups, and how many files each of them leaves.

A row group of which the statistics say that nothing matches is not read, except for the filters
before the one that says so: what those would have left belongs into the funnel.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from mlhub_core.buffers import distinct
from mlhub_core.exceptions import NothingMatches
from mlhub_core.progress import Progress, ProgressSink, Stage, ignore
from mlhub_core.selection.filters import AssetFilter
from mlhub_core.selection.index_reader import IndexReader
from mlhub_core.selection.plan import counted
from mlhub_core.selection.predicates import predicates
from mlhub_core.selection.rowgroup import RowGroup
from mlhub_core.selection.scout import Judged, judged
from mlhub_core.stop import StopFlag

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]
    Hashes = NDArray[np.int64]


class Distinct:
    """Counts different things by 64-bit hashes: eight bytes each, whatever their length."""

    def __init__(self) -> None:
        self._parts: list[Hashes] = []

    def add(self, hashes: Hashes) -> None:
        """Take some more."""
        if len(hashes):
            self._parts.append(hashes)

    def count(self) -> int:
        """How many different ones there were."""
        return len(distinct(np.concatenate(self._parts))) if self._parts else 0


class FileCount:
    """Counts different files. Only rows that may share theirs with others are compared."""

    def __init__(self) -> None:
        self._own = 0
        self._shared = Distinct()

    def add_all(self, group: RowGroup) -> None:
        """Take all rows; where the statistics say that none is shared, none is looked at."""
        if group.index.paths_differ and not group.may_be_common:
            self._own += group.rows
        else:
            self.add(group, np.ones(group.rows, bool))

    def add(self, group: RowGroup, mask: Mask) -> None:
        """Take some rows."""
        shared = may_share(group, mask)
        together = int(shared.sum())
        self._own += int(mask.sum()) - together
        if together:
            self._shared.add(distinct(group.path_hashes[shared]))

    def count(self) -> int:
        """How many different files there were."""
        return self._own + self._shared.count()


def may_share(group: RowGroup, mask: Mask) -> Mask:
    """Those of some rows whose file may be that of another row too."""
    return mask & group.is_common if group.index.paths_differ else mask


class Scan:
    """One filter over one index.

    Args:
        index: The index.
        wanted: The filter.
        stop: Stops the scan when set.
        on_progress: Gets rows of the index, as ``Stage.FILTER``.
    """

    def __init__(
        self,
        index: IndexReader,
        wanted: AssetFilter,
        stop: StopFlag,
        on_progress: ProgressSink = ignore,
    ) -> None:
        self._index = index
        self._wanted = wanted
        self._stop = stop
        self._on_progress = on_progress
        self._predicates = predicates(wanted)
        self._all = FileCount()
        self._left = [FileCount() for _ in self._predicates]
        self._narrowed: list[tuple[str, int]] = []
        self._placeless, self._timeless = Distinct(), Distinct()

    def matches(self) -> Iterator[tuple[RowGroup, Mask]]:
        """The rows that match, for each row group that has any."""
        done = 0
        for group, verdict in self._judged():
            self._stop.check()
            mask = self._look(group, verdict)
            if mask is not None:
                yield group, mask
            done += group.rows
            self._on_progress(Progress(Stage.FILTER, done, self._index.rows))
        self._on_progress(Progress(Stage.FILTER, done, self._index.rows, finished=True))

    def _judged(self) -> Iterator[Judged]:
        if self._predicates:
            return judged(self._index, self._predicates[0])
        return ((group, True) for group in self._index.groups())

    def _look(self, group: RowGroup, first: bool | None) -> Mask | None:
        self._all.add_all(group)
        mask: Mask | None = None
        for number, (predicate, left) in enumerate(zip(self._predicates, self._left, strict=True)):
            verdict = predicate.verdict(group) if number else first
            if verdict is False:
                return None
            mask = np.ones(group.rows, bool) if mask is None else mask
            if verdict is None:
                matches, lacking = predicate.mask(group, mask)
                if lacking is not None:
                    self._note_lacking(predicate.name, group, mask & lacking)
                mask = mask & (matches | ~group.is_item if predicate.about_items else matches)
                if not mask.any():
                    return None
            left.add(group, mask)
        return np.ones(group.rows, bool) if mask is None else mask

    def _note_lacking(self, name: str, group: RowGroup, rows: Mask) -> None:
        items = rows & group.is_item if rows.any() else rows
        if items.any():
            counts = self._timeless if "datetime" in name else self._placeless
            counts.add(group.items_among(items).hashes)

    def narrowed(self, name: str, files: int) -> None:
        """Note what a stage after the filters left."""
        self._narrowed.append((name, files))

    def funnel(self) -> tuple[tuple[str, int], ...]:
        """How many different files were left after each stage, the whole dataset first."""
        stages = [
            (predicate.name, left.count())
            for predicate, left in zip(self._predicates, self._left, strict=True)
        ]
        return (("in the dataset", self._all.count()), *stages, *self._narrowed)

    @property
    def without_place(self) -> int:
        """Items that a spatial filter left out because they have no place."""
        return self._placeless.count()

    @property
    def without_time(self) -> int:
        """Items that a temporal filter left out because they have no time."""
        return self._timeless.count()

    def nothing(self) -> NothingMatches:
        """The error for a selection that nothing is left of."""
        funnel = self.funnel()
        left = ", ".join(f"{counted(count, 'file')} {name}" for name, count in funnel)
        if self._wanted.about_items and funnel[-1][1]:
            left += " (none of them an item's)"
        extra = "".join(
            f" {count:,} items have no {what}."
            for count, what in ((self.without_place, "place"), (self.without_time, "time"))
            if count
        )
        extra += "".join(
            predicate.complaint()
            for predicate in self._predicates
            if hasattr(predicate, "complaint")
        )
        way = "Widen the filters." if not self._wanted.is_everything else "The catalog is empty."
        return NothingMatches(f"Nothing to download: {left}.{extra} {way}", funnel=funnel)
