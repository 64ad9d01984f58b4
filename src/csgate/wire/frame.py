"""Frame headers (RFC 6455 section 5.2): the byte layout, and nothing about what a frame means to a message."""

import struct
from enum import IntEnum
from typing import Final

import msgspec

from csgate.wire.violation import FrameTooLarge, ProtocolViolation


class Opcode(IntEnum):
    """Section 11.8."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


MAX_CONTROL_BYTES: Final = 125
MAX_HEADER_BYTES: Final = 14

_FIN: Final = 0x80
_RESERVED: Final = 0x70
_MASKED: Final = 0x80
_KNOWN: Final = frozenset(int(opcode) for opcode in Opcode)
_LENGTH_16: Final = struct.Struct("!H")
_LENGTH_64: Final = struct.Struct("!Q")
_HEADER_16: Final = struct.Struct("!BBH")
_HEADER_64: Final = struct.Struct("!BBQ")
_SHORT_HEADERS: Final[dict[int, tuple[bytes, ...]]] = {
    opcode: tuple(bytes((_FIN | opcode, size)) for size in range(126)) for opcode in (Opcode.TEXT, Opcode.BINARY)
}


class FrameHeader(msgspec.Struct, frozen=True):
    """A client's frame header. ``size`` is the header's own length in bytes, ``length`` the payload's."""

    fin: bool
    opcode: int
    length: int
    key: bytes
    size: int


def check_first_byte(byte: int) -> None:
    """Refuses what the first byte alone shows to be wrong.

    Raises:
        ProtocolViolation: a reserved bit without an extension, a reserved opcode, a fragmented control frame.
    """
    if byte & _RESERVED:
        raise ProtocolViolation("reserved bit set")
    opcode = byte & 0x0F
    if opcode not in _KNOWN:
        raise ProtocolViolation("reserved opcode")
    if opcode & 0x8 and not byte & _FIN:
        raise ProtocolViolation("fragmented control frame")


def read_header(data: memoryview, max_length: int) -> FrameHeader | None:
    """Reads a client's header at the start of ``data`` (uint8[n], n >= 0); ``None`` until it is whole.

    Whatever is wrong is refused at the first byte that shows it. The length stays an unsigned 64-bit number until it
    has been compared with ``max_length``.

    Raises:
        ProtocolViolation: section 5.2 or 5.5 broken.
        FrameTooLarge: longer than ``max_length``.
    """
    available = len(data)
    if not available:
        return None
    first = data[0]
    check_first_byte(first)
    if available < 2:
        return None
    second = data[1]
    if not second & _MASKED:
        raise ProtocolViolation("frame not masked")
    length = second & 0x7F
    size = 6
    if length > MAX_CONTROL_BYTES:
        if first & 0x8:
            raise ProtocolViolation("control frame of more than 125 bytes")
        if length == 126:
            size = 8
            if available < 4:
                return None
            (length,) = _LENGTH_16.unpack_from(data, 2)
            if length < 126:
                raise ProtocolViolation("length not minimally encoded")
        else:
            size = 14
            if available > 2 and data[2] & 0x80:
                raise ProtocolViolation("length with the top bit set")
            if available < 10:
                return None
            (length,) = _LENGTH_64.unpack_from(data, 2)
            if length < 0x1_0000:
                raise ProtocolViolation("length not minimally encoded")
    if length > max_length:
        raise FrameTooLarge("message too big")
    if available < size:
        return None
    return FrameHeader(bool(first & _FIN), first & 0x0F, length, bytes(data[size - 4 : size]), size)


def frame_header(opcode: int, length: int, *, fin: bool = True) -> bytes:
    """A server's header: unmasked, ``length`` minimally encoded."""
    if length < 126:
        if fin and opcode in _SHORT_HEADERS:
            return _SHORT_HEADERS[opcode][length]
        return bytes((_FIN | opcode if fin else opcode, length))
    first = _FIN | opcode if fin else opcode
    if length < 0x1_0000:
        return _HEADER_16.pack(first, 126, length)
    return _HEADER_64.pack(first, 127, length)
