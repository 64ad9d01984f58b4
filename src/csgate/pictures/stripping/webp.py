"""WebP: RFC 9649 section 2."""

import struct
from collections.abc import Iterator
from typing import Final

from csgate.pictures.stripping.pieces import Odd, Pieces

MAX_ICC_BYTES: Final = 64 * 1024
_HEAD: Final = struct.Struct("<4sI")
_FRAME_HEAD_BYTES: Final = 16
_ICC_FLAG: Final = 0x20
_KEPT_FLAGS: Final = 0x10 | 0x02  # alpha, animation
_BITMAP: Final = frozenset((b"ALPH", b"VP8 ", b"VP8L"))


def strip_webp(data: bytes, max_frames: int) -> tuple[bytes, int]:
    """A WebP with its canvas, frames and a colour profile up to 64 KiB, and how many frames it has.

    Raises:
        Odd, BadImage: see :func:`csgate.pictures.stripping.strip`.
    """
    size = int.from_bytes(data[4:8], "little")
    end = 8 + size
    if end > len(data):
        raise Odd
    pieces = Pieces()
    kept: list[bytes] = []
    frames = bitmaps = 0
    canvas = b""
    flags = 0
    for kind, body in _chunks(data, 12, end, pieces):
        if kind == b"VP8X":
            if kept or canvas or len(body) != 10:
                raise Odd
            canvas, flags = body, body[0] & _KEPT_FLAGS
        elif kind == b"ICCP" and canvas:
            if len(body) <= MAX_ICC_BYTES and not flags & _ICC_FLAG:
                flags |= _ICC_FLAG
                kept.append(_chunk(kind, body))
        elif kind == b"ANIM" and canvas:
            kept.append(_chunk(kind, body))
        elif kind == b"ANMF" and canvas:
            frames += 1
            if frames <= max_frames:
                inner = _chunks(body, _FRAME_HEAD_BYTES, len(body), pieces)
                bitmap = b"".join(_chunk(*chunk) for chunk in inner if chunk[0] in _BITMAP)
                kept.append(_chunk(kind, body[:_FRAME_HEAD_BYTES] + bitmap))
        elif kind in _BITMAP:
            bitmaps += kind != b"ALPH"
            kept.append(_chunk(kind, body))
    if (bitmaps, bool(frames)) not in ((1, False), (0, True)):
        raise Odd
    if canvas:
        kept.insert(0, _chunk(b"VP8X", bytes([flags]) + canvas[1:]))
    content = b"WEBP" + b"".join(kept)
    return b"RIFF" + struct.pack("<I", len(content)) + content, max(min(frames, max_frames), 1)


def _chunks(data: bytes, at: int, end: int, pieces: Pieces) -> Iterator[tuple[bytes, bytes]]:
    while at < end:
        pieces.one()
        if at + 8 > end:
            raise Odd
        kind, length = _HEAD.unpack_from(data, at)
        at += 8
        if at + length > end:
            raise Odd
        yield kind, data[at : at + length]
        at += length + (length & 1)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return _HEAD.pack(kind, len(body)) + body + b"\x00" * (len(body) & 1)
