"""Arrow arrays made of buffers, against those that Arrow makes."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlhub_core import buffers

TEXTS = st.lists(st.none() | st.text(max_size=5), max_size=20)
WHOLE = st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), max_size=20)
LISTS = st.lists(st.none() | st.lists(st.text(max_size=3), max_size=3), max_size=20)


def same(made: Any, expected: Any) -> bool:
    made.validate(full=True)
    return bool(made.equals(expected))


@given(TEXTS)
def test_texts(listed: list[str | None]) -> None:
    made = buffers.texts_of(listed)
    assert same(made, pa.array(listed, pa.string()))
    counts = [len((text or "").encode()) for text in listed]
    assert buffers.byte_counts(made).tolist() == counts
    assert buffers.byte_counts(made[1:]).tolist() == counts[1:]
    assert buffers.valid(made).tolist() == [text is not None for text in listed]


@given(st.lists(st.none() | st.binary(max_size=5), max_size=20))
def test_bytes(listed: list[bytes | None]) -> None:
    assert same(buffers.bytes_of(listed), pa.array(listed, pa.binary()))


@given(WHOLE)
def test_whole_numbers(listed: list[int | None]) -> None:
    assert same(buffers.numbers_of(listed, pa.int64()), pa.array(listed, pa.int64()))


@given(st.lists(st.none() | st.floats(allow_nan=False), max_size=20))
def test_floats(listed: list[float | None]) -> None:
    assert same(buffers.numbers_of(listed, pa.float64()), pa.array(listed, pa.float64()))


@given(LISTS)
def test_lists_of_texts(listed: list[list[str] | None]) -> None:
    kind = pa.list_(pa.string())
    assert same(buffers.text_lists_of(listed, kind), pa.array(listed, kind))


@given(st.lists(st.booleans(), max_size=20))
def test_truths(listed: list[bool]) -> None:
    made = buffers.truths_of(listed)
    assert same(made, pa.array(listed, pa.bool_()))
    assert buffers.truths(made).tolist() == listed


@given(st.lists(st.integers(0, 255), max_size=20))
def test_numpy_arrays(listed: list[int]) -> None:
    for kind in (np.int32, np.int64, np.float64):
        numbers = np.array(listed, kind)
        assert same(buffers.number_array(numbers), pa.array(numbers))
        assert buffers.values(buffers.number_array(numbers)).tolist() == listed


def test_a_number_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(OverflowError):
        buffers.numbers_of([2**63], pa.int64())


def test_pandas_is_not_loaded() -> None:
    program = (
        "import sys; from mlhub_core import buffers as b; import pyarrow as pa\n"
        "b.texts_of(['a', None]); b.numbers_of([1, None], pa.int64()); b.truths_of([True])\n"
        "b.text_lists_of([['a'], None], pa.list_(pa.string()))\n"
        "b.values(b.numbers_of([1], pa.int64()))\n"
        "assert 'pandas' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@given(st.lists(st.integers(-5, 5)))
def test_distinct(listed: list[int]) -> None:
    assert buffers.distinct(np.array(listed, np.int64)).tolist() == sorted({*listed})
