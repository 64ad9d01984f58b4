"""A picture made ready for keeping: turned upright, without what its camera wrote into it, no wider than it needs.

A file that is right already is not encoded again; what has no place in it is cut out, see
:mod:`csgate.pictures.stripping`. What has transparency or moves is a sticker: it keeps its format. Anything else that
has to change becomes a JPEG.

Every picture is decoded, the first frame of a moving one: what comes out of here can be shown. Takes milliseconds to
tenths of a second: for a worker thread.
"""

import os
import sys
import tempfile
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, Literal, cast

from PIL import Image

from csgate.errors import BadImage
from csgate.media.moving import resized_frames
from csgate.pictures import Format, open_picture, orientation, plain, sniff, upright
from csgate.pictures.stripping import Stripped, strip

MAX_ICC_BYTES: Final = 64 * 1024
LOSSLESS_BYTES: Final = 256 * 1024
"""A still picture without transparency that is larger than this becomes a JPEG, if that is smaller."""
MAX_JPEG_SIDE: Final = 65_500
_BROWSER_MODES: Final = ("L", "RGB")
_WEBP_EFFORT: Final = 2


@dataclass(frozen=True, slots=True)
class Limits:
    """How pictures are kept; see ``MediaSettings``."""

    max_pixels: int
    max_width: int
    quality: int
    max_frames: int

    def fitted(self, width: int, height: int) -> tuple[int, int]:
        """The size that a picture of that size is kept at."""
        if width <= self.max_width:
            return width, height
        return self.max_width, max(1, round(height * self.max_width / width))


@dataclass(frozen=True, slots=True)
class Normal:
    """A picture ready for keeping. ``outcome``: what was done to it, for the metrics."""

    data: bytes
    format: Format
    width: int
    height: int
    sticker: bool
    outcome: Literal["as it was", "stripped", "encoded"]


def normalise(data: bytes, limits: Limits) -> Normal:
    """Makes a picture file ready. Done to what came out of it, it changes nothing any more.

    Raises:
        UnsupportedImage, ImageTooLarge, BadImage: as ``csgate.pictures.decode``.
    """
    if not data:
        raise BadImage("the picture is empty")
    format = sniff(data)
    # Before Pillow, which takes longer over a file of ever so many pieces. A JPEG's frames need not be counted.
    stripped = strip(data, format, limits.max_frames) if format != "jpeg" else None
    with open_picture(data, max_pixels=limits.max_pixels) as (image, _):
        if format != "jpeg":
            # Asked for its orientation, a PNG loads itself; what goes wrong then would be lost with the orientation.
            image.load()
        turn = orientation(image)
        width, height = (image.height, image.width) if turn >= 5 else image.size
        frames = stripped.frames if stripped else 1
        size = limits.fitted(width, height)
        if size == (width, height):
            if format == "jpeg" and image.mode in _BROWSER_MODES and turn == 1:
                stripped = strip(data, format, 1)
            if stripped is not None and turn == 1:
                kept = _as_it_is(data, image, format, stripped, limits)
                if kept is not None:
                    return kept
        if frames > 1:
            moving = resized_frames(image, format, size, turn, frames, len(data), limits.quality)
            return Normal(moving, format, *size, True, "encoded")
        return _encoded(image, format, size, turn, limits)


def _as_it_is(data: bytes, image: Image.Image, format: Format, stripped: Stripped, limits: Limits) -> Normal | None:
    image.load()
    sticker = stripped.frames > 1 or _transparent(image)
    outcome: Literal["as it was", "stripped", "encoded"] = "as it was" if stripped.data == data else "stripped"
    normal = Normal(stripped.data, format, *image.size, sticker, outcome)
    if sticker or format == "jpeg" or len(stripped.data) <= LOSSLESS_BYTES or image.height > MAX_JPEG_SIDE:
        return normal
    encoded = _encoded(image, format, image.size, 1, limits)
    return encoded if len(encoded.data) < len(stripped.data) else normal


def _encoded(image: Image.Image, format: Format, size: tuple[int, int], turn: int, limits: Limits) -> Normal:
    """A still picture, encoded again: as what it was where it has transparency, otherwise as JPEG."""
    profile = image.info.get("icc_profile")
    raw_size = (size[1], size[0]) if turn >= 5 else size
    if format == "jpeg" and image.size != raw_size:
        image.draft(None, raw_size)
    coloured = image.mode in ("RGB", "RGBA", "P")
    image.load()
    shown = plain(image)
    if shown.size != raw_size:
        shown = shown.resize(raw_size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    shown = upright(shown, turn)
    sticker = _transparent(shown)
    options: dict[str, Any] = {}
    if coloured and isinstance(profile, bytes) and len(profile) <= MAX_ICC_BYTES and profile[16:20] == b"RGB ":
        options["icc_profile"] = profile
    if not sticker:
        return Normal(save(shown.convert("RGB"), "jpeg", limits.quality, **options), "jpeg", *size, False, "encoded")
    return Normal(save(shown, format, limits.quality, **options), format, *size, True, "encoded")


def _transparent(image: Image.Image) -> bool:
    shown = plain(image)
    if shown.mode != "RGBA":
        return False
    lowest, _ = shown.getchannel("A").getextrema()
    return isinstance(lowest, int) and lowest < 255


def save(image: Image.Image, format: Format, quality: int, **options: Any) -> bytes:
    """``image`` as a file, with nothing in it but what ``options`` say.

    Raises:
        BadImage: the format cannot hold it.
    """
    image.info.clear()  # Pillow writes some of what it read before into new files
    if format in ("jpeg", "webp"):
        options["quality"] = quality
    if format == "webp":
        options["method"] = _WEBP_EFFORT
    try:
        # Into a file that the system knows Pillow encodes without holding the interpreter's lock; not so into BytesIO.
        with _scratch() as file:
            image.save(file, format.upper(), **options)
            file.seek(0)
            return file.read()
    except (OSError, ValueError) as error:
        raise BadImage(f"{format}: {error}") from error


def _scratch() -> BinaryIO:
    """An unnamed file, in memory where the system has such."""
    if sys.platform == "linux":
        return os.fdopen(os.memfd_create("csgate-picture", os.MFD_CLOEXEC), "w+b")
    return cast(BinaryIO, tempfile.TemporaryFile())
