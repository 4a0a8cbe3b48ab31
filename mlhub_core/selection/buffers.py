"""Between Arrow and NumPy by their buffers.

``pyarrow.array`` and ``to_numpy`` import pandas, where it is installed, to ask whether what they
got is its: a third of a second, which on a complete re-run is a good part of the whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]

_TYPES: dict[Any, Any] = {
    pa.int8(): np.int8,
    pa.int16(): np.int16,
    pa.int32(): np.int32,
    pa.int64(): np.int64,
    pa.float64(): np.float64,
}


def values(array: Any) -> NDArray[Any]:
    """The numbers of an Arrow array; where it has none, anything may stand."""
    if not len(array):
        return np.empty(0, _TYPES[array.type])
    found = np.frombuffer(array.buffers()[1], _TYPES[array.type])
    return found[array.offset : array.offset + len(array)]


def valid(array: Any) -> Mask:
    """Which rows of an Arrow array have a value."""
    if not array.null_count:
        return np.ones(len(array), bool)
    return truths(array.is_valid())


def truths(array: Any) -> Mask:
    """The truth values of an Arrow array without nulls."""
    if not len(array):
        return np.zeros(0, bool)
    bits = np.frombuffer(array.buffers()[1], np.uint8)
    unpacked = np.unpackbits(bits, count=array.offset + len(array), bitorder="little")
    return unpacked[array.offset :].astype(bool)


def mask_array(mask: Mask) -> Any:
    """Truth values as an Arrow array."""
    bits = pa.py_buffer(np.packbits(mask, bitorder="little"))
    return pa.Array.from_buffers(pa.bool_(), len(mask), [None, bits])


def number_array(numbers: NDArray[np.int64]) -> Any:
    """Whole numbers as an Arrow array."""
    buffer = pa.py_buffer(np.ascontiguousarray(numbers, np.int64))
    return pa.Array.from_buffers(pa.int64(), len(numbers), [None, buffer])
