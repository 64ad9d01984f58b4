"""Where a JSON string ends, or its first escape."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csgate._fast import native, pure


def test_the_first_of_either_is_found(fast: Any) -> None:
    assert fast.find_quote(b'order "1"') == 6
    assert fast.find_quote(b'order \\"1"') == 6
    assert fast.find_quote(b'order "1"', 7) == 8
    assert fast.find_quote(b'order "1"', 9) == -1
    assert fast.find_quote(b"") == -1


def test_a_beginning_beside_the_bytes_is_the_nearest_end(fast: Any) -> None:
    assert fast.find_quote(b'"', -5) == 0
    assert fast.find_quote(b'"', 5) == -1


def test_at_every_place_of_every_length(fast: Any) -> None:
    for length in range(1, 200):
        for at in range(0, length, 1 if length < 40 else 7):
            data = bytearray(b"x" * length)
            data[at] = ord("\\")
            assert fast.find_quote(data) == at
            assert fast.find_quote(data, at + 1) == -1


def test_any_kind_of_buffer_but_no_other_object(fast: Any) -> None:
    for data in (bytearray(b'a"'), memoryview(b'a"'), np.frombuffer(b'a"', np.uint8)):
        assert fast.find_quote(data) == 1
    with pytest.raises(BufferError):
        fast.find_quote(memoryview(b'a"a"')[::2])
    with pytest.raises(TypeError):
        fast.find_quote('"')


@given(st.binary(max_size=400), st.integers(-3, 410))
def test_native_equals_pure(data: bytes, begin: int) -> None:
    expected = pure.find_quote(memoryview(data), begin)
    assert pure.find_quote(data, begin) == pure.find_quote(bytearray(data), begin) == expected
    before = native.simd()
    for level in native.simd_levels():
        native.select_simd(level)
        assert native.find_quote(data, begin) == expected
    native.select_simd(before)
