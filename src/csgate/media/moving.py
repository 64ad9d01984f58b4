"""Stickers that move, made smaller frame by frame."""

import io
import math
from collections.abc import Iterator
from typing import Any, Final

from PIL import Image

from csgate.pictures import Format, plain, upright

MAX_DECODED_PIXELS: Final = 16_000_000
"""Pixels of all frames together; frames beyond that are left out."""
MAX_ENCODING_S: Final = 0.35
"""What encoding may take by the estimate below; above, every second frame is left out, or two of three, and so on."""
_PIXEL_S: Final = 25e-9
"""For one pixel that is written, in a flat picture, measured with Pillow 13 on one core at 2.5 GHz …"""
_BYTE_S: Final[dict[Format, float]] = {"jpeg": 0.0, "png": 300e-9, "webp": 600e-9, "gif": 80e-9}
"""… and for each byte that was read, which says how much there is to see."""
_RESTORE_TO_BACKGROUND: Final = 2
_WEBP_EFFORT: Final = 0
_FRAME_MS: Final = 100


def resized_frames(
    image: Image.Image, format: Format, size: tuple[int, int], turn: int, frames: int, file_bytes: int, quality: int
) -> bytes:
    """The first of the ``frames`` of ``image`` as a file of the same format, with pictures of ``size``.

    What is left out between frames does not change how long it all takes to play.
    """
    first = 1 if image.info.get("default_image") else 0  # an APNG's picture for those who cannot show it moving
    count = max(1, min(frames, MAX_DECODED_PIXELS // (image.width * image.height)))
    cost = count * (size[0] * size[1] * _PIXEL_S + file_bytes / frames * _BYTE_S[format])
    step = max(1, math.ceil(cost / MAX_ENCODING_S))
    loop = image.info.get("loop", None if format == "gif" else 0)
    durations: list[int] = []
    made = list(_shown(image, range(first, first + count), step, size, turn, durations))
    options: dict[str, Any] = {"duration": durations}
    if loop is not None:
        options["loop"] = int(loop)
    if format == "gif":
        options["disposal"] = _RESTORE_TO_BACKGROUND  # its frames cannot take away what an earlier one drew
    elif format == "webp":
        options |= {"quality": quality, "method": _WEBP_EFFORT}
    file = io.BytesIO()
    made[0].save(file, format.upper(), save_all=True, append_images=made[1:], **options)
    return file.getvalue()


def _shown(
    image: Image.Image, indices: range, step: int, size: tuple[int, int], turn: int, durations: list[int]
) -> Iterator[Image.Image]:
    raw_size = (size[1], size[0]) if turn >= 5 else size
    for index in indices:
        image.seek(index)
        image.load()
        duration = int(image.info.get("duration", _FRAME_MS))
        if (index - indices.start) % step:
            durations[-1] += duration
            continue
        durations.append(duration)
        # What is decoded at once is little enough to be kept: the frames are no larger than what they were made of.
        small = plain(image).convert("RGBA").resize(raw_size, Image.Resampling.BILINEAR, reducing_gap=2.0)
        small = upright(small, turn)
        small.info.clear()
        yield small
