"""PNG and APNG: W3C PNG, third edition, sections 5 and 11."""

import struct
import zlib
from typing import Final

from csgate.pictures.stripping.pieces import Odd, Pieces

MAX_ICC_BYTES: Final = 64 * 1024
_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_HEAD: Final = struct.Struct(">I4s")
# What a decoder needs for the right pixels in the right colours. Not pHYs, text, time, EXIF, and private chunks.
_KEPT: Final = frozenset((b"IHDR", b"PLTE", b"IDAT", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"sBIT", b"cICP"))


def strip_png(data: bytes, max_frames: int) -> tuple[bytes, int]:
    """A PNG with the chunks that make its pixels and colours, and how many frames it has.

    Raises:
        Odd, BadImage: see :func:`csgate.pictures.stripping.strip`.
    """
    kept: list[bytes] = [_SIGNATURE]
    pieces = Pieces(50_000)  # frames by the thousand, in pieces of 8 KiB
    frames = 0
    control = 0  # where in ``kept`` the number of frames stands
    plays = b""
    at = len(_SIGNATURE)
    while True:
        pieces.one()
        if at + 12 > len(data):
            raise Odd
        length, kind = _HEAD.unpack_from(data, at)
        end = at + 12 + length
        if end > len(data):
            raise Odd
        if kind == b"IEND":
            break
        if kind == b"acTL" and length == 8 and not control:
            control, plays = len(kept), data[at + 12 : at + 16]
            kept.append(b"")
        elif kind == b"fcTL" and control:
            frames += 1
            if frames <= max_frames:
                kept.append(data[at:end])
        elif kind == b"fdAT" and control and frames:
            if frames <= max_frames:
                kept.append(data[at:end])
        elif kind in _KEPT or (kind == b"iCCP" and length <= MAX_ICC_BYTES):
            kept.append(data[at:end])
        elif not kind[0] & 0x20:  # unknown, and critical
            raise Odd
        at = end
    frames = min(frames, max_frames)
    if control and frames:
        kept[control] = _chunk(b"acTL", struct.pack(">I", frames) + plays)
    elif control:
        raise Odd
    return b"".join(kept) + _chunk(b"IEND", b""), max(frames, 1)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return _HEAD.pack(len(body), kind) + body + struct.pack(">I", zlib.crc32(kind + body))
