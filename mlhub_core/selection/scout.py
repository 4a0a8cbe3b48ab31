"""Reads what the first filter looks at a row group early, while the one before is looked at.

Arrow reads without the interpreter's lock, so the two go side by side. Row groups that statistics
decide are passed over; one column of two row groups is held at most.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mlhub_core.chores import Pool
from mlhub_core.selection.index_reader import IndexReader
from mlhub_core.selection.rowgroup import RowGroup

if TYPE_CHECKING:
    from mlhub_core.selection.predicates import Predicate

_MOST = 64
"""Row groups that are held back while the next one to be looked into is searched for."""

Judged = tuple[RowGroup, bool | None]
"""A row group, and what a filter says of all its rows by its statistics."""


def judged(index: IndexReader, first: Predicate) -> Iterator[Judged]:
    """The row groups of an index, in order, with the verdicts of the first filter.

    Args:
        index: The index. It is opened again, because threads cannot share one reader.
        first: The filter that is asked first.
    """
    waiting: deque[Judged] = deque()
    pool = Pool(1, "mlhub-scout")
    with IndexReader(index.path) as reader:
        try:
            for group in index.groups():
                verdict = first.verdict(group)
                if verdict is None and (column := first.column(group)) is not None:
                    group.expect(column, pool.submit(reader.read, group.number, [column]))
                    yield from _all_of(waiting)
                elif not waiting or len(waiting) == _MOST:
                    yield from _all_of(waiting)
                    yield group, verdict
                    continue
                waiting.append((group, verdict))
            yield from _all_of(waiting)
        finally:
            pool.shutdown(cancel_futures=True)


def _all_of(waiting: deque[Judged]) -> Iterator[Judged]:
    while waiting:
        yield waiting.popleft()
