"""Between Python, NumPy and Arrow by their buffers.

``pyarrow.array`` and ``to_numpy`` import pandas, where it is installed, to ask whether what they
got is its: a third of a second, which on a complete re-run is a good part of the whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]

_MOST = 2**31 - 1
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


def byte_counts(array: Any) -> NDArray[np.int64]:
    """How many bytes each text of an Arrow array has; none where it has no text."""
    if not len(array):
        return np.empty(0, np.int64)
    ends = np.frombuffer(array.buffers()[1], np.int32)
    counts = np.diff(ends[array.offset : array.offset + len(array) + 1]).astype(np.int64)
    return np.where(valid(array), counts, 0)


def truths(array: Any) -> Mask:
    """The truth values of an Arrow array without nulls."""
    if not len(array):
        return np.zeros(0, bool)
    bits = np.frombuffer(array.buffers()[1], np.uint8)
    unpacked = np.unpackbits(bits, count=array.offset + len(array), bitorder="little")
    return unpacked[array.offset :].astype(bool)


def distinct(numbers: NDArray[Any]) -> NDArray[Any]:
    """The different ones of some numbers, in order.

    ``numpy.unique`` with nothing else asked of it imports ``numpy.ma``, a twentieth of a second.
    """
    ordered = np.sort(numbers, axis=None)
    new = np.ones(len(ordered), bool)
    new[1:] = ordered[1:] != ordered[:-1]
    return ordered[new]


def mask_array(mask: Mask) -> Any:
    """Truth values as an Arrow array."""
    bits = pa.py_buffer(np.packbits(mask, bitorder="little"))
    return pa.Array.from_buffers(pa.bool_(), len(mask), [None, bits])


def number_array(numbers: NDArray[Any]) -> Any:
    """The numbers of a NumPy array as an Arrow array."""
    numbers = np.ascontiguousarray(numbers)
    return pa.Array.from_buffers(
        pa.from_numpy_dtype(numbers.dtype), len(numbers), [None, pa.py_buffer(numbers)]
    )


def numbers_of(listed: Sequence[int | float | None], kind: Any) -> Any:
    """Numbers as an Arrow array of one of the types of this module; None becomes null."""
    absent = None in listed
    filled = [0 if one is None else one for one in listed] if absent else listed
    found = np.array(filled, _TYPES[kind])
    return pa.Array.from_buffers(
        kind, len(found), [_validity(listed) if absent else None, pa.py_buffer(found)]
    )


def truths_of(listed: Sequence[bool]) -> Any:
    """Truth values as an Arrow array."""
    return mask_array(np.fromiter(listed, bool, len(listed)))


def texts_of(listed: Sequence[str | None]) -> Any:
    """Texts as an Arrow array, of less than 2 GiB in all; None becomes null."""
    return _varied([None if one is None else one.encode() for one in listed], pa.string())


def bytes_of(listed: Sequence[bytes | None]) -> Any:
    """Byte strings as an Arrow array, of less than 2 GiB in all; None becomes null."""
    return _varied(listed, pa.binary())


def text_lists_of(listed: Sequence[Sequence[str] | None], kind: Any) -> Any:
    """Lists of texts as an Arrow array of the given list type; None becomes null."""
    absent = None in listed
    flat = texts_of([text for one in listed if one for text in one])
    validity = _validity(listed) if absent else None
    offsets = _offsets([len(one) if one else 0 for one in listed])
    return pa.Array.from_buffers(kind, len(listed), [validity, offsets], children=[flat])


def _varied(listed: Sequence[bytes | None], kind: Any) -> Any:
    absent = None in listed
    offsets = _offsets([len(one) if one else 0 for one in listed] if absent else map(len, listed))  # type: ignore[arg-type]
    data = pa.py_buffer(b"".join(filter(None, listed)))
    return pa.Array.from_buffers(
        kind, len(listed), [_validity(listed) if absent else None, offsets, data]
    )


def _offsets(lengths: Iterable[int]) -> Any:
    ends = np.cumsum([0, *lengths], dtype=np.int64)
    if ends[-1] > _MOST:
        raise ValueError("an Arrow array of more than 2 GiB")
    return pa.py_buffer(ends.astype(np.int32))


def _validity(listed: Sequence[Any]) -> Any:
    there = np.fromiter((one is not None for one in listed), bool, len(listed))
    return pa.py_buffer(np.packbits(there, bitorder="little"))
