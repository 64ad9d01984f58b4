"""JPEGs of the most common kind, decoded by libjpeg-turbo in one call (``simplejpeg``, where it is installed).

Pillow reads a JPEG's structure in Python, marker by marker, and its decoder lets go of the interpreter's lock and asks
for it again; with an event loop at work in another thread that is what a small picture waits for. Here the markers are
looked at once, only to see that the picture is of the plain kind: one scan of all its components, 8 bits, grey or
YCbCr, upright or turned by an EXIF block. Whatever else it is, or whatever libjpeg remarks on it, is left to Pillow:
this way accepts what Pillow accepts, with the same pixels, and refuses nothing. Large ones are left to Pillow too:
there its way costs nothing in comparison, and decoding twice what libjpeg remarks on would.
"""

import struct
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

try:
    import simplejpeg
except ImportError:  # no wheel for this platform: Pillow decodes them all
    simplejpeg = None

AVAILABLE: Final = simplejpeg is not None
MOST_SEGMENTS: Final = 64
MOST_PIXELS: Final = 4_000_000
"""At the scale that is decoded at."""
ORIENTATION_TAG: Final = 0x0112
_SCALES: Final = (8, 4, 2, 1)
# ITU T.81 table B.1: baseline and extended sequential frames; tables, restart interval, comment; the scan.
_FRAMES: Final = (0xC0, 0xC1)
_TABLES: Final = frozenset((0xC4, 0xDB, 0xDD, 0xFE))
_SCAN: Final = 0xDA
_EXIF_SEGMENT: Final = 0xE1
_ADOBE_SEGMENT: Final = 0xEE
_APPLICATION: Final = range(0xE0, 0xF0)


@dataclass(frozen=True, slots=True)
class PlainJpeg:
    """What the markers say: the frame's size, and how it is turned (Exif 2.32, tag 0x0112: 1 to 8, or another)."""

    width: int
    height: int
    turn: int


def read_plain_jpeg(data: bytes) -> PlainJpeg | None:
    """Reads the markers before the scan; None if the picture is not of the plain kind, or damaged that early."""
    frame: tuple[int, int, int] | None = None
    turn = 0
    at = 2
    for _ in range(MOST_SEGMENTS):
        if len(data) < at + 4 or data[at] != 0xFF:
            return None
        marker, length = data[at + 1], data[at + 2] << 8 | data[at + 3]
        end = at + 2 + length
        if length < 2 or end > len(data):
            return None
        if marker == _SCAN:
            if frame is None or length != 6 + 2 * frame[2] or data[at + 4] != frame[2]:
                return None
            return PlainJpeg(frame[0], frame[1], turn or 1)
        if marker in _FRAMES:
            if frame is not None or length < 11 or data[at + 4] != 8 or data[at + 9] not in (1, 3):
                return None
            height, width = struct.unpack_from(">HH", data, at + 5)
            frame = width, height, data[at + 9]
            if not (width and height) or length != 8 + 3 * frame[2]:
                return None
        elif marker == _EXIF_SEGMENT:
            if data.startswith(b"Exif\0\0", at + 4):
                if turn:
                    return None  # two blocks, which Pillow joins
                turn = _turn(data[at + 4 : end])
            elif data.find(b"Orientation", at, end) >= 0:
                return None  # XMP may say it too
        elif marker == _ADOBE_SEGMENT or not (marker in _TABLES or marker in _APPLICATION):
            return None  # other colours than YCbCr; progressive, lossless, arithmetic; what no plain picture has
        at = end
    return None


def _turn(block: bytes) -> int:
    exif = Image.Exif()
    try:
        exif.load(block)
        return int(exif.get(ORIENTATION_TAG, 1)) or 1
    except Exception:
        return 1  # a damaged EXIF block is no reason to refuse a picture that decodes


def decode_plain_jpeg(data: bytes, plain: PlainJpeg, cover: tuple[int, int]) -> NDArray[np.uint8] | None:
    """Decodes at the smallest DCT scale of 1/8, 1/4, 1/2 and 1 that covers (height, width), as Pillow's draft does.

    Returns:
        uint8[H, W, 3], not turned; None where libjpeg has a remark, be it a warning, and for large pictures.
    """
    room = min(plain.width // max(1, cover[1]), plain.height // max(1, cover[0]))
    scale = next((one for one in _SCALES if one <= room), 1)
    height, width = -(-plain.height // scale), -(-plain.width // scale)
    if height * width > MOST_PIXELS:
        return None
    try:
        pixels: Any = simplejpeg.decode_jpeg(data, "RGB", min_height=height, min_width=width)
    except Exception:  # Pillow's way says what is wrong
        return None
    decoded: NDArray[np.uint8] = pixels
    return decoded
