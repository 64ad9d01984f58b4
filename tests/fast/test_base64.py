"""Strict Base64: RFC 4648 sections 3 to 5 and 10."""

import base64
import pickle
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from csgate._fast import native, pure
from csgate._fast.errors import Base64Error

VECTORS = [
    (b"", b""),
    (b"Zg==", b"f"),
    (b"Zm8=", b"fo"),
    (b"Zm9v", b"foo"),
    (b"Zm9vYg==", b"foob"),
    (b"Zm9vYmE=", b"fooba"),
    (b"Zm9vYmFy", b"foobar"),
]
# Text, and the first character that no valid text can have there; the length when the text ends too early.
WRONG = [
    (b"Z", 1),
    (b"Zm", 2),
    (b"Zm9", 3),
    (b"Zg=", 3),
    (b"Zm9vZ", 5),
    (b"=", 0),
    (b"Z===", 1),
    (b"Zg=a", 3),
    (b"Zg==Zg==", 4),
    (b"Zm8=Zm8=", 4),
    (b"Zg==\n", 4),
    (b"Zm9v\n", 4),
    (b" Zm9v", 0),
    (b"Zm 9v", 2),
    (b"Zm9v====", 4),
    (b"Zh==", 2),  # the bits that padding leaves over are not zero
    (b"Zm9=", 3),
    (b"Zm9\x00", 3),
    (b"Zm9\xff", 3),
    (b"Zm-v", 2),  # the other alphabet
    (b"Zm_v", 2),
]


def decoded(module: Any, text: Any, **options: Any) -> bytes:
    room = bytearray(module.base64_decoded_size(text))
    size = module.base64_decode(text, room, **options)
    assert size == len(room)
    assert module.base64_bytes(text, **options) == room
    return bytes(room)


def wrong_at(module: Any, text: bytes, **options: Any) -> int | None:
    """The position that both functions name; None if they take the text."""
    named: list[int | None] = []
    for call in (
        lambda: module.base64_bytes(text, **options),
        lambda: module.base64_decode(text, bytearray(len(text)), **options),
    ):
        try:
            call()
            named.append(None)
        except Base64Error as error:
            named.append(error.position)
    assert named[0] == named[1]
    return named[0]


@pytest.mark.parametrize(("text", "data"), VECTORS)
def test_the_vectors_of_rfc_4648_section_10(fast: Any, text: bytes, data: bytes) -> None:
    assert decoded(fast, text) == data
    assert fast.base64_decoded_size(text) == len(data)


@pytest.mark.parametrize(("text", "position"), WRONG)
def test_the_first_wrong_position_is_named(fast: Any, text: bytes, position: int) -> None:
    assert wrong_at(fast, text) == position
    long = b"Zm9v" * 100 + text  # behind what vectors take
    assert wrong_at(fast, long) == 400 + position


def test_every_size_and_offset(fast: Any) -> None:
    noise = random.Random(3).randbytes(301)
    for size in range(301):
        text = base64.b64encode(noise[:size])
        for offset in (0, 1, 3):
            shifted = memoryview(b"#" * offset + text)[offset:]
            assert decoded(fast, shifted) == noise[:size]
            # A larger buffer keeps what lies behind its announced size.
            room = memoryview(bytearray(b"#" * (size + offset + 8)))
            assert fast.base64_decode(shifted, room[offset : offset + size]) == size
            assert room[offset : offset + size] == noise[:size]
            assert bytes(room[:offset]) + bytes(room[offset + size :]) == b"#" * (offset + 8)


def test_both_alphabets_only_when_announced(fast: Any) -> None:
    data = bytes(range(256)) * 3
    standard, urlsafe = base64.b64encode(data), base64.urlsafe_b64encode(data)
    assert decoded(fast, standard) == decoded(fast, urlsafe, urlsafe=True) == data
    assert wrong_at(fast, urlsafe) == min(urlsafe.index(b"-"), urlsafe.index(b"_"))
    assert wrong_at(fast, standard, urlsafe=True) == min(standard.index(b"+"), standard.index(b"/"))


def test_every_character_in_every_lane(fast: Any) -> None:
    text = bytearray(base64.b64encode(random.Random(4).randbytes(240)))
    for urlsafe, alphabet in ((False, b"+/"), (True, b"-_")):
        allowed = set(range(48, 58)) | set(range(65, 91)) | set(range(97, 123)) | set(alphabet)
        good = bytes(text).translate(bytes.maketrans(b"+/", alphabet))
        for at in (0, 1, 31, 63, 130, 255, 319):
            for character in range(256):
                changed = bytearray(good)
                changed[at] = character
                found = wrong_at(fast, bytes(changed), urlsafe=urlsafe)
                if character in allowed:
                    assert found is None
                else:
                    # '=' may stand at the very end only; nothing else may stand anywhere.
                    assert found is None if character == ord("=") and at == 319 and _spare_zero(good) else found == at


def _spare_zero(text: bytes) -> bool:
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    value = alphabet.find(text[-2]) if text[-2] in alphabet else 62 + (text[-2] in b"/_")
    return value & 3 == 0


def test_large_text(fast: Any) -> None:
    data = random.Random(5).randbytes(300_001)
    text = base64.b64encode(data)
    assert decoded(fast, text) == data
    broken = text[:250_000] + b"!" + text[250_001:]
    assert wrong_at(fast, broken) == 250_000


def test_a_buffer_too_small_is_refused(fast: Any) -> None:
    room = bytearray(2)
    with pytest.raises(ValueError, match="3 bytes do not fit into a buffer of 2"):
        fast.base64_decode(b"Zm9v", room)
    assert room == b"\0\0"


def test_buffers_of_the_wrong_kind_are_refused(fast: Any) -> None:
    with pytest.raises(BufferError):
        fast.base64_decode(b"Zm9v", b"read-only")
    with pytest.raises(BufferError):
        fast.base64_decode(b"Zm9v", np.zeros(8, np.uint8)[::2])
    scattered = np.frombuffer(b"Z.m.9.v.", np.uint8)[::2]
    for call in (fast.base64_bytes, fast.base64_decoded_size, lambda text: fast.base64_decode(text, bytearray(9))):
        with pytest.raises(BufferError):
            call(scattered)
        with pytest.raises(TypeError):
            call("Zm9v")


def test_the_error_is_a_value_error_that_travels() -> None:
    error = pickle.loads(pickle.dumps(Base64Error(7)))
    assert isinstance(error, ValueError)
    assert error.position == 7
    assert str(error) == "not Base64 at position 7"


TEXTS = st.one_of(
    st.binary(max_size=300),
    st.binary(max_size=300).map(base64.b64encode),
    st.text("AQgwZ09+/-_= \n", max_size=12).map(str.encode),
    st.tuples(st.binary(max_size=200).map(base64.b64encode), st.text("Ag=+-!", max_size=5).map(str.encode)).map(
        b"".join
    ),
)


@given(text=TEXTS, urlsafe=st.booleans())
@example(text=b"AA=A", urlsafe=False)
def test_native_says_what_the_reference_says(text: bytes, urlsafe: bool) -> None:
    expected = wrong_at(pure, text, urlsafe=urlsafe)
    for level in native.simd_levels():
        native.select_simd(level)
        assert wrong_at(native, text, urlsafe=urlsafe) == expected
        if expected is None:
            assert native.base64_bytes(text, urlsafe=urlsafe) == pure.base64_bytes(text, urlsafe=urlsafe)
            assert native.base64_decoded_size(text) == pure.base64_decoded_size(text)
