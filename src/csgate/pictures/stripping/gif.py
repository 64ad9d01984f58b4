"""GIF: GIF89a specification, appendix B for the grammar; NETSCAPE2.0 for how often it plays."""

import struct
from typing import Final

from csgate.pictures.stripping.pieces import Odd, Pieces

_EXTENSION, _IMAGE, _TRAILER = 0x21, 0x2C, 0x3B
_GRAPHIC_CONTROL, _APPLICATION = 0xF9, 0xFF
_LOOPS: Final = (b"\x0bNETSCAPE2.0\x03\x01", b"\x0bANIMEXTS1.0\x03\x01")
_LOOP_BYTES: Final = 17
_PLACE: Final = struct.Struct("<HHHH")  # left, top, width, height


def strip_gif(data: bytes, max_frames: int) -> tuple[bytes, int]:
    """A GIF with its frames and how often it plays, and how many frames it has. One cut off in a frame ends before it.

    Raises:
        Odd, BadImage: see :func:`csgate.pictures.stripping.strip`.
    """
    pieces = Pieces()
    if len(data) < 13:
        raise Odd
    at = 13 + _table_bytes(data[10])
    screen = struct.unpack_from("<HH", data, 6)
    kept: list[bytes] = [data[:at]]
    control = b""  # of the frame that comes next
    frames = 0
    looped = False
    while frames < max_frames and at < len(data) and data[at] != _TRAILER:
        start = at
        if data[at] == _EXTENSION:
            label = data[at + 1 : at + 2]
            at = _blocks_end(data, at + 2, pieces)
            if at < 0:
                break
            if label == bytes((_GRAPHIC_CONTROL,)) and at - start == 8:
                control = data[start:at]
            elif label == bytes((_APPLICATION,)) and data.startswith(_LOOPS, start + 2) and not looped:
                looped = True
                kept.append(data[start : start + 2 + _LOOP_BYTES - 1] + b"\x00")
        elif data[at] == _IMAGE:
            if at + 11 > len(data):
                break
            left, top, width, height = _PLACE.unpack_from(data, at + 1)
            if left + width > screen[0] or top + height > screen[1]:
                raise Odd  # browsers differ in what they make of it
            at = _blocks_end(data, at + 11 + _table_bytes(data[at + 9]), pieces)
            if at < 0:
                break
            kept += (control, data[start:at])
            control = b""
            frames += 1
        else:
            raise Odd
    if not frames:
        raise Odd
    return b"".join(kept) + bytes((_TRAILER,)), frames


def _table_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _blocks_end(data: bytes, at: int, pieces: Pieces) -> int:
    """Behind the sub-blocks that begin at ``at``; -1 where they are cut off."""
    while at < len(data):
        pieces.one()
        length = data[at]
        at += length + 1
        if not length:
            return at
    return -1
