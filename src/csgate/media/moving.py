"""Stickers that move, made smaller frame by frame."""

import io
from collections.abc import Iterator
from typing import Any, Final

from PIL import Image

from csgate.pictures import Format, plain, upright

MAX_ANIMATED_PIXELS: Final = 16_000_000
"""Frames times pixels that are decoded to make a smaller sticker; frames beyond that are left out."""
_DISPOSE_TO_BACKGROUND: Final = {"gif": 2, "png": 1}
_WEBP_EFFORT: Final = 0


def resized_frames(
    image: Image.Image, format: Format, size: tuple[int, int], turn: int, frames: int, *, quality: int
) -> bytes:
    """The first ``frames`` of ``image`` as a file of the same format, with pictures of ``size``."""
    first = 1 if image.info.get("default_image") else 0  # an APNG's picture for those who cannot show it moving
    count = max(1, min(frames, MAX_ANIMATED_PIXELS // (image.width * image.height)))
    raw_size = (size[1], size[0]) if turn >= 5 else size
    durations: list[int] = []

    def shown() -> Iterator[Image.Image]:
        for index in range(first, first + count):
            image.seek(index)
            image.load()
            durations.append(int(image.info.get("duration", 100)))
            small = plain(image).convert("RGBA").resize(raw_size, Image.Resampling.BILINEAR, reducing_gap=2.0)
            small = upright(small, turn)
            small.info.clear()
            yield small

    loop = image.info.get("loop", 0 if format != "gif" else None)
    made = list(shown())
    options: dict[str, Any] = {"duration": durations}
    if loop is not None:
        options["loop"] = int(loop)
    if format in _DISPOSE_TO_BACKGROUND:
        options["disposal"] = _DISPOSE_TO_BACKGROUND[format]
    else:
        options |= {"quality": quality, "method": _WEBP_EFFORT}
    file = io.BytesIO()
    made[0].save(file, format.upper(), save_all=True, append_images=made[1:], **options)
    return file.getvalue()
