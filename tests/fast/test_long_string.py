"""Where the first long string of a JSON text is."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csgate._fast import native, pure


def test_the_first_of_the_length_is_found(fast: Any) -> None:
    text = b'{"id": "m1", "image": "QUJDREVG", "more": "QUJDREVGRw"}'
    assert fast.long_string(text, 8) == (23, 31)
    assert fast.long_string(text, 9) == (43, 53)
    assert fast.long_string(text, 11) is None
    assert fast.long_string(text, 0) == (2, 4)
    assert fast.long_string(text, -1) == (2, 4)
    assert fast.long_string(b'[""]', 0) == (2, 2)
    assert fast.long_string(b"", 0) is None


def test_escapes_before_it_are_passed_and_within_it_are_not(fast: Any) -> None:
    assert fast.long_string(rb'["a\"b", "\\", "\"", "QUJDREVG"]', 8) == (22, 30)
    assert fast.long_string(rb'["QUJD\/REVG", "QUJDREVG"]', 8) is None
    assert fast.long_string(rb'["QUJDREVG\""]', 8) is None


def test_what_is_no_json_has_none(fast: Any) -> None:
    for text in (rb'\"QUJDREVG"', rb'["a", \ "QUJDREVG"]', b'["QUJDREVG', rb'["QUJDREVG\"', b'["QUJDREVG\\', b'"'):
        assert fast.long_string(text, 8) is None


def test_at_every_place_of_every_length(fast: Any) -> None:
    for length in range(200):
        for before in (0, 1, 31, 127, 128):
            text = b" " * before + b'"' + b"x" * length + b'"'
            assert fast.long_string(text, length) == (before + 1, before + 1 + length)
            assert fast.long_string(text[:-1], length) is None
            assert fast.long_string(text, length + 1) is None


def test_any_kind_of_buffer_but_no_other_object(fast: Any) -> None:
    for data in (b'"a"', bytearray(b'"a"'), memoryview(b'"a"'), np.frombuffer(b'"a"', np.uint8)):
        assert fast.long_string(data, 1) == (1, 2)
    with pytest.raises(BufferError):
        fast.long_string(memoryview(b'"a"a"')[::2], 1)
    with pytest.raises(TypeError):
        fast.long_string('"a"', 1)


PIECES = st.sampled_from([b'"', b"\\", b"{", b": ", b"a", b"x" * 30, b"y" * 150, b'""', b'\\"', "é".encode()])


@given(st.lists(PIECES, max_size=30).map(b"".join) | st.binary(max_size=400), st.integers(-2, 200))
def test_native_equals_pure(data: bytes, least: int) -> None:
    expected = pure.long_string(data, least)
    before = native.simd()
    for level in native.simd_levels():
        native.select_simd(level)
        assert native.long_string(data, least) == expected
    native.select_simd(before)


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)


@given(JSON, st.integers(0, 30))
def test_of_json_it_is_a_string_as_written(value: Any, least: int) -> None:
    text = json.dumps(value).encode()
    for found in (native.long_string(text, least), pure.long_string(text, least)):
        if found is not None:
            begin, end = found
            assert end - begin >= least
            assert json.loads(text[begin - 1 : end + 1]) == text[begin:end].decode()
