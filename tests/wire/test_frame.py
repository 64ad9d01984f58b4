"""Frame headers: what the server writes, and the limit it reads with."""

import pytest

from csgate.wire.frame import Opcode, frame_header, read_header
from csgate.wire.violation import FrameTooLarge
from tests.wire import client_frames as c


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65535, 65536, 2**40])
@pytest.mark.parametrize("opcode", list(Opcode))
@pytest.mark.parametrize("fin", [True, False])
def test_written_minimally(opcode: Opcode, length: int, fin: bool) -> None:
    first = bytes(((0x80 if fin else 0) | opcode,))
    assert frame_header(opcode, length, fin=fin) == first + c.length_field(length, masked=False)


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65535, 65536, 2**62])
def test_read_back(length: int) -> None:
    data = bytes((0x82,)) + c.length_field(length) + c.KEY
    header = read_header(memoryview(data), 2**63)
    assert header is not None
    assert (header.fin, header.opcode, header.length, header.key, header.size) == (True, 2, length, c.KEY, len(data))
    for size in range(len(data)):
        assert read_header(memoryview(data[:size]), 2**63) is None


@pytest.mark.parametrize("length", [0, 125, 126, 65535, 65536])
def test_the_limit_is_inclusive(length: int) -> None:
    data = memoryview(bytes((0x82,)) + c.length_field(length) + c.KEY)
    assert read_header(data, length) is not None
    if length:
        with pytest.raises(FrameTooLarge):
            read_header(data, length - 1)
