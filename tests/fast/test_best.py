"""The best columns of each row."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from csgate._fast import native, pure_best

FLOATS = st.floats(width=32, allow_nan=True, allow_infinity=True)


def test_the_highest_come_first_and_of_equal_ones_the_first(fast: Any) -> None:
    rows = np.array([[0.1, 0.7, 0.3, 0.7], [-1, -2, 5, 0]], np.float32)
    assert fast.top_k(rows, 2) == [
        ((1, pytest.approx(0.7)), (3, pytest.approx(0.7))),
        ((2, 5.0), (3, 0.0)),
    ]


def test_there_are_no_more_than_columns_and_no_rows_give_nothing(fast: Any) -> None:
    assert fast.top_k(np.array([[1, 2]], np.float32), 1000) == [((1, 2.0), (0, 1.0))]
    assert fast.top_k(np.empty((0, 5), np.float32), 3) == []
    assert fast.top_k(np.empty((2, 0), np.float32), 3) == [(), ()]


def test_what_is_not_a_number_is_none_of_the_best(fast: Any) -> None:
    rows = np.array([[np.nan, 0.2, np.nan, 0.4], [np.nan] * 4], np.float32)
    assert [[column for column, _ in row] for row in fast.top_k(rows, 3)] == [[3, 1], []]


@pytest.mark.parametrize("k", [0, -1, 1001])
def test_a_count_out_of_bounds_is_refused(fast: Any, k: int) -> None:
    with pytest.raises(ValueError, match="1 to 1000"):
        fast.top_k(np.zeros((1, 3), np.float32), k)


@pytest.mark.parametrize(
    "rows",
    [np.zeros((2, 3)), np.zeros(3, np.float32), np.zeros((3, 4), np.float32).T],
    ids=["float64", "1-d", "Fortran"],
)
def test_another_array_is_refused(fast: Any, rows: Any) -> None:
    with pytest.raises(ValueError):
        fast.top_k(rows, 1)


@given(
    rows=arrays.arrays(np.float32, arrays.array_shapes(min_dims=2, max_dims=2, max_side=40), elements=FLOATS),
    k=st.integers(1, 64),
)
def test_native_equals_pure(rows: Any, k: int) -> None:
    assert native.top_k(rows, k) == pure_best.top_k(rows, k)
