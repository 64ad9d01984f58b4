"""The reference of the native frames, in Python."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from csgate._fast import pure

if TYPE_CHECKING:
    from typing_extensions import Buffer

_LENGTH_16 = struct.Struct("!H")
_LENGTH_64 = struct.Struct("!Q")


def new_buffer(size: int) -> bytearray:
    """A buffer of ``size`` bytes, uint8[size], whose contents mean nothing: the native one does not even clear it, so
    that memory is used up only as the buffer is filled. Never hand out more of it than was written.

    Raises:
        ValueError: ``size`` is negative.
    """
    if size < 0:
        raise ValueError("a buffer cannot have a negative size")
    return bytearray(size)


def grow_buffer(buffer: bytearray, size: int) -> None:
    """Makes ``buffer`` ``size`` bytes long, in place where the memory behind it is free. The new bytes mean nothing.

    Raises:
        BufferError: somebody holds a view of it.
        ValueError: it is longer already.
    """
    if size < len(buffer):
        raise ValueError("a buffer can only grow")
    buffer.extend(bytes(size - len(buffer)))


def take_frame(data: Buffer, start: int, max_length: int) -> tuple[int, bytearray, int] | None:
    """Takes a whole message in one whole frame, if ``data[start:]`` begins with one (RFC 6455 section 5.2).

    Args:
        data: uint8[N], C-contiguous; not changed.
        start: the position of the frame's first byte; at or behind the end, nothing is taken.
        max_length: the longest payload that is taken.

    Returns:
        The opcode (1 or 2), the unmasked payload, and the size of the whole frame. ``None`` for everything else, which
        may be a good frame of another kind, an unfinished one or a wrong one (text that is not UTF-8 among them): the
        general decoder is to look at it.

    Raises:
        BufferError: ``data`` is not contiguous.
        ValueError: ``start`` is negative.
    """
    if start < 0:
        raise ValueError("a position cannot be negative")
    view = memoryview(data)
    if not view.c_contiguous:
        raise BufferError("the buffer is not contiguous")
    rest = len(view) - start
    if rest < 6 or view[start] not in (0x81, 0x82) or not view[start + 1] & 0x80:
        return None
    length = view[start + 1] & 0x7F
    head = 6
    if length == 126:
        head = 8
        (length,) = _LENGTH_16.unpack_from(view, start + 2)
        if length < 126:
            return None
    elif length == 127:
        head = 14
        if rest < head:
            return None
        (length,) = _LENGTH_64.unpack_from(view, start + 2)
        if length < 0x1_0000:
            return None
    if length > max_length or length > rest - head:
        return None
    begin = start + head
    payload = bytearray(view[begin : begin + length])
    pure.unmask(payload, bytes(view[begin - 4 : begin]))
    opcode = view[start] & 0x0F
    if opcode == 1 and not pure.utf8_valid(payload):
        return None
    return opcode, payload, head + length
