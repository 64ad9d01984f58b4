"""UTF-8 (RFC 3629) checked in pieces, failing at the first wrong byte."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csgate._fast import native, pure

GOOD = [
    b"",
    b"plain",
    "Ω ≈ 你好 😀".encode(),
    "订单在哪里？".encode() * 30,
    b"\xed\x9f\xbf",  # the last before the surrogates
    b"\xee\x80\x80",  # the first behind them
    b"\xf4\x8f\xbf\xbf",  # U+10FFFF
    b"\xc2\x80\xe0\xa0\x80\xf0\x90\x80\x80",  # the smallest of each length
    b"x" * 100 + "é".encode() + b"y" * 100,
]
# Text, and the index of the byte at which no valid text can go on.
BAD = [
    (b"\x80", 0),
    (b"ab\xbf", 2),
    (b"\xc0\x80", 0),  # overlong
    (b"\xc1\xbf", 0),
    (b"\xe0\x80\x80", 1),
    (b"\xe0\x9f\xbf", 1),
    (b"\xed\xa0\x80", 1),  # surrogate
    (b"\xf0\x8f\xbf\xbf", 1),
    (b"\xf4\x90\x80\x80", 1),  # above U+10FFFF
    (b"\xf5\x80\x80\x80", 0),
    (b"\xff", 0),
    (b"\xe4\xbd" + b"a", 2),
    (b"\xf0\x9f\x98" + b"\xc3", 3),
    (b"a" * 70 + b"\xe4\xbd\xa0\xe5" + b"\xc5", 74),
    ("你".encode() * 20 + b"\xff", 60),
]


def first_wrong(module: Any, text: bytes) -> int | None:
    validator = module.Utf8Validator()
    for i in range(len(text)):
        if not validator.feed(text[i : i + 1]):
            return i
    return None


def test_good_texts(fast: Any) -> None:
    for text in GOOD:
        assert fast.utf8_valid(text)
        for cut in range(len(text) + 1):
            validator = fast.Utf8Validator()
            assert validator.feed(text[:cut])
            assert validator.feed(memoryview(text)[cut:])
            assert validator.complete


@pytest.mark.parametrize(("text", "position"), BAD)
def test_failure_comes_with_the_first_wrong_byte(fast: Any, text: bytes, position: int) -> None:
    assert not fast.utf8_valid(text)
    assert first_wrong(fast, text) == position
    validator = fast.Utf8Validator()
    assert validator.feed(text[:position])
    assert not validator.feed(text[position:])
    assert not validator.complete
    assert not validator.feed(b"fine")  # once wrong, always wrong
    validator.reset()
    assert validator.feed(b"fine")
    assert validator.complete


def test_an_open_character_is_not_complete(fast: Any) -> None:
    validator = fast.Utf8Validator()
    assert validator.complete
    assert validator.feed(b"\xe4\xbd")
    assert not validator.complete
    assert not fast.utf8_valid(b"\xe4\xbd")
    assert validator.feed(b"\xa0")
    assert validator.complete


def test_large_texts(fast: Any) -> None:
    text = b"{" + b"A" * 100_000 + "好".encode() * 1000
    validator = fast.Utf8Validator()
    assert validator.feed(text)
    assert validator.complete
    assert fast.utf8_valid(text)
    assert not fast.utf8_valid(text + b"\x80")


def test_scattered_buffers_are_refused(fast: Any) -> None:
    for check in (fast.utf8_valid, fast.Utf8Validator().feed):
        with pytest.raises(BufferError):
            check(np.zeros(8, np.uint8)[::2])
        with pytest.raises(TypeError):
            check("text")


@given(st.one_of(st.binary(max_size=60), st.text(max_size=30).map(lambda text: text.encode("utf-8", "surrogatepass"))))
def test_native_fails_where_the_reference_fails(text: bytes) -> None:
    expected = first_wrong(pure, text)
    assert first_wrong(native, text) == expected
    try:
        text.decode()
        valid = True
    except UnicodeDecodeError:
        valid = False
    assert native.utf8_valid(text) is valid
    assert pure.utf8_valid(text) is valid


@given(st.binary(max_size=20), st.text(max_size=40), st.lists(st.integers(0, 60)))
def test_splits_do_not_matter(noise: bytes, text: str, cuts: list[int]) -> None:
    data = text.encode("utf-8", "surrogatepass") + noise
    whole = pure.Utf8Validator()
    fine = whole.feed(data)
    for module in (native, pure):
        validator = module.Utf8Validator()
        edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
        results = [validator.feed(data[a:b]) for a, b in itertools.pairwise(edges)]
        assert results[-1] is fine
        assert validator.complete is whole.complete
