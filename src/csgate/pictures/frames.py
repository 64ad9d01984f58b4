"""A few frames of a sticker that moves, for a model that looks at single pictures."""

from contextlib import suppress
from typing import Final

from csgate import _fast
from csgate.pictures.decoding import DecodedPicture, decode, open_picture, orientation, plain, sniff, upright
from csgate.pictures.stripping import strip

MAX_FRAMES: Final = 300
MAX_DECODED_PIXELS: Final = 16_000_000
"""Pixels of all frames up to the last one that is looked at: they can only be decoded one after the other."""


def sample_frames(data: bytes, *, max_pixels: int, count: int = 4) -> list[DecodedPicture]:
    """The first frame and up to ``count - 1`` more, spread evenly; a picture that does not move is its only frame.

    Frames that cannot be decoded are left out, but for the first.

    Raises:
        UnsupportedImage, ImageTooLarge, BadImage: as :func:`csgate.pictures.decode`.
    """
    stripped = strip(data, sniff(data), MAX_FRAMES) if data and sniff(data) != "jpeg" else None
    if stripped is None or stripped.frames == 1:
        return [decode(data, max_pixels=max_pixels)]
    found: list[DecodedPicture] = []
    # Without what was cut out: of a GIF, no frame is larger than the picture, which Pillow would make room for.
    with open_picture(stripped.data, max_pixels=max_pixels) as (image, format):
        image.load()  # or damage goes unnoticed, see orientation()
        turn = orientation(image)
        first = 1 if image.info.get("default_image") else 0
        frames = max(1, min(stripped.frames, MAX_DECODED_PIXELS // (image.width * image.height)))
        with suppress(Exception):
            for index in sorted({number * frames // count for number in range(count)}):
                image.seek(first + index)
                image.load()
                # A copy: the next frame is decoded into the same place.
                shown = upright(plain(image).copy(), turn)
                found.append(
                    DecodedPicture(_fast.borrow_pixels(shown), format, *shown.size, True, shown.mode == "RGBA")
                )
    return found or [decode(data, max_pixels=max_pixels)]
