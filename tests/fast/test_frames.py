"""``take_frame`` and the buffers: the native frames equal the pure ones, and both take only what is whole and right."""

import struct
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csgate._fast import frames, pure_frames

both = pytest.mark.parametrize("fast", [frames, pure_frames], ids=["native", "pure"])
KEY = bytes.fromhex("37fa213d")


def frame(first: int, payload: bytes, form: int | None = None, bit: int = 0x80) -> bytes:
    masked = bytes(byte ^ KEY[i % 4] for i, byte in enumerate(payload))
    size = len(payload)
    if form == 7 or (form is None and size < 126):
        field = bytes((bit | size,))
    elif form == 16 or (form is None and size < 65536):
        field = struct.pack("!BH", bit | 126, size)
    else:
        field = struct.pack("!BQ", bit | 127, size)
    return bytes((first,)) + field + KEY + masked


@both
@pytest.mark.parametrize("size", [*range(300), 1000, 65535, 65536, 70001])
def test_takes_a_whole_frame_at_any_offset(fast: ModuleType, size: int) -> None:
    payload = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    for first in (0x81, 0x82):
        sent = frame(first, payload)
        for offset in (0, 1, 3, 7):
            data = b"*" * offset + sent + b"behind"
            taken = fast.take_frame(data, offset, size)
            assert taken == (first & 15, bytearray(payload), len(sent))
            assert isinstance(taken[1], bytearray)


@both
def test_leaves_everything_else(fast: ModuleType) -> None:
    good = frame(0x81, b"Hello")
    assert fast.take_frame(good, 0, 5) is not None
    for name, data in {
        "nothing": b"",
        "too long": frame(0x81, b"Hello!"),
        "not final": frame(0x01, b"Hello"),
        "continuation": frame(0x80, b"Hello"),
        "close": frame(0x88, b"Hello"),
        "ping": frame(0x89, b"Hello"),
        "reserved bit": frame(0xC1, b"Hello"),
        "reserved opcode": frame(0x83, b"Hello"),
        "not masked": frame(0x81, b"Hello", bit=0),
        "16 bits for 5": frame(0x81, b"Hello", form=16),
        "64 bits for 5": frame(0x81, b"Hello", form=64),
        "top bit": b"\x81\xff" + b"\xff" * 8 + KEY + b"Hello",
        "not UTF-8": frame(0x81, b"Hell\xff"),
        "cut inside a character": frame(0x81, "Hellä".encode()[:5]),
    }.items():
        assert fast.take_frame(data, 0, 5) is None, name
    for size in range(len(good)):
        assert fast.take_frame(good[:size], 0, 5) is None
    for size in (126, 65536):
        sent = frame(0x82, b"x" * size)
        for cut in range(16):
            assert fast.take_frame(sent[:cut], 0, 2**40) is None
        assert fast.take_frame(sent[:-1], 0, 2**40) is None
        assert fast.take_frame(sent, 0, size - 1) is None
    assert fast.take_frame(good, len(good), 5) is None
    assert fast.take_frame(good, len(good) + 9, 5) is None


@both
def test_does_not_change_what_it_reads(fast: ModuleType) -> None:
    data = bytearray(frame(0x81, b"Hello"))
    before = bytes(data)
    taken = fast.take_frame(memoryview(data), 0, 5)
    assert bytes(data) == before
    data[:] = b"?" * len(data)
    assert taken == (1, bytearray(b"Hello"), 11)


@both
def test_wrong_arguments(fast: ModuleType) -> None:
    with pytest.raises(ValueError, match="negative"):
        fast.take_frame(b"", -1, 5)
    with pytest.raises(BufferError):
        fast.take_frame(memoryview(bytes(20))[::2], 0, 5)
    with pytest.raises(ValueError, match="negative"):
        fast.new_buffer(-1)
    with pytest.raises(ValueError, match="only grow"):
        fast.grow_buffer(bytearray(5), 4)
    held = bytearray(5)
    with memoryview(held), pytest.raises(BufferError):
        fast.grow_buffer(held, 6)


@both
def test_buffers(fast: ModuleType) -> None:
    assert [len(fast.new_buffer(size)) for size in (0, 1, 4096, 10**7)] == [0, 1, 4096, 10**7]
    buffer = fast.new_buffer(3)
    buffer[:] = b"abc"
    fast.grow_buffer(buffer, 3)
    fast.grow_buffer(buffer, 100_000)
    assert len(buffer) == 100_000
    assert buffer[:3] == b"abc"


@given(st.binary(max_size=40), st.integers(0, 45), st.integers(0, 30))
def test_native_equals_pure_for_any_bytes(data: bytes, start: int, most: int) -> None:
    assert frames.take_frame(data, start, most) == pure_frames.take_frame(data, start, most)


@given(
    st.sampled_from([0x81, 0x82, 0x01, 0x89]),
    st.one_of(st.binary(max_size=200), st.text(max_size=100).map(str.encode)),
    st.sampled_from([None, 16, 64]),
    st.binary(max_size=3),
)
def test_native_equals_pure_for_frames(first: int, payload: bytes, form: int | None, rest: bytes) -> None:
    data = frame(first, payload, form) + rest
    assert frames.take_frame(data, 0, 150) == pure_frames.take_frame(data, 0, 150)
