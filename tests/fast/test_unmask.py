"""Masking of payloads: RFC 6455 section 5.3."""

import itertools
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csgate._fast import native, pure

KEY = bytes.fromhex("37fa213d")


def slowly(data: bytes, key: bytes, phase: int) -> bytes:
    return bytes(byte ^ key[(phase + i) % 4] for i, byte in enumerate(data))


def test_the_example_of_rfc_6455_section_5_7(fast: Any) -> None:
    payload = bytearray.fromhex("7f9f4d5158")
    assert fast.unmask(payload, KEY) == 1
    assert payload == b"Hello"


def test_every_size_offset_and_phase(fast: Any) -> None:
    noise = random.Random(1).randbytes(310)
    for size in range(301):
        for offset in (0, 1, 3, 7):
            phase = (size + offset) % 4
            room = bytearray(noise)
            window = memoryview(room)[offset : offset + size]
            assert fast.unmask(window, KEY, phase) == (phase + size) % 4
            assert room[offset : offset + size] == slowly(noise[offset : offset + size], KEY, phase)
            assert room[:offset] == noise[:offset]
            assert room[offset + size :] == noise[offset + size :]


def test_large_payload(fast: Any) -> None:
    noise = random.Random(2).randbytes(200_001)
    payload = bytearray(noise)
    assert fast.unmask(payload, KEY, 2) == 3
    assert payload[-9:] == slowly(noise, KEY, 2)[-9:]
    fast.unmask(payload, KEY, 2)
    assert payload == noise


@given(data=st.binary(max_size=200), key=st.binary(min_size=4, max_size=4), cuts=st.lists(st.integers(0, 200)))
def test_pieces_give_what_the_whole_gives(data: bytes, key: bytes, cuts: list[int]) -> None:
    for module in (native, pure):
        payload = bytearray(data)
        view, phase = memoryview(payload), 0
        edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
        for start, stop in itertools.pairwise(edges):
            phase = module.unmask(view[start:stop], key, phase)
        assert payload == slowly(data, key, 0)
        assert phase == len(data) % 4


def test_any_writable_buffer_will_do(fast: Any) -> None:
    numbers = np.zeros((2, 4), np.uint16)
    fast.unmask(numbers, memoryview(KEY))
    assert numbers.tobytes() == KEY * 4


@pytest.mark.parametrize("key", [b"", b"123", b"12345"])
def test_a_key_has_four_bytes(fast: Any, key: bytes) -> None:
    with pytest.raises(ValueError, match="4 bytes"):
        fast.unmask(bytearray(8), key)


def test_read_only_and_scattered_buffers_are_refused(fast: Any) -> None:
    frozen = np.zeros(8, np.uint8)
    frozen.setflags(write=False)
    for refused in (b"read-only", memoryview(bytearray(8))[::2], frozen):
        with pytest.raises(BufferError):
            fast.unmask(refused, KEY)
    with pytest.raises(TypeError):
        fast.unmask("text", KEY)
