"""In which order items go into the index: near ones together, in place and in time.

Place and time are cut into as many steps of equally many items each, and the steps interleaved (a
Z-curve), so that a row group spans a part of all three whatever they are like: a predicate on any
of them leaves most row groups out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from mlhub_core.buffers import valid, values

_STEPS = 1024
_BITS = 10
_WIDE = 180.0
"""Degrees of longitude from which on a box is put with those that have none, at the end: in a row
group of neighbours it would hide that they are neighbours."""

Positions = np.ndarray[tuple[int, int], np.dtype[np.float64]]
Keys = np.ndarray[tuple[int], np.dtype[np.uint64]]


def positions(items: pa.RecordBatch) -> Positions:
    """Longitude, latitude and time of items; NaN where there is none."""
    box = items.column("bbox")
    west, south, east, north = (_floats(part) for part in box.flatten())
    east[east - west >= _WIDE] = np.nan
    moment, start, end = (
        _floats(items.column(name).cast(pa.int64()))
        for name in ("datetime", "start_datetime", "end_datetime")
    )
    start = np.where(np.isnan(start), end, start)
    end = np.where(np.isnan(end), start, end)
    time = np.where(np.isnan(moment), (start + end) / 2, moment)
    return np.stack([(west + east) / 2, (south + north) / 2, time])


def keys(where: Positions) -> Keys:
    """What items are ordered by.

    Args:
        where: Longitude, latitude and time of all of them, a row each.
    """
    found = np.zeros(where.shape[1], dtype=np.uint64)
    for number, axis in enumerate(where):
        found |= _spread(_steps(axis)) << np.uint64(len(where) - 1 - number)
    placeless = np.isnan(where[0]).astype(np.uint64)
    found |= placeless << np.uint64(len(where) * _BITS)
    return found


def _steps(values: Any) -> Keys:
    """Which of the steps each value is on; equal values share theirs."""
    ordered = np.sort(values[~np.isnan(values)])
    if not len(ordered):
        return np.zeros(len(values), dtype=np.uint64)
    at = np.linspace(0, len(ordered) - 1, min(_STEPS, len(ordered)) + 1)[1:-1]
    edges = ordered[at.astype(np.int64)]
    found: Keys = np.searchsorted(edges, values, side="left").astype(np.uint64)
    found %= np.uint64(_STEPS)
    return found


def _spread(steps: Keys) -> Keys:
    """Two free bits behind each bit."""
    table = np.array(
        [sum((step >> bit & 1) << 3 * bit for bit in range(_BITS)) for step in range(_STEPS)],
        dtype=np.uint64,
    )
    spread: Keys = table[steps.astype(np.int64)]
    return spread


def _floats(column: pa.Array) -> Any:
    found = values(column.cast(pa.float64(), safe=False)).copy()
    found[~valid(column)] = np.nan
    return found
