"""JPEG: ITU T.81 annex B; JFIF 1.02; ICC.1:2010 annex B.4 for the profile in APP2."""

import re
from typing import Final

from csgate.pictures.stripping.pieces import Odd, Pieces

MAX_ICC_BYTES: Final = 64 * 1024
_SOI: Final = b"\xff\xd8"
_EOI: Final = b"\xff\xd9"
_SOS: Final = 0xDA
_APP0, _APP2, _APP14, _APP15, _COM = 0xE0, 0xE2, 0xEE, 0xEF, 0xFE
# DHT, DQT, DRI, and the three kinds of frame that browsers show: baseline, extended, progressive.
_PICTURE: Final = frozenset((0xC4, 0xDB, 0xDD, 0xC0, 0xC1, 0xC2))
# The end of a scan: a marker that is neither a stuffed FF nor a restart.
_MARKER: Final = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_ICC: Final = b"ICC_PROFILE\x00"
_JFIF_BYTES: Final = 14
_ADOBE_BYTES: Final = 12


def strip_jpeg(data: bytes) -> bytes:
    """A JPEG with nothing but its tables and scans, the heads JFIF and Adobe, and a colour profile up to 64 KiB.

    Raises:
        Odd, BadImage: see :func:`csgate.pictures.stripping.strip`.
    """
    kept: list[bytes] = [_SOI]
    profile: list[bytes] = []
    pieces = Pieces(20_000)
    at = 2
    while True:
        pieces.one()
        if data[at : at + 1] != b"\xff":
            raise Odd
        while data[at + 1 : at + 2] == b"\xff":  # fill bytes
            pieces.one()
            at += 1
        if at + 2 > len(data):
            raise Odd
        kind = data[at + 1]
        if kind == _EOI[1]:
            break
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        end = at + 2 + length
        if length < 2 or end > len(data):
            raise Odd
        body = data[at + 4 : end]
        if kind == _SOS:
            following = _MARKER.search(data, end)
            if following is None:
                raise Odd
            end = following.start()
            kept.append(data[at:end].rstrip(b"\xff"))  # a scan has none that is not followed by something
        elif kind in _PICTURE:
            kept.append(data[at:end])
        elif kind == _APP0 and body.startswith(b"JFIF\x00") and len(body) >= _JFIF_BYTES:
            # Its thumbnail, which may show what was cut away from the picture, is left behind.
            kept.append(b"\xff\xe0\x00\x10" + body[: _JFIF_BYTES - 2] + b"\x00\x00")
        elif kind == _APP14 and body.startswith(b"Adobe") and len(body) >= _ADOBE_BYTES:
            kept.append(b"\xff\xee\x00\x0e" + body[:_ADOBE_BYTES])
        elif kind == _APP2 and body.startswith(_ICC):
            if sum(map(len, profile)) <= MAX_ICC_BYTES:
                profile.append(data[at:end])
        elif not (_APP0 <= kind <= _APP15 or kind == _COM):
            raise Odd
        at = end
    if profile and sum(map(len, profile)) <= MAX_ICC_BYTES:
        # Behind JFIF, which has to come first, and before everything else.
        place = 2 if len(kept) > 1 and kept[1].startswith(b"\xff\xe0") else 1
        kept[place:place] = profile
    return b"".join(kept) + _EOI
